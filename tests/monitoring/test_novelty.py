"""Learned facts warn once and count as drift."""

import pytest

from homeostat.monitoring.novelty import count_as_drift, describe, newly_seen
from homeostat.records import ColumnDrift, DriftResult, UnseenValues
from homeostat.sections.steering import Monitoring

SETTINGS = Monitoring()


def column(name: str, drifted: bool | None) -> ColumnDrift:
    return ColumnDrift(name, "wasserstein", 0.01, 0.1, drifted)


def result(*columns: ColumnDrift, status: str = "stable") -> DriftResult:
    return DriftResult(status, 0.0, columns, 500, 500)


@pytest.mark.parametrize(("share", "drifted", "status"), [(0.05, False, "stable"), (0.5, True, "drift")])
def test_a_column_full_of_the_unseen_counts_as_drifted(share, drifted, status):
    found = count_as_drift(result(column("a", False)), [UnseenValues("a", "category", share, "'x'")], SETTINGS)
    assert (found.columns[0].drifted, found.status) == (drifted, status)


def test_what_could_not_be_measured_is_measured_by_what_is_known_of_it():
    found = count_as_drift(
        result(column("a", None), column("b", False), column("c", False)),
        [UnseenValues("a", "null_rate", 1.0, "all missing")],
        SETTINGS,
    )
    assert found.share == pytest.approx(1 / 3)
    assert "more missing than in the training data" in (found.columns[0].reason or "")


def test_an_unknown_result_stays_unknown():
    unknown = result(status="unknown")
    assert count_as_drift(unknown, [UnseenValues("a", "range", 1.0, "")], SETTINGS) is unknown


def test_a_fact_is_told_once_and_trifles_never():
    new, trifle = UnseenValues("a", "range", 0.2, "up to 9"), UnseenValues("b", "range", 0.001, "up to 3")
    assert newly_seen([new, trifle], []) == (new,)
    assert newly_seen([new], [UnseenValues("a", "range", 0.5, "up to 7")]) == ()
    assert describe(new) == "a: 20% outside the range of the training data (up to 9)"
