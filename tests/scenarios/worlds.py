"""Small worlds for whole-loop scenarios: a project written to a folder, and what a loop made of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock
from forked import fork
from prepared import lay_mlflow

START = datetime(2020, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
TICKS = 9
SOURCES = ("inputs.parquet", "feedback.parquet")
WALL = re.compile(r"cpu_seconds|run_id")

PROJECT = """
[project]
name = "small"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
numeric = ["x", "z"]
categorical = ["c"]
[data.inputs]
uri = "inputs.parquet"
known_at = "seen_at"
[data.feedback]
uri = "feedback.parquet"
known_at = "known_at"
horizon = "3d"
[data.rules.ranges]
x = { min = -10, max = 10 }
[loop]
tick = "1d"
start = "2020-01-07"
[training]
rounds = 12
max_depth = 3
threads = 1
"""
GATES = """
[gates]
min_gain = 0.02
fresh_rows = 300
[monitoring]
min_rows = 100
sample = 400
[retraining]
cooldown = "1d"
"""


def draw(rows: int, first: datetime, days: int, *, seed: int, drift_after: int | None = None) -> pl.DataFrame:
    """`rows` rows a day over `days` days: id, at, seen_at, x, z, c, y, known_at.

    y follows x; from `drift_after` days on it follows z. Labels come 18 to 20 hours after the event.
    """
    chance = np.random.default_rng(seed)
    count = rows * days
    x, z, noise = chance.normal(size=(3, count))
    offset = np.sort(chance.uniform(0, days * 86_400 - 60, count)).astype(int)
    turned = offset >= (days if drift_after is None else drift_after) * 86_400
    at = [first + timedelta(seconds=int(s)) for s in offset]
    delay = chance.uniform(18 * 3600, 20 * 3600, count).astype(int)
    return pl.DataFrame(
        {
            "id": range(count),
            "at": at,
            "seen_at": at,
            "x": x,
            "z": z,
            "c": [f"c{v}" for v in chance.integers(0, 4, count)],
            "y": ((2 * np.where(turned, z, x) + noise) > 0).astype(int),
            "known_at": [t + timedelta(seconds=int(s)) for t, s in zip(at, delay, strict=True)],
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("at", "seen_at", "known_at")},
    )


def write(folder: Path, inputs: pl.DataFrame, labels: pl.DataFrame, project: str = PROJECT + GATES) -> Path:
    """Write a project: the sources sorted by when they could be had, and an empty MLflow database."""
    lay_mlflow(folder / ".homeostat")
    columns = [c for c in ("id", "at", "seen_at", "x", "z", "c") if c in inputs.columns]
    inputs.select(columns).sort("seen_at", maintain_order=True).write_parquet(folder / SOURCES[0])
    labels.select("id", "y", "known_at").sort("known_at", maintain_order=True).write_parquet(folder / SOURCES[1])
    (folder / "homeostat.toml").write_text(project, encoding="utf-8")
    return folder


def eventful(folder: Path, *, rows: int = 240, ticks: int = TICKS, project: str = PROJECT + GATES) -> Path:
    """A world in which everything happens: drift, a held batch, broken rows, late rows and labels, corrections."""
    made = draw(rows, START - 4 * DAY, ticks + 4, seed=7, drift_after=7)
    day, nth = (pl.col("at") - START).dt.total_days(), pl.col("id") % 40
    broken = ((day == 2) & (nth < 26)) | ((day > -4) & (nth == 7))
    inputs = made.with_columns(
        x=pl.when(broken).then(99.0).otherwise("x"),
        c=pl.when((day == 5) & (pl.col("c") != "c0")).then(pl.lit("new")).otherwise("c"),
        seen_at=pl.when(nth == 11).then(pl.col("seen_at") + 2 * DAY).otherwise("seen_at"),
    )
    corrected = inputs.filter(nth == 13).with_columns(
        z=pl.col("z") + 1, seen_at=pl.col("seen_at") + timedelta(hours=30)
    )
    labels = made.with_columns(
        known_at=pl.when(nth == 17).then(pl.col("known_at") + 4 * DAY).otherwise("known_at")
    ).filter(nth != 19)
    changed = labels.filter(nth == 23).with_columns(y=1 - pl.col("y"), known_at=pl.col("known_at") + 2 * DAY)
    end = START + ticks * DAY
    inputs = pl.concat([inputs, corrected]).filter(pl.col("seen_at") < end)
    labels = pl.concat([labels, changed]).filter(pl.col("known_at") <= end).join(inputs, on="id", how="semi")
    return write(folder, inputs, labels, project)


def quiet(folder: Path, *, rows: int = 120, ticks: int = 6, project: str = PROJECT, **drawn: Any) -> Path:
    """A world without trouble, its batches too small for a drift check."""
    made = draw(rows, START - 3 * DAY, ticks + 3, **{"seed": 3, **drawn})
    return write(folder, made, made.filter(pl.col("known_at") <= START + ticks * DAY), project)


ASKED = PROJECT.replace('uri = "feedback.parquet"\nknown_at = "known_at"\n', "").replace(
    'target = "y"', 'target = "y"\nclasses = [0, 1]'
)
LABELING = """
[gates]
min_rows = 10
[monitoring]
metric = "accuracy"
min_rows = 30
sample = 400
[labeling]
backend = "hook"
budget = 840
annotators = 2
relabel = 0.2
"""
ANNOTATE = '''import hashlib
from pathlib import Path

import polars as pl

TRUTH = dict(pl.read_parquet(Path(__file__).with_name("truth.parquet")).select("id", "y").iter_rows())


def annotate(rows, now):
    """Two people, one right in 95 of 100, the other in 85."""
    said = []
    for key in rows["id"]:
        for who, right in (("ann", 0.95), ("ben", 0.85)):
            luck = int.from_bytes(hashlib.blake2b(f"{key}/{who}".encode(), digest_size=8).digest(), "big") / 2**64
            said.append((key, who, TRUTH[int(key)] if luck < right else 1 - TRUTH[int(key)]))
    return pl.DataFrame(said, schema=["id", "who", "label"], orient="row")
'''


RULED = f"""{ANNOTATE}

def label(frame):
    far = pl.when(pl.col("x").abs() > 1.2)
    return frame.select(far=far.then((pl.col("x") > 0).cast(pl.Int64).cast(pl.String)))
"""


def asked(folder: Path, *, rows: int = 150, ticks: int = 4, project: str = ASKED + LABELING, **drawn: Any) -> Path:
    """A world without a source of labels, in which two simulated people are asked."""
    made = draw(rows, START - 2 * DAY, ticks + 2, **{"seed": 4, **drawn})
    write(folder, made, made.head(0), project)
    (folder / SOURCES[1]).unlink()
    made.select("id", "at", "y").write_parquet(folder / "truth.parquet")
    annotated(folder, ANNOTATE)
    return folder


def annotated(folder: Path, hooks: str) -> None:
    """Write hooks that read the truth beside them; the same text in another folder would be the same module."""
    (folder / "hooks.py").write_text(f"{hooks}\n# {folder}\n", encoding="utf-8")


def snapshot(folder: Path, scope: str = "replay") -> dict[str, Any]:
    """Everything a loop remembers that must not depend on when or how often it was stopped."""
    from homeostat.flows.facts import ALARM
    from homeostat.flows.loop import forget_open_loops, open_loop
    from homeostat.records import Scope
    from homeostat.store import rows

    forget_open_loops()
    loop = open_loop(folder, Scope(scope))
    store, models = loop.store, loop.models
    assert store.verify_journal().sound
    assert models.anchored() == store.journal_head()
    listed: dict[str, Any] = {
        "batches": store.list_batches(),
        "windows": store.list_windows(),
        "checks": store.list_checks(),
        "decisions": store.list_decisions(),
        "models": store.list_models(),
        "alerts": store.list_alerts(),
        "journal": store.list_journal(),
        "tasks": store.list_tasks(),
        "answers": store.list_answers(),
        "approvals": store.list_approvals(),
        "statuses": list(store.list_alert_statuses().values()),
    }
    found: dict[str, Any] = {name: [_timeless(rows.values(r)) for r in records] for name, records in listed.items()}
    found["watches"] = [store.get_fact(ALARM.of(version)) for version in models.list_versions()]
    for table in ("inputs", "predictions", "feedback", "quarantine"):
        frame = loop.lake.read(table)
        found[f"lake.{table}"] = None if frame is None else frame.sort(sorted(frame.columns)).to_dicts()
    found["versions"] = [models.describe(v).key for v in models.list_versions()]
    found["aliases"] = {name: models.get_alias(name) for name in ("champion", "challenger", "previous")}
    found["runs"] = sorted((run.info.status, run.data.tags["homeostat.key"]) for run in list_runs(loop))
    assert len(set(found["versions"])) == len(found["versions"])
    return found


def list_runs(loop: Any) -> list[Any]:
    """Every MLflow run of a loop that is not deleted; of those that are, none may be left running."""
    from mlflow.entities import ViewType

    models = loop.models
    experiments = [models.tracking.experiment(part) for part in ("training", "monitoring")]
    every = models.tracking.client.search_runs(experiments, run_view_type=ViewType.ALL, max_results=5000)
    assert not [run for run in every if run.info.status == "RUNNING"]
    return [run for run in every if run.info.lifecycle_stage == "active"]


def assert_same(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare two snapshots part by part, so that a difference names its part and its first row."""
    assert got.keys() == wanted.keys()
    for part in wanted:
        if got[part] != wanted[part] and isinstance(wanted[part], list) and isinstance(got[part], list):
            assert len(got[part]) == len(wanted[part]), part
            pairs = zip(got[part], wanted[part], strict=True)
            index, (mine, other) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
            assert mine == other, f"{part}[{index}]"
        assert got[part] == wanted[part], part


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(v) for name, v in value.items() if not WALL.search(str(name))}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def run_apart(target: Callable[..., None], *args: Any, **environment: str) -> int:
    """Run a function of an importable module in a process of its own; returns the exit code, -9 where it was killed."""
    process = start_apart(target, *args, **environment)
    process.join(240)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{target.__name__} did not end")
    assert process.exitcode is not None
    return process.exitcode


def start_apart(target: Callable[..., None], *args: Any, **environment: str) -> BaseProcess:
    """Start a function of an importable module in a process of its own."""
    process = fork(target, *args, environ={**os.environ, **environment}, daemon=True)
    process.start()
    return process


def replay_here(folder: str, until: str | None = None, fresh: bool = False) -> None:
    """Replay a project in this process, without Prefect."""
    from homeostat.flows.replay.run import replay

    replay(Path(folder), until=None if until is None else datetime.fromisoformat(until), fresh=fresh)


HUMAN = """
[gates]
approval = "human"
change_price = 0
margin = 0
approval_within = "2d"
rollback_holds = "1d"
min_rows = 30
[monitoring]
min_rows = 30
[retraining]
policy = "periodic"
every = 3
"""


def guarded(folder: Path) -> Path:
    """The eventful world with smaller batches, where a person must approve each promotion."""
    return eventful(folder, rows=100, project=PROJECT + HUMAN)


BRISK = """
[gates]
min_gain = -1.0
min_rows = 30
[monitoring]
min_rows = 30
[retraining]
policy = "periodic"
every = 2
"""


def brisk(folder: Path, **made: Any) -> Path:
    """The eventful world with small batches, in which every second tick retrains and promotes."""
    return eventful(folder, rows=60, ticks=7, project=PROJECT + BRISK, **made)


def live(folder: Path | str, until: datetime) -> list[dict[str, Any]]:
    """Run the live ticks that are due."""
    from homeostat.flows.stages.sequence import due_slots, run_tick

    return [run_tick(folder, "live", at) for at in due_slots(folder, until)]


def caught_up(folder: Path | str, now: datetime, how: str = "all") -> tuple[list[str], list[Any]]:
    """Catch up with the live ticks that are due; the slots that were run, and the runs that were passed."""
    from homeostat.flows.loop import open_loop
    from homeostat.flows.stages.catch_up import CatchUp, due_ticks
    from homeostat.flows.stages.sequence import run_tick
    from homeostat.records import Scope

    ran, passed = [], []
    for at in due_ticks(open_loop(folder, Scope.LIVE), now, CatchUp(how), passed.append):
        run_tick(folder, "live", at, clock=now)
        ran.append(at)
    return ran, passed


def after(days: float) -> datetime:
    """The time so many days after the loop's start."""
    return START + days * DAY


def run_by_hand(folder: str) -> None:
    """A life in which a person does everything a person can; a step that was done is not done again."""
    for number, step in enumerate(HAND):
        done = Path(folder) / f"{number}.done"
        if not done.exists():
            step(folder)
            done.touch()


def _open(folder: str) -> Any:
    from homeostat.flows.loop import open_loop
    from homeostat.records import Scope

    return open_loop(folder, Scope.LIVE)


def _release(folder: str) -> None:
    from homeostat.flows.operations.manual import list_quarantine, release

    loop = _open(folder)
    if any(not row["released"] for row in list_quarantine(loop, None, None, "range:x")):
        release(loop, after(4.1), "ann", None, None, "range:x")


@contextmanager
def damaged(loop: Any, version: int) -> Iterator[None]:
    """Damage a version on the disk, so that it does not reproduce its golden rows; mended at the end."""
    from homeostat.flows.loop import forget_open_loops

    golden = loop.models.folder(version) / "golden.parquet"
    whole = golden.with_name("whole.parquet")
    if not whole.exists():
        shutil.copy(golden, whole)
    pl.read_parquet(whole).with_columns(pl.lit(2.0).alias("expected:score")).write_parquet(golden)
    forget_open_loops()
    yield
    whole.replace(golden)
    forget_open_loops()


def _tick_with_a_damaged_challenger(folder: str) -> None:
    loop = _open(folder)
    with damaged(loop, loop.version_of("challenger")):
        live(folder, after(7))


def _approve(folder: str) -> None:
    from homeostat.flows.learning.approvals import approve

    if _open(folder).version_of("challenger") is not None:
        approve(_open(folder), after(7.1), "ann")


def _reject(folder: str) -> None:
    from homeostat.flows.learning.approvals import reject

    if _open(folder).version_of("challenger") is not None:
        reject(_open(folder), after(9.1), "ann", "not now")


def _snooze(folder: str) -> None:
    from homeostat.flows.alerts import snooze

    key = _open(folder).store.list_alerts()[0].key
    snooze(_open(folder), after(8.2), "ann", key, after(8.5))


def _acknowledge(folder: str) -> None:
    from homeostat.flows.alerts import acknowledge

    key = _open(folder).store.list_alerts()[1].key
    acknowledge(_open(folder), after(9.2), "ann", key, "the depot is told")


def _train(folder: str) -> None:
    from homeostat.flows.operations.manual import train

    train(_open(folder), after(7.2), "ann")


def _roll_back(folder: str) -> None:
    from homeostat.flows.operations.manual import rollback

    if _open(folder).version_of("champion") != 1:
        rollback(_open(folder), after(7.3), None, "ann", "")


def _lift(folder: str) -> None:
    from homeostat.flows.learning.holds import lift, standing_hold

    if standing_hold(_open(folder), after(7.4)) is not None:
        lift(_open(folder), after(7.4), "ann", "it was the data")


def _roll_back_for_a_day(folder: str) -> None:
    from homeostat.flows.operations.manual import rollback

    if _open(folder).version_of("champion") != 1:
        rollback(_open(folder), after(9.3), 1, "ann", "until tomorrow")


def _move_the_alias(folder: str) -> None:
    _open(folder).models.set_alias("champion", 2)


def _rescore(folder: str) -> None:
    from homeostat.flows.operations.manual import rescore

    rescore(_open(folder), after(8.1), "ann")


def _arrive(folder: str) -> None:
    """Inputs come between two ticks."""
    from homeostat.flows.operations.manual import ingest

    ingest(_open(folder), after(8.3), "ann")


def _anchor(folder: str) -> None:
    loop = _open(folder)
    loop.models.anchor(loop.store.journal_head())


HAND: list[Callable[[str], Any]] = [
    lambda folder: live(folder, after(4)),
    _release,
    lambda folder: live(folder, after(6)),
    _tick_with_a_damaged_challenger,
    _approve,
    _train,
    _roll_back,
    _lift,
    _move_the_alias,
    lambda folder: live(folder, after(8)),
    _rescore,
    _snooze,
    _arrive,
    lambda folder: live(folder, after(9)),
    _reject,
    _acknowledge,
    _roll_back_for_a_day,
    _anchor,
    lambda folder: caught_up(folder, after(12), "scores"),
]


def adopt(folder: str) -> None:
    """Make the end of a folder's replay its live state, unless that is done."""
    from homeostat.flows.replay.adopt import adopt_replay

    if not _open(folder).store.list_batches():
        adopt_replay(Path(folder))


def live_here(folder: str, days: str) -> None:
    """Run the live ticks that are due so many days after the start, in this process."""
    live(folder, after(float(days)))


def boundaries(log: Path) -> list[str]:
    """The names of the boundaries that a process passed, in order."""
    return [line.rpartition("#")[0] for line in log.read_text().splitlines()]


def clean(place: Path, name: str, make: Callable[[Path], Any], run: Callable[[str], None]) -> tuple[Path, list[str]]:
    """A world that ran without a kill, and the boundaries it passed; made once for a whole test run."""
    folder, log = place / name, place / f"{name}.log"
    with FileLock(f"{folder}.lock"):
        if not log.with_suffix(".done").exists():
            make(folder)
            assert run_apart(run, str(folder), HOMEOSTAT_BOUNDARY_LOG=str(log)) == 0
            log.with_suffix(".done").touch()
    return folder, boundaries(log)


def clean_replay(place: Path) -> tuple[Path, list[str]]:
    """The eventful world, replayed."""
    return clean(place, "eventful", eventful, replay_here)


def ruled(folder: Path) -> Path:
    """The world in which people are asked, with a rule that labels too."""
    annotated(asked(folder), RULED)
    return folder


def clean_asked(place: Path) -> tuple[Path, list[str]]:
    """The world in which people are asked and a rule labels, replayed."""
    return clean(place, "asked", ruled, replay_here)


def clean_hand(place: Path) -> tuple[Path, list[str]]:
    """The guarded world, lived through with a person's hand in it."""
    return clean(place, "guarded", guarded, run_by_hand)


def clean_adoption(place: Path) -> tuple[Path, list[str]]:
    """The eventful world, its replay adopted."""
    source, _ = clean_replay(place)
    return clean(place, "adopted", lambda folder: shutil.copytree(source, folder), adopt)


def shared(base: Path) -> Path:
    """The folder that all workers of a test run share."""
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


KILLED = -signal.SIGKILL
