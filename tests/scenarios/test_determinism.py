"""The same data give the same history, bit for bit, whole or in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
import worlds
from worlds import after, assert_same, replay_here, run_apart, shared, snapshot

from homeostat.durations import instant


def test_a_replay_in_pieces_in_another_folder_and_one_started_over_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    wanted = snapshot(worlds.clean_replay(shared(tmp_path_factory.getbasetemp()))[0])
    folder = worlds.eventful(tmp_path / "again")
    for day in (0, 2.5, 3, 6):
        assert run_apart(replay_here, str(folder), instant(after(day))) == 0
        seen = snapshot(folder)
        assert len(seen["batches"]) == int(day) + 1
    assert run_apart(replay_here, str(folder)) == 0
    assert_same(snapshot(folder), wanted)
    assert run_apart(replay_here, str(folder), None, True) == 0
    assert_same(snapshot(folder), wanted)
    assert sorted({row["model_version"] for row in wanted["lake.predictions"]})[0] == 1
