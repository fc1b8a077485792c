"""A loop that is killed at a commit boundary and goes on ends as if it had been left alone."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import worlds
from test_posts_killed import BOUNDARIES as POSTED
from worlds import KILLED, assert_same, run_apart, shared, snapshot

from homeostat import flows, registry

Kill = tuple[str, int]
HELD_TICK = 3
"""Which passing, from 0, is that of the batch that is held."""


def first_passings(log: list[str]) -> list[Kill]:
    """Every boundary once, where it is passed first."""
    return [(name, 1) for name in dict.fromkeys(log)]


def later_passings(log: list[str], seed: int) -> list[Kill]:
    """Every boundary that is passed more than once, at a later passing; each counted from the kill before."""
    chance = random.Random(seed)
    places = {name: [at for at, passed in enumerate(log) if passed == name] for name in sorted(set(log))}
    chosen = {name: chance.choice(at[1:]) for name, at in places.items() if len(at) > 1}
    chosen["lake.quarantine.inputs:after"] = places["lake.quarantine.inputs:after"][HELD_TICK]
    order = sorted(chosen.values())
    return [(log[at], log[last + 1 : at + 1].count(log[at])) for last, at in zip([-1, *order], order, strict=False)]


def every_passing(log: list[str]) -> list[Kill]:
    """Every boundary at every passing."""
    return [(name, 1) for name in log]


def kill_again_and_again(target: Callable[[str], None], folder: Path, kills: list[Kill]) -> None:
    """Run `target` on a folder, each time killed at the next boundary, then to its end."""
    for name, passing in kills:
        assert run_apart(target, str(folder), HOMEOSTAT_KILL_AT=f"{name}#{passing}") == KILLED, name
    assert run_apart(target, str(folder)) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory.getbasetemp())


def test_everything_happens_in_the_replay_that_is_killed(place: Path) -> None:
    folder, log = worlds.clean_replay(place)
    seen = snapshot(folder)
    decided = {(d["stage"], d["kind"]) for d in seen["decisions"]}
    assert {("alarm", "alarm"), ("promotion", "promote"), ("promotion", "refuse"), ("validation", "hold")} <= decided
    assert {d["drift"]["status"] for d in seen["checks"]} == {"drift", "stable"}
    assert len({row["model_version"] for row in seen["lake.predictions"]}) > 1
    assert seen["batches"][HELD_TICK]["state"] == "held"
    assert "lake.quarantine.feedback:after" in log


def test_every_boundary_that_the_code_names_is_passed_by_a_run_that_is_killed(place: Path) -> None:
    made = (worlds.clean_replay, worlds.clean_asked, worlds.clean_hand, worlds.clean_adoption)
    passed = {name for run in made for name in run(place)[1]} | {name.rpartition("#")[0] for name in POSTED}
    folders = [Path(package.__path__[0]) for package in (flows, registry)]
    source = "\n".join(file.read_text() for folder in folders for file in folder.rglob("*.py"))
    named = {f"store.{name}" for name in re.findall(r'store\.write\("(\w+)"\)', source)}
    named |= set(re.findall(r'\bcommit\("([\w.]+)"\)', source))
    assert len(named) > 15
    assert {f"{name}:{side}" for name in named for side in ("before", "after")} <= passed


def test_a_replay_killed_at_every_boundary_ends_the_same(place: Path, tmp_path: Path) -> None:
    clean, log = worlds.clean_replay(place)
    folder = worlds.eventful(tmp_path / "killed")
    kill_again_and_again(worlds.replay_here, folder, first_passings(log))
    assert_same(snapshot(folder), snapshot(clean))


@pytest.mark.long
def test_a_replay_killed_at_later_passings_ends_the_same(place: Path, tmp_path: Path) -> None:
    clean, log = worlds.clean_replay(place)
    folder = worlds.eventful(tmp_path / "killed")
    kill_again_and_again(worlds.replay_here, folder, later_passings(log, seed=1))
    assert_same(snapshot(folder), snapshot(clean))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_replay_killed_at_every_passing_of_every_boundary_ends_the_same(place: Path, tmp_path: Path) -> None:
    clean, log = worlds.clean_replay(place)
    folder = worlds.eventful(tmp_path / "killed")
    kill_again_and_again(worlds.replay_here, folder, every_passing(log))
    assert_same(snapshot(folder), snapshot(clean))


def test_a_life_with_a_persons_hand_in_it_killed_at_every_boundary_ends_the_same(place: Path, tmp_path: Path) -> None:
    clean, log = worlds.clean_hand(place)
    covered = set(worlds.clean_replay(place)[1])
    folder = worlds.guarded(tmp_path / "killed")
    kills = [kill for kill in first_passings(log) if kill[0] not in covered or kill[0].startswith("alias")]
    kill_again_and_again(worlds.run_by_hand, folder, kills)
    assert_same(snapshot(folder, "live"), snapshot(clean, "live"))


@pytest.mark.long
def test_an_adoption_killed_at_every_boundary_ends_the_same(place: Path, tmp_path: Path) -> None:
    clean, log = worlds.clean_adoption(place)
    folder = tmp_path / "killed"
    shutil.copytree(worlds.clean_replay(place)[0], folder)
    # Once it is adopted, only the lease is left to be given back, and nobody asks for that again.
    until = log.index("store.adopt:after") + 1
    kill_again_and_again(worlds.adopt, folder, every_passing(log[:until]))
    assert_same(snapshot(folder, "live"), snapshot(clean, "live"))
