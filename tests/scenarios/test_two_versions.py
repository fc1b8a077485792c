"""Two versions whose feature hooks differ live in one process, each true to what it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import polars as pl
from worlds import after, live, quiet

from homeostat.flows.loop import open_loop
from homeostat.flows.operations import manual
from homeostat.pipelines.models.features import raw_view
from homeostat.records import Scope

HOOK = "import polars as pl\n\n\ndef build_features(frame):\n    return frame.select(made=pl.col('{}') * {})\n"


def train(folder: Path, day: float, column: str, factor: int) -> Any:
    (folder / "hooks.py").write_text(HOOK.format(column, factor))
    loop = open_loop(folder, Scope.LIVE)
    if loop.version_of("champion") is None:
        live(folder, after(day))
    else:
        manual.train(loop, after(day), "ann")
    return loop


def test_each_version_reproduces_its_golden_rows_and_scores_by_its_own_hook(tmp_path: Path) -> None:
    folder = quiet(tmp_path / "small", ticks=2)
    train(folder, 1, "x", 3)
    loop = train(folder, 1.5, "z", -1)
    for _ in range(2):
        for version, column in ((1, "x"), (2, "z")):
            model = loop.models.load(version)
            model.verify(loop.models.folder(version) / "golden.parquet")
            rows = loop.lake.read("inputs").head(50).with_columns(**{"z" if column == "x" else "x": pl.lit(0.0)})
            whole = raw_view(loop.lake.read("inputs").head(50), loop.project)
            assert model.score(raw_view(rows, loop.project))["score"].equals(model.score(whole)["score"])
            assert model.score(whole)["score"].n_unique() > 2
    mlflow.set_tracking_uri(loop.paths.tracking_uri)
    served = [mlflow.pyfunc.load_model(f"models:/small/{v}").predict(whole.to_pandas())["score"] for v in (1, 2)]
    ours = [loop.models.load(version).score(whole)["score"].to_list() for version in (1, 2)]
    assert [list(s) for s in served] == ours
    assert ours[0] != ours[1]
