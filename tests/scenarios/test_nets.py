"""Preconditions hold whatever the policy and the model: a column that has gone, labels that stop, harm that is done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from worlds import DAY, PROJECT, START, after, draw, live, write

from homeostat.flows.learning.live import LoopPort
from homeostat.flows.learning.versions import broken_batches, training_frame
from homeostat.flows.loop import Loop, forget_open_loops, open_loop
from homeostat.flows.replay.run import replay
from homeostat.records import Scope

SETTINGS = """
[gates]
min_rows = 30
min_gain = -1.0
[monitoring]
min_rows = 30
sample = 400
tolerance = 0.99
[retraining]
policy = "{policy}"
every = {every}
growth = 0.01
cooldown = "0s"
"""
HOOK = """
from pathlib import Path

SPOILED = Path({spoiled!r})


def build_model(task, seed):
    from sklearn.dummy import DummyClassifier
    from sklearn.tree import DecisionTreeClassifier

    if SPOILED.exists():
        return DummyClassifier(strategy="uniform", random_state=seed)
    return DecisionTreeClassifier(max_depth=3, random_state=seed)
"""
GONE_FROM, GONE_UNTIL, STOPPED = START + 2 * DAY, START + 4 * DAY, START + 6 * DAY
TICKS = 13


def laid(folder: Path, policy: str, inputs: pl.DataFrame, labels: pl.DataFrame, every: int = 2) -> Path:
    """A project under a policy, or with a hook's estimator under `periodic`."""
    hook = policy == "hook"
    settings = SETTINGS.format(policy="periodic" if hook else policy, every=every)
    project = PROJECT.replace('"3d"', '"2d"') + ('candidates = ["hook"]\n' if hook else "") + settings
    write(folder, inputs, labels, project)
    if hook:
        (folder / "hooks.py").write_text(HOOK.format(spoiled=str(folder / "spoiled")))
    return folder


def opened(folder: Path, scope: Scope) -> Loop:
    forget_open_loops()
    return open_loop(folder, scope)


@pytest.mark.parametrize("policy", ["threshold", "periodic", "every_tick", "never", "hook"])
def test_a_column_that_has_gone_and_labels_that_stop_are_told_whatever_the_policy(tmp_path: Path, policy: str) -> None:
    made = draw(60, START - 4 * DAY, TICKS + 4, seed=3)
    sound = (pl.col("at") < GONE_FROM) | (pl.col("at") >= GONE_UNTIL)
    folder = laid(
        tmp_path / "small", policy, made.with_columns(x=pl.when(sound).then("x")), made.filter(pl.col("at") < STOPPED)
    )
    replay(folder)
    loop = opened(folder, Scope.REPLAY)
    decided = {d.tick_at: d for d in loop.store.list_decisions("retraining")}
    broken = [at for at, d in decided.items() if d.kind == "fix_data"]
    assert broken == [GONE_FROM + DAY, GONE_UNTIL]
    assert broken_batches(loop) == {"2020-01-10T00:00:00Z", "2020-01-11T00:00:00Z"}
    trained = {record.as_of for record in loop.store.list_models()[1:]}
    assert not trained & set(broken) and (policy == "never") == (not trained)
    learned = training_frame(loop, after(TICKS))
    assert not set(learned["_batch"]) & broken_batches(loop) and learned["x"].null_count() < 10
    assert decided[after(TICKS - 1)].kind == "label", decided[after(TICKS - 1)].reasons
    told = Counter(alert.title for alert in loop.store.list_alerts())
    assert told["labels are wanted"] == told["fix the data: nothing is learned from it until then"] == 1


def test_what_a_hook_made_is_on_probation_and_is_rolled_back_where_it_serves_worse(tmp_path: Path) -> None:
    made = draw(60, START - 4 * DAY, 18, seed=3)
    folder = laid(tmp_path / "small", "hook", made, made, every=3)
    live(folder, after(2))
    (folder / "spoiled").touch()
    live(folder, after(12))
    loop = opened(folder, Scope.LIVE)
    (back,) = loop.store.list_decisions("rollback")
    assert back.model_version == 1 and "what was served lost" in back.reasons[0]
    assert {record.root_version for record in loop.store.list_models()} == {1}
    later = [d for d in loop.store.list_decisions("promotion") if d.tick_at > back.tick_at]
    assert all(d.kind == "refuse" and "after a rollback" in d.reasons[-1] for d in later)
    assert loop.version_of("champion") == 1


def test_probation_passes_over_a_batch_in_which_a_column_has_gone(tmp_path: Path) -> None:
    made = draw(60, START - 4 * DAY, 12, seed=3)
    gone = made.with_columns(x=pl.when(pl.col("at") < START + 4 * DAY).then("x"))
    folder = laid(tmp_path / "small", "periodic", gone, made, every=2)
    live(folder, after(8))
    loop = opened(folder, Scope.LIVE)
    probation = LoopPort(loop).probation(1)
    assert len(loop.store.list_models()) > 1 and probation is not None
    sound = [w for w in loop.store.list_windows() if w.batch not in broken_batches(loop) and w.model_version != 1]
    assert probation.served <= len(sound) and probation.until > "2020-01-12T00:00:00Z"
