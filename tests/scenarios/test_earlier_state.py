"""State of an earlier release is opened, told as that release told it, and goes on as that release would have gone on.

What the earlier release said lies in the archive beside its state; `tests/fixtures/README.md` says how it was made.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner
from worlds import after, live

from homeostat.console.main import app
from homeostat.flows.learning.approvals import approve, list_open
from homeostat.flows.learning.live import LoopPort
from homeostat.flows.learning.probation import get_probation
from homeostat.flows.locks import claim
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.replay.run import replay
from homeostat.flows.stages.alarm_state import get_watch
from homeostat.records import Scope

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "state-0.1.0.tar.xz"
SCOPES = ("small.live", "small.replay", "asked.live")
ROLES = ("champion", "challenger", "baseline")
WINDOW = (
    "start", "end", "rows", "coverage", "status", "metric", "realized", "estimated", "estimated_low", "estimated_high",
    "model_version",
)  # fmt: skip
LABELLED = ("start", "end", "rows", "coverage", "status")
STATUS = (
    "project", "scope", "champion", "champion_since", "last_tick", "next_tick", "batches_waiting", "batches_held",
    "metric", "realized", "realized_status", "realized_at", "coverage", "alerts_undelivered", "alerts_open",
    "alerts_critical", "challengers_waiting", "labels_waiting",
)  # fmt: skip
RESCORED = pl.col("batch").str.ends_with("/corrections")
WHY = ("key", "prediction", "score", "event_at", "scored_at", "batch", "model_version", "reasons", "times_scored")
LABEL = ("label", "known_at", "provenance", "who", "propensity")
PROMOTION = ("at", "decision", "reasons")
SNOOZED = 1
REPLAYED, LIVED, ASKED_LIVED, MORE = 8, 14, 6, 3
"""The ticks at which the earlier release stopped (`make_state.py`), and how many more it would have gone on for."""


def unpack(place: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place, filter="data")
    return place


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The installation as the earlier release left it."""
    return unpack(tmp_path)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shared by those who only look."""
    return unpack(tmp_path_factory.mktemp("earlier"))


def tell(*words: object) -> str:
    """What the command line prints; a loop that is not healthy ends `status` with 1."""
    forget_open_loops()
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or getattr(done.exception, "exit_code", 2) == 1, done.exception
    return done.stdout


def of(shelf: Path, name: str) -> tuple[Path, str, str]:
    """The project's folder and the options that choose the scope, by a name such as `small.live`."""
    project, scope = name.split(".")
    return shelf / project, "--from", scope


def exported(shelf: Path, name: str, what: str, file: Path, *words: str) -> pl.DataFrame:
    tell("export", what, *of(shelf, name), *words, "--out", file)
    return read(file)


def read(file: Path) -> pl.DataFrame:
    return pl.read_ndjson(file, infer_schema_length=None) if file.suffix == ".jsonl" else pl.read_parquet(file)


def assert_goes_on(shelf: Path, name: str, place: Path, until: datetime) -> None:
    """What was kept stays; the same rows are scored after it, once each, at the same ticks, and get the same labels.

    By which models may differ: releases differ in when a row is learned from.
    """
    continued = shelf / "continued"
    before = read(continued / f"{name}.champion.parquet").filter(~RESCORED)
    now = exported(shelf, name, "predictions", place / "now.parquet")
    kept = pl.col("scored_at") <= until
    own = pl.col("id").is_in(before["id"].implode())
    assert_frame_equal(now.filter(kept & own), before.filter(kept), check_exact=True)
    assert now["id"].is_unique().all() and set(now["id"]) >= set(before["id"])
    assert_frame_equal(now.filter(own).select("id", "scored_at"), before.select("id", "scored_at"))
    found, wanted = (
        read(file).filter(pl.col("stage") == "retraining")["tick"].to_list()
        for file in (decided(shelf, name, place), continued / f"{name}.decisions.jsonl")
    )
    assert found == wanted
    told, would = (
        read(file).filter(~RESCORED).select(LABELLED)
        for file in (windows(shelf, name, place), continued / f"{name}.windows.parquet")
    )
    assert_frame_equal(told, would)


def assert_told_as(shelf: Path, told: Path, name: str, place: Path) -> None:
    """Predictions, decisions, windows and the status are those of the earlier release, value by value."""
    for role in ROLES:
        before = told / f"{name}.{role}.parquet"
        if before.exists():
            now = exported(shelf, name, "predictions", place / before.name, "--role", role)
            assert_scored_as(now, read(before))
    before = read(told / f"{name}.decisions.jsonl")
    now = exported(shelf, name, "decisions", place / f"{name}.decisions.jsonl")
    mine = ("tick", "stage", "kind", "model_version")
    assert_frame_equal(now.select(mine), before.select(mine))
    for mark, old, new in zip(now["tick"], before["evidence"], now["evidence"], strict=True):
        assert numbers(old) <= numbers(new), mark
    before = read(told / f"{name}.windows.parquet").filter(~RESCORED).select(WINDOW)
    now = exported(shelf, name, "windows", place / f"{name}.windows.parquet").select(WINDOW)
    assert_frame_equal(now, before, check_exact=True)
    status = json.loads((told / f"{name}.status.json").read_text(encoding="utf-8"))
    now = json.loads(tell("status", *of(shelf, name), "--json"))
    # What goes on warns less of drift; a snooze that the earlier release still counted is long over.
    assert now["alerts_open"] <= status["alerts_open"] + SNOOZED
    assert chosen(now, STATUS) == chosen(status | {"alerts_open": now["alerts_open"]}, STATUS)


def assert_scored_as(now: pl.DataFrame, before: pl.DataFrame) -> None:
    """Scores are those of the earlier release, but for rows that it had put rescored corrections in the place of."""
    assert_frame_equal(
        now.join(before.filter(RESCORED), on="id", how="anti"), before.filter(~RESCORED), check_exact=True
    )
    assert not now.select(RESCORED).to_series().any() and now["id"].sort().equals(before["id"].sort())


def leaves(value: Any) -> Counter[Any]:
    """The single values of plain data, whatever the names they stand under."""
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return sum(map(leaves, parts), Counter())
    return Counter([(type(value), value)])


def numbers(evidence: str) -> Counter[Any]:
    """The measured numbers among a decision's evidence; thresholds are not measured, and episodes share alpha now."""
    told = json.loads(evidence)
    for e_process in (*told.get("e_processes", ()), *told.get("wagers", ())):
        e_process.pop("log_threshold")
    return Counter({leaf: count for leaf, count in leaves(told).items() if leaf[0] is float})


def kept_facts(shelf: Path, name: str) -> list[tuple[str, Any]]:
    """The facts in a store as they stand there, by name; reading them migrates nothing."""
    project, scope = name.split(".")
    store = shelf / project / ".homeostat" / scope / "store.db"
    with closing(sqlite3.connect(store)) as base:
        return [(fact, json.loads(value)) for fact, value in base.execute("select name, value from facts")]


@pytest.mark.parametrize("name", SCOPES)
def test_what_was_kept_is_told_as_before(opened: Path, tmp_path: Path, name: str) -> None:
    assert_told_as(opened, opened / "said", name, tmp_path)


def said(shelf: Path, name: str, what: str) -> dict[str, Any]:
    """What a command of the earlier release printed as JSON."""
    return json.loads((shelf / "said" / f"{name}.{what}.json").read_text(encoding="utf-8"))


def chosen(told: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: told[name] for name in names}


@pytest.mark.parametrize("name", SCOPES)
def test_the_journal_is_whole(opened: Path, name: str) -> None:
    before = said(opened, name, "journal")
    now = json.loads(tell("journal", "verify", *of(opened, name), "--json"))
    assert before["sound"] and now == before


@pytest.mark.parametrize("name", SCOPES)
def test_why_a_row_was_scored_so_is_told_as_before(opened: Path, name: str) -> None:
    before = said(opened, name, "why")
    folder, *scope = of(opened, name)
    now = json.loads(tell("why", folder, before["key"], *scope, "--json"))
    assert chosen(now, WHY) == chosen(before, WHY)
    for part, names in (("label", LABEL), ("promoted_by", PROMOTION)):
        assert chosen(now[part], names) == chosen(before[part], names)


def test_who_may_use_the_page_is_known(opened: Path) -> None:
    people = json.loads(tell("access", "list", opened, "--json"))["people"]
    assert [(each["name"], each["role"], each["token"]) for each in people] == [("ann", "approver", True)]


def test_a_registered_model_scores_in_mlflow_as_it_did(opened: Path, tmp_path: Path) -> None:
    import mlflow

    rows = exported(opened, "small.live", "predictions", tmp_path / "scored.parquet")
    version = rows["model_version"].mode()[0]
    inputs = pl.read_parquet(opened / "small" / "inputs.parquet").unique("id", keep="none")  # without corrected rows
    scored = inputs.join(rows.filter(pl.col("model_version") == version), on="id").sort("id")
    folders = open_live(opened / "small").models.folder(version).parents
    model = mlflow.pyfunc.load_model(str(next(folder for folder in folders if (folder / "MLmodel").exists())))
    again = model.predict(scored.select(inputs.columns).to_pandas())
    assert scored.height > 100 and again["score"].to_list() == scored["score"].to_list()


@pytest.mark.parametrize("name", SCOPES)
def test_no_fact_is_lost_on_opening(shelf: Path, name: str) -> None:
    before = kept_facts(shelf, name)
    project, scope = name.split(".")
    forget_open_loops()
    assert open_loop(shelf / project, Scope(scope)).champion() is not None
    after = [leaves(value) for _, value in kept_facts(shelf, name)]
    assert [fact for fact, value in before if not any(leaves(value) <= each for each in after)] == []


@pytest.mark.parametrize("name", SCOPES)
def test_the_alarm_and_the_probation_are_where_they_stood(shelf: Path, name: str) -> None:
    facts = dict(kept_facts(shelf, name))
    project, scope = name.split(".")
    forget_open_loops()
    loop = open_loop(shelf / project, Scope(scope))
    champion, alarm = loop.champion(), get_watch(loop)
    assert champion is not None and alarm is not None
    assert leaves(facts["alarm/1"]) <= leaves(dataclasses.asdict(alarm))
    assert leaves(facts["probation/1"]) <= leaves(dataclasses.asdict(get_probation(LoopPort(loop), champion)))


def append_what_came_later(folder: Path) -> None:
    """Have the rows and labels come for which the earlier release did not live long enough."""
    for later in (folder / "later").glob("*.parquet"):
        source = folder / later.name
        pl.concat([pl.read_parquet(source), pl.read_parquet(later)]).write_parquet(source)


def open_live(folder: Path) -> Loop:
    forget_open_loops()
    return open_loop(folder, Scope.LIVE)


def test_life_goes_on_as_it_would_have_and_what_waits_can_be_approved(shelf: Path, tmp_path: Path) -> None:
    folder = shelf / "small"
    append_what_came_later(folder)
    loop = open_live(folder)
    entries, versions = len(loop.store.list_journal()), len(loop.models.list_versions())
    (waiting,) = list_open(loop)
    approve(loop, after(LIVED + 0.2), "ann", "looks right")
    assert loop.champion().version == loop.models.get_alias("champion") == waiting.version
    with claim(folder, Scope.LIVE):  # a process of the earlier release died with the lease
        live(folder, after(LIVED + MORE))
    loop = open_live(folder)
    assert len(loop.models.list_versions()) > versions and loop.store.verify_journal().entries > entries
    assert loop.store.verify_journal().sound and loop.models.anchored() == loop.store.journal_head()
    assert_goes_on(shelf, "small.live", tmp_path, after(LIVED))


def test_people_are_asked_and_their_answers_settled_as_they_would_have_been(shelf: Path, tmp_path: Path) -> None:
    """Which rows they are asked about may differ: drift draws questions, and few rows do not show it any more."""
    append_what_came_later(shelf / "asked")
    live(shelf / "asked", after(ASKED_LIVED + MORE))
    now, before = (
        exported(shelf, "asked.live", "predictions", tmp_path / "now.parquet", "--role", "champion"),
        read(shelf / "continued" / "asked.live.champion.parquet"),
    )
    assert now["id"].to_list() == before["id"].to_list()
    kept = pl.col("event_at") < after(ASKED_LIVED)
    assert_frame_equal(now.filter(kept), before.filter(kept), check_exact=True)
    asked, would = (
        read(file).filter(pl.col("stage") == "labeling").select("tick", "kind", "reasons")
        for file in (decided(shelf, "asked.live", tmp_path), shelf / "continued" / "asked.live.decisions.jsonl")
    )
    assert_frame_equal(asked, would)
    coverage = [
        read(file)["coverage"]
        for file in (windows(shelf, "asked.live", tmp_path), shelf / "continued" / "asked.live.windows.parquet")
    ]
    assert coverage[0].to_list() == pytest.approx(coverage[1].to_list(), abs=0.05)


def decided(shelf: Path, name: str, place: Path) -> Path:
    exported(shelf, name, "decisions", place / "decisions.jsonl")
    return place / "decisions.jsonl"


def windows(shelf: Path, name: str, place: Path) -> Path:
    exported(shelf, name, "windows", place / "windows.parquet")
    return place / "windows.parquet"


def test_a_replay_goes_on_as_it_would_have(shelf: Path, tmp_path: Path) -> None:
    project = shelf / "small" / "homeostat.toml"
    text = project.read_text(encoding="utf-8")
    assert 'approval = "human"' in text  # which it became after the replay
    project.write_text(text.replace('approval = "human"', 'approval = "auto"'), encoding="utf-8")
    append_what_came_later(shelf / "small")
    forget_open_loops()
    replay(shelf / "small", until=after(REPLAYED + MORE))
    assert_goes_on(shelf, "small.replay", tmp_path, after(REPLAYED))
