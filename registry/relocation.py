"""An MLflow store of a local folder that was moved or copied: its artifacts are looked for where they lie now.

MLflow keeps whole addresses of artifacts (`file:///...`), so a project that was moved would find no model of its own,
and a copy would go on writing into the original.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, func, literal, select, update
from sqlalchemy.orm import Session


def relocate(tracking_uri: str, experiment: str, place: Path) -> bool:
    """Have the store know where artifacts lie; whether anything was changed.

    `place` is where the artifacts of `experiment` belong, two folders below the root of all artifacts. Nothing is
    changed where the store knows of no such experiment, where it has this address already, or where there is no such
    folder: then they are still where they were. Else every address under the root it knew is put under the new one.
    """
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel, SqlRun

    engine = create_engine(tracking_uri)
    try:
        with Session(engine) as session, session.begin():
            known = session.scalar(select(SqlExperiment.artifact_location).where(SqlExperiment.name == experiment))
            if known is None or known == place.as_uri() or not place.is_dir():
                return False
            before, after = known.rpartition("/")[0].rpartition("/")[0] + "/", f"{place.parent.parent.as_uri()}/"
            for address in (
                SqlExperiment.artifact_location,
                SqlRun.artifact_uri,
                SqlLoggedModel.artifact_location,
                SqlModelVersion.source,
                SqlModelVersion.storage_location,
            ):
                moved = literal(after).concat(func.substr(address, len(before) + 1))
                change = update(address.class_).where(func.substr(address, 1, len(before)) == before)
                session.execute(change.values({address.key: moved}).execution_options(synchronize_session=False))
            return True
    finally:
        engine.dispose()
