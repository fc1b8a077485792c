from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from homeostat.errors import ProjectError
from homeostat.hooks import Hooks
from homeostat.pipelines.models.features import build_features, raw_view
from homeostat.project import Project

AT = datetime(2020, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame(
    {"id": [1, 2], "event_at": [AT, AT], "known_at": [AT, AT], "x": [1.0, None], "c": ["a", None], "k": ["u", "v"]}
)


def project_of() -> Project:
    data = {"key": "id", "event_time": "at", "target": "y", "numeric": ["x"], "categorical": ["c"], "keep": ["k"]}
    parts: dict[str, Any] = {"project": {"name": "p", "task": "binary"}, "data": data}
    return Project.model_validate({"folder": Path("p"), **parts, "loop": {"tick": "1d", "start": "2020-01-07"}})


def test_the_raw_view_has_the_users_names() -> None:
    assert raw_view(ROWS, project_of()).columns == ["id", "at", "x", "c", "k"]


def test_features_default_to_numeric_and_categorical_columns() -> None:
    assert build_features(ROWS, project_of(), Hooks()).columns == ["x", "c"]


def test_a_hook_may_return_pandas() -> None:
    hooks = Hooks(build_features=lambda raw: raw.select("x", hour=pl.col("at").dt.hour()).to_pandas())
    assert build_features(ROWS, project_of(), hooks).columns == ["x", "hour"]


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (lambda raw: raw.select("x").head(1), "1 rows for 2"),
        (lambda raw: raw.select("x", "at"), "'at' as Datetime"),
        (lambda raw: raw.select("x", y=1), "target column 'y'"),
        (lambda raw: raw.select("x", "id"), "key column 'id'"),
        (lambda raw: raw.select(l=pl.concat_list("x")), "'l' as List"),
        (lambda raw: 3, "returned int"),
        (lambda raw: raw.select(), "no columns"),
        (lambda raw: raw.select("nothing"), "build_features failed: ColumnNotFoundError"),
    ],
)
def test_what_cannot_be_features_is_refused_by_name(hook: Any, told: str) -> None:
    with pytest.raises(ProjectError) as caught:
        build_features(ROWS, project_of(), Hooks(build_features=hook))
    assert told in str(caught.value) and "hooks.py" in str(caught.value)
