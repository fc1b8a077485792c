from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.monitoring.drift import check_drift
from homeostat.monitoring.drift.chance import chance_limit, shuffled_wasserstein
from homeostat.sections.steering import Monitoring

SETTINGS = Monitoring()
NUMERIC, CATEGORICAL = ["x", "steady"], ["kind"]


def frame(rows=600, shift=0.0, seed=0):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "event_at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=i) for i in range(rows)],
            "x": random.normal(shift, 1, rows),
            "steady": random.normal(0, 1, rows),
            "kind": random.choice(["a", "b", "c"], rows),
        }
    )


def check(current, reference=None, **more):
    given = {"numeric": NUMERIC, "categorical": CATEGORICAL, "settings": SETTINGS, **more}
    return check_drift(frame(seed=1) if reference is None else reference, current, **given)


def column(result, name):
    return next(found for found in result.columns if found.column == name)


def test_rows_of_the_same_distribution_are_stable():
    result = check(frame(seed=2))
    assert (result.status, result.share) == ("stable", 0.0)
    assert [found.method for found in result.columns] == ["wasserstein", "wasserstein", "jensenshannon"]


def test_a_moved_column_is_told_by_name():
    result = check(frame(shift=1.0, seed=2))
    assert column(result, "x").drifted and not column(result, "steady").drifted
    assert (result.status, result.share) == ("stable", pytest.approx(1 / 3))


def test_enough_moved_columns_are_drift():
    assert check(frame(shift=1.0, seed=2), settings=Monitoring(drift_share=0.3)).status == "drift"


def test_the_score_is_the_distance_over_the_deviation_of_the_reference():
    from scipy.stats import wasserstein_distance

    before, after = frame(seed=1)["x"].to_numpy(), frame(shift=1.0, seed=2)["x"].to_numpy()
    found = column(check(frame(shift=1.0, seed=2)), "x")
    assert found.score == pytest.approx(wasserstein_distance(before, after) / before.std(), abs=1e-8)


def test_a_few_rows_are_unknown_and_leave_no_page(tmp_path):
    result = check(frame(199), page=tmp_path / "page.html")
    assert (result.status, result.share) == ("unknown", None)
    assert result.reason == "199 current rows; at least 200 are needed"
    assert not list(tmp_path.iterdir())


def test_a_column_that_cannot_be_measured_is_told_and_the_rest_goes_on(tmp_path):
    broken = frame(shift=1.0, seed=2).with_columns(
        gone=pl.lit(None, pl.Float64), same=1.0, sparse=pl.when(pl.col("x") > 3).then("x")
    )
    reference = frame(seed=1).with_columns(gone=2.0, same=1.0, sparse="x", left=1.0)
    numeric = [*NUMERIC, "gone", "same", "sparse", "left"]
    result = check(broken, reference, numeric=numeric, page=tmp_path / "page.html")
    reasons = {found.column: found.reason for found in result.columns if found.drifted is None}
    assert reasons["gone"] == "all values missing"
    assert reasons["same"] == "the same single value on both sides"
    assert reasons["left"] == "absent from the current rows"
    assert "values present; at least 200 are needed" in reasons["sparse"]
    assert result.share == pytest.approx(1 / 3)
    assert "all values missing" in (tmp_path / "page.html").read_text()


def test_a_constant_that_changes_is_drift():
    result = check(frame(seed=2).with_columns(steady=2.0), frame(seed=1).with_columns(steady=1.0))
    assert column(result, "steady").drifted


def test_nothing_measurable_is_unknown():
    result = check(frame(seed=2), numeric=["nowhere"], categorical=[])
    assert (result.status, result.reason) == ("unknown", "no column can be measured")


def test_a_wide_category_is_not_drift_by_chance_and_is_drift_when_it_moves():
    def wide(start, stop, seed):
        values = np.random.default_rng(seed).integers(start, stop, 600)
        return frame().with_columns(kind=pl.Series(values).cast(pl.String))

    assert not column(check(wide(0, 400, 1), wide(0, 400, 2)), "kind").drifted
    assert column(check(wide(0, 40, 1), wide(20, 60, 2)), "kind").drifted


def test_the_page_is_whole_and_needs_no_network(tmp_path):
    check(frame(seed=2), page=tmp_path / "deep" / "page.html", title="a <b> check")
    page = (tmp_path / "deep" / "page.html").read_text()
    assert "Wasserstein distance" in page and "<script src=" not in page


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(seed):
    current = frame(seed=2)
    assert check(current.sample(fraction=1.0, shuffle=True, seed=seed)) == check(current)


def drawn(kind, rows, random):
    made = {
        "normal": lambda: random.normal(size=rows),
        "heavy": lambda: random.standard_t(3, rows),
        "skewed": lambda: random.exponential(size=rows),
        "rare": lambda: (random.random(rows) < 0.02).astype(float),
    }
    return pl.Series(made[kind]())


@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed", "rare"])
@pytest.mark.parametrize(("before", "after"), [(2000, 230), (200, 200)])
def test_what_chance_gives_at_such_sizes_is_seldom_above_the_limit(kind, before, after):
    random, above = np.random.default_rng(3), 0
    for _ in range(60):
        together = [drawn(kind, before, random), drawn(kind, after, random)]
        score = shuffled_distance(*together)
        above += score >= 0.1 and score > chance_limit(*together, shuffled_wasserstein, 0.005)
    assert above <= 2


def shuffled_distance(before, after):
    from scipy.stats import wasserstein_distance

    return wasserstein_distance(before, after) / max(before.to_numpy().std(), 1e-9)


def test_small_batches_of_the_same_distribution_have_no_drifted_column():
    def wide(rows, seed):
        random = np.random.default_rng(seed)
        return pl.DataFrame({f"f{i}": random.exponential(size=rows) for i in range(10)})

    results = [check(wide(230, seed), wide(2000, 99), numeric=wide(1, 0).columns, categorical=[]) for seed in range(4)]
    assert [found.column for result in results for found in result.columns if found.drifted] == []
    assert max(found.score for result in results for found in result.columns) > SETTINGS.drift_threshold


@pytest.mark.parametrize("size", [1e-12, 2e-5, 1.0, 1e9])
def test_the_scale_of_a_column_changes_nothing(size, tmp_path):
    moved = frame(shift=1.0, seed=2).with_columns(pl.col("x") * size)
    result = check(moved, frame(seed=1).with_columns(pl.col("x") * size), page=tmp_path / "page.html")
    assert column(result, "x").score == pytest.approx(column(check(frame(shift=1.0, seed=2)), "x").score, rel=1e-6)


def test_a_small_constant_that_changes_is_drift():
    result = check(frame(seed=2).with_columns(steady=2e-9), frame(seed=1).with_columns(steady=1e-9))
    assert column(result, "steady").drifted


def test_one_column_of_many_that_moved_far_is_drift_of_the_inputs():
    def many(shift, seed):
        random = np.random.default_rng(seed)
        return pl.DataFrame({f"c{i}": random.normal(shift if i == 0 else 0, 1, 300) for i in range(12)})

    for shift, status in ((0.5, "stable"), (10.0, "drift")):
        result = check(many(shift, 2), many(0, 1), numeric=many(0, 0).columns, categorical=[])
        assert (result.status, result.share) == (status, pytest.approx(1 / 12))
        assert column(result, "c0").drifted


def test_the_page_says_of_a_column_what_was_found(tmp_path):
    small, page = frame(200, seed=4), tmp_path / "page.html"
    result = check(small, frame(200, seed=1), settings=Monitoring(drift_threshold=0.01), page=page)
    assert max(found.score for found in result.columns) > 0.01 and not any(found.drifted for found in result.columns)
    assert '"drift": "Detected"' not in page.read_text() and '"drift": "Not detected"' in page.read_text()
