"""The default policy in a whole loop: small steps that follow a world, within a budget, and do no harm on the way."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, draw, write

from homeostat.flows.learning.live import labelled_rows
from homeostat.flows.learning.rules import kept_apart
from homeostat.flows.learning.versions import training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.replay.run import replay
from homeostat.metrics import compute_metrics
from homeostat.monitoring.retraining.forecast import HORIZON_TICKS
from homeostat.monitoring.retraining.probation import PROOF_BATCHES
from homeostat.project import Task
from homeostat.records import Decision, ModelRecord, Scope
from homeostat.registry.promotion import list_gates

STEPS = """
[gates]
min_rows = 40
[monitoring]
min_rows = 100
sample = 400
[retraining]
budget = 0.6
"""
STEP_KINDS = ("recalibrate", "refresh", "retrain")
FLIP, TICKS = 3, 12


def opened(folder: Path) -> Loop:
    forget_open_loops()
    return open_loop(folder, Scope.REPLAY)


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A world whose labels come within a day and whose concept turns on its fourth day, replayed."""
    made = draw(240, START - 6 * DAY, TICKS + 6, seed=5, drift_after=6 + FLIP)
    labels = made.filter(pl.col("known_at") <= START + TICKS * DAY)
    folder = write(tmp_path_factory.mktemp("turned") / "small", made, labels, PROJECT + STEPS + "free_seconds = 0\n")
    replay(folder)
    return opened(folder)


def promotions(loop: Loop) -> list[Decision]:
    """What was decided about each challenger; the first champion had none to be set against."""
    return [d for d in loop.store.list_decisions("promotion") if "challenger" in d.evidence]


def steps(loop: Loop) -> list[Decision]:
    return [d for d in loop.store.list_decisions("retraining") if d.kind in STEP_KINDS]


def record_of(loop: Loop, decision: Decision) -> ModelRecord:
    assert decision.model_version is not None
    record = loop.store.get_model(decision.model_version)
    assert record is not None
    return record


def metric(loop: Loop, role: str, since: datetime) -> float:
    """The AUC of what a role said of all rows since then that have a label."""
    rows, labels = loop.lake.read("predictions"), loop.lake.read("feedback")
    assert rows is not None and labels is not None
    said = rows.filter((pl.col("role") == role) & (pl.col("event_at") >= since)).join(labels, on="id", how="inner")
    assert said.height > 1000
    return compute_metrics(Task.BINARY, said["label"], said, "1")["auc"]


def test_the_loop_finds_its_way_back_after_the_world_has_turned_and_a_model_left_alone_does_not(turned: Loop) -> None:
    flip, settled = START + FLIP * DAY, START + (FLIP + 4) * DAY
    static = [metric(turned, "baseline", since) for since in (flip, settled)]
    served = [metric(turned, "champion", since) for since in (flip, settled)]
    assert served[0] > static[0] + 0.1 and served[1] > static[1] + 0.3
    assert max(static) < 0.6 < 0.85 < served[1]


def test_fits_stay_within_the_budget_at_every_tick(turned: Loop) -> None:
    versions, settings = turned.store.list_models(), turned.project.retraining
    assert steps(turned)
    for decision in steps(turned):
        spent = sum(m.cost.row_rounds for m in versions[1:] if m.as_of <= decision.tick_at)
        tick_cost = decision.evidence["full_cost"] + HORIZON_TICKS * decision.evidence["full_cost_per_tick"]
        free = decision.kind == "recalibrate" or decision.evidence["alarm"] != "quiet"
        assert free or spent <= settings.budget * tick_cost
        before = sum(m.cost.row_rounds for m in versions[1:] if m.as_of < decision.tick_at)
        assert decision.evidence["spent"] == before
    assert sum(m.cost.row_rounds for m in versions[1:]) > 0


def test_what_came_of_each_step_is_told_in_the_journal_and_is_what_the_next_forecast_rests_on(turned: Loop) -> None:
    entries = turned.store.list_journal()
    outcomes = [entry for entry in entries if entry.kind == "outcome"]
    taken = {d.tick_at: d for d in steps(turned)}
    made = {d.tick_at: d for d in promotions(turned)}
    assert len(outcomes) >= len(taken) - 2 > 4
    for entry in outcomes:
        at, body = datetime.fromisoformat(entry.body["at"]), entry.body
        assert body["kind"] == taken[at].kind and body["forecast"] == taken[at].evidence["gain"]
        assert (body["before"], body["after"]) == tuple(made[at].evidence[k] for k in ("champion", "challenger"))
        assert at < datetime.fromisoformat(body["batch"]) < entry.at and body["rows"] > 100
    turned_at = START + FLIP * DAY
    learned = [e.body["gained"] for e in outcomes if datetime.fromisoformat(e.body["at"]) > turned_at + DAY]
    assert max(learned) > 0.2 and sum(learned) > 0
    assert [entry.body["at"] for entry in outcomes] == sorted({entry.body["at"] for entry in outcomes})


def test_versions_name_their_line_and_only_what_an_alarm_had_learned_anew_founds_one(turned: Loop) -> None:
    roots, anew = {1}, False
    for decision in promotions(turned):
        record, champion = record_of(turned, decision), turned.store.get_model(decision.evidence["champion"])
        step = turned.store.get_decision(decision.tick_at, "retraining")
        assert champion is not None and step is not None
        if anew or (step.kind == "retrain" and step.evidence["alarm"] != "quiet"):
            assert record.lineage is None
            roots.add(record.version)
            anew = decision.kind != "promote"
        else:
            assert record.lineage == champion.root_version and record.lineage in roots
    lines = [m.lineage for m in turned.store.list_models() if m.lineage is not None]
    assert len(lines) > len(set(lines))


def test_each_decision_about_a_challenger_holds_what_was_compared(turned: Loop) -> None:
    found = promotions(turned)
    assert {d.kind for d in found} == {"promote", "refuse"}
    for decision in found:
        told, step = decision.evidence, turned.store.get_decision(decision.tick_at, "retraining")
        assert step is not None and told["step"] == step.kind
        assert told["rows"] >= 40 and told["gain_error"] >= 0 and told["batches"]
        passed = all(gate.passed for gate in list_gates(told) if gate.binding)
        assert (decision.kind == "promote") == passed, decision.reasons
        assert decision.kind == "refuse" or (told["gain"] > 0 and told["promised"] <= told["gain"])
        assert record_of(turned, decision).reference == told["challenger_metrics"]


def test_rows_that_a_challenger_is_compared_on_are_not_among_those_it_learned_from(turned: Loop) -> None:
    seen = 0
    for decision in promotions(turned):
        record, batches = record_of(turned, decision), tuple(decision.evidence["batches"])
        if not record.cost.fits:
            assert record.rows == 0
            continue
        if decision.evidence.get("refitted"):
            continue
        rows = labelled_rows(turned, batches, decision.tick_at, weighed=True)
        assert rows is not None
        apart = rows.filter(kept_apart(rows["id"], decision.evidence["share"]))
        assert apart.height == decision.evidence["rows"]
        step = turned.store.get_decision(decision.tick_at, "retraining")
        assert step is not None
        end, whole = datetime.fromisoformat(batches[-1]), "growing" in step.evidence["members"]
        span: dict[str, Any] = {"until": end, "since": None if whole else end - 6 * DAY}
        learned = training_frame(turned, decision.tick_at, without=apart["id"], **span)
        every = training_frame(turned, decision.tick_at, **span)
        assert record.rows == learned.height == every.height - apart.height
        assert not set(learned["id"]) & set(apart["id"])
        seen += 1
    assert seen >= 3


def test_free_steps_are_taken_whatever_the_budget_and_learn_from_the_compared_rows_once_promoted(
    tmp_path: Path,
) -> None:
    made = draw(240, START - 6 * DAY, 6 + 6, seed=5, drift_after=6 + 2)
    folder = write(tmp_path / "free", made, made, (PROJECT + STEPS).replace("budget = 0.6", "budget = 0.0001"))
    summary = replay(folder)
    loop = opened(folder)
    refitted = [d for d in promotions(loop) if d.evidence.get("refitted")]
    assert refitted and all(d.kind == "promote" for d in refitted)
    assert all(step.evidence["free"] for step in steps(loop)) and len(steps(loop)) >= 5
    for decision in refitted:
        again = loop.models.load(record_of(loop, decision).version)
        assert again.manifest["members"] and decision.model_version == decision.evidence["challenger"]
    assert summary["loop_metric"] > summary["static_metric"]
    assert summary["promised_gain"] is not None and summary["given_gain"] is not None


def test_rows_that_are_compared_on_again_stay_unknown_to_what_is_promoted(tmp_path: Path) -> None:
    made = draw(60, START - 6 * DAY, 6 + 6, seed=5, drift_after=6 + 1)
    folder = write(tmp_path / "few", made, made, PROJECT + STEPS)
    replay(folder)
    found = promotions(opened(folder))
    assert any(d.kind == "promote" for d in found)
    pairs = [(one, two) for one in found for two in found if one.tick_at < two.tick_at]
    again = [one for one, two in pairs if set(one.evidence["batches"]) & set(two.evidence["batches"])]
    assert again and not any(one.evidence.get("refitted") for one in again)


def test_where_labels_come_late_nothing_but_the_first_serves_before_it_has_proven_itself(tmp_path: Path) -> None:
    ticks = 13
    made = draw(200, START - 10 * DAY, ticks + 10, seed=5, drift_after=10)
    late = made.with_columns(known_at=pl.col("known_at") + timedelta(days=5))
    labels = late.filter(pl.col("known_at") <= START + ticks * DAY)
    folder = write(tmp_path / "late", made, labels, PROJECT.replace('"3d"', '"8d"') + STEPS)
    replay(folder)
    loop = opened(folder)
    found = promotions(loop)
    better = [d for d in found if d.evidence["gain"] > 0]
    assert len(better) > 3
    for decision in better:
        assert decision.kind == "refuse" and len(decision.reasons) == 2
        assert (
            f"where labels come 6 ticks late a version must prove itself in shadow: 0 of {PROOF_BATCHES}"
            in (decision.reasons[1])
        )
    assert {b.model_version for b in loop.store.list_batches() if b.state == "scored"} == {1}
    champion = loop.champion()
    assert champion is not None and champion.version == 1 and len(loop.store.list_models()) > 4


def test_where_labels_stop_coming_somebody_is_asked_for_them_once(tmp_path: Path) -> None:
    made = draw(120, START - 4 * DAY, 12, seed=3)
    labels = made.filter(pl.col("at") < START + DAY)
    loop = replayed(tmp_path, made, labels)
    asked = [d for d in loop.store.list_decisions("retraining") if d.kind == "label"]
    assert asked and "only 0%, 0%, 0% of the labels came" in asked[0].reasons[0]
    assert [a.title for a in loop.store.list_alerts()].count("labels are wanted") == 1


def test_nothing_is_learned_from_a_column_that_has_gone(tmp_path: Path) -> None:
    made = draw(120, START - 4 * DAY, 10, seed=3)
    gone = made.with_columns(x=pl.when(pl.col("at") < START + 2 * DAY).then("x"))
    loop = replayed(tmp_path, gone, made)
    kinds = [d.kind for d in loop.store.list_decisions("retraining") if d.tick_at > START + 2 * DAY]
    assert set(kinds) == {"fix_data"}
    assert max(m.as_of for m in loop.store.list_models()) <= START + 2 * DAY
    assert [a.key.split("/")[-1] for a in loop.store.list_alerts()].count("fix_data") == 1


def replayed(tmp_path: Path, inputs: pl.DataFrame, labels: pl.DataFrame) -> Loop:
    folder = write(tmp_path / "small", inputs, labels, PROJECT + STEPS)
    replay(folder)
    return opened(folder)
