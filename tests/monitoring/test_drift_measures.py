"""What holds for every drift measure, and for one that is added from outside."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from homeostat.errors import ProjectError
from homeostat.monitoring.drift import DRIFT_MEASURES, ColumnKind, DriftMeasure, check_drift
from homeostat.sections.steering import Monitoring

ROWS = 2000
OURS = [(name, kind) for name, measure in DRIFT_MEASURES.items() for kind in measure.kinds]
THEIRS = [("median shift", ColumnKind.NUMERIC), ("commonest share", ColumnKind.CATEGORICAL)]


def median_shift(reference: pl.Series, current: pl.Series) -> float:
    """How far the median has moved, in standard deviations of the reference."""
    before, after = reference.to_numpy(), current.to_numpy()
    return float(abs(np.median(after) - np.median(before)) / before.std())


def commonest_share(reference: pl.Series, current: pl.Series) -> float:
    """How much the share of the reference's commonest value has changed."""
    commonest = reference.value_counts().sort("count")[reference.name][-1]
    return abs(float((reference == commonest).mean() or 0) - float((current == commonest).mean() or 0))


@pytest.fixture(autouse=True)
def added() -> Iterator[None]:
    DRIFT_MEASURES.add("median shift", DriftMeasure("Shift of the median", (ColumnKind.NUMERIC,), median_shift))
    DRIFT_MEASURES.add(
        "commonest share", DriftMeasure("Share of the commonest", (ColumnKind.CATEGORICAL,), commonest_share)
    )
    yield
    DRIFT_MEASURES.remove("median shift")
    DRIFT_MEASURES.remove("commonest share")


def settings_with(name: str, kind: ColumnKind) -> Monitoring:
    return Monitoring.model_validate({f"{kind}_drift": name})


def values(kind: ColumnKind, seed: int, moved: bool = False) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    if kind is ColumnKind.NUMERIC:
        return pl.DataFrame({"x": random.normal(2.0 if moved else 0.0, 1, ROWS)})
    return pl.DataFrame({"x": random.choice(["a", "b", "c"], ROWS, p=[0.1, 0.2, 0.7] if moved else [0.7, 0.2, 0.1])})


def check(name: str, kind: ColumnKind, current: pl.DataFrame, **more):
    columns = {"numeric": [], "categorical": [], str(kind): ["x"]}
    return check_drift(values(kind, 1), current, settings=settings_with(name, kind), **columns, **more)


@pytest.mark.parametrize(("name", "kind"), [*OURS, *THEIRS])
def test_values_like_those_of_the_reference_have_not_drifted(name, kind):
    [column] = check(name, kind, values(kind, 2)).columns
    assert (column.method, column.drifted) == (name, False) and column.score >= 0


@pytest.mark.parametrize(("name", "kind"), [*OURS, *THEIRS])
def test_values_that_moved_have_drifted(name, kind):
    assert check(name, kind, values(kind, 2, moved=True)).status == "drift"


@pytest.mark.parametrize(("name", "kind"), [*OURS, *THEIRS])
def test_the_order_of_values_changes_nothing(name, kind):
    current = values(kind, 2, moved=True)
    assert check(name, kind, current.sample(fraction=1, shuffle=True, seed=3)) == check(name, kind, current)


@pytest.mark.parametrize(("name", "kind"), [*OURS, *THEIRS])
def test_the_page_shows_the_measure_by_its_title(name, kind, tmp_path):
    check(name, kind, values(kind, 2, moved=True), page=tmp_path / "page.html")
    assert DRIFT_MEASURES.get(name).title in (tmp_path / "page.html").read_text()


def test_a_measure_that_is_added_gives_its_own_score():
    current = values(ColumnKind.NUMERIC, 2, moved=True)
    [column] = check("median shift", ColumnKind.NUMERIC, current).columns
    assert column.score == pytest.approx(median_shift(values(ColumnKind.NUMERIC, 1)["x"], current["x"]))


def test_a_measure_that_nobody_knows_is_named_with_its_key():
    with pytest.raises(ProjectError, match=r"monitoring.numeric_drift: there is no drift measure named 'wasserstien'"):
        check("wasserstien", ColumnKind.NUMERIC, values(ColumnKind.NUMERIC, 2))


def test_a_measure_of_another_kind_of_column_is_refused():
    with pytest.raises(ProjectError, match=r"'jensenshannon' does not measure numeric columns. Known for them: wass"):
        check("jensenshannon", ColumnKind.NUMERIC, values(ColumnKind.NUMERIC, 2))


@pytest.mark.parametrize("result", [float("nan"), None])
def test_a_measure_that_fails_is_one_line(result):
    DRIFT_MEASURES.add("broken", DriftMeasure("Broken", (ColumnKind.NUMERIC,), lambda before, after: result))
    try:
        with pytest.raises(ProjectError, match=r"the drift measure 'broken' (failed: TypeError|gave nan)"):
            check("broken", ColumnKind.NUMERIC, values(ColumnKind.NUMERIC, 2))
    finally:
        DRIFT_MEASURES.remove("broken")
