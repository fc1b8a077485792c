"""A disk that is full in the middle of a write: one clear line; with room, the same command ends as if nothing was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import shells
from shells import Answer, copy_of, exported, make_room, small_disk, warm

ROOM = 100_000
STEPS = [120, 180, 260, 500, 1000, 1600, 2200]
"""Disk sizes in kB: what a replay writes first is the store, then the lake, then MLflow's database and models."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shells.lived(tmp_path_factory)


def assert_full(answer: Answer) -> None:
    assert answer.code == 2, answer
    assert len(answer.told) == 1, answer.err
    assert "no space is left on the disk" in answer.err
    assert "ake room" in answer.err


def fresh_copy(base: Path, to: Path) -> Path:
    """The project alone, without its state."""
    folder = copy_of(base, to)
    shutil.rmtree(folder / ".homeostat")
    return folder


def test_a_replay_whose_disk_fills_up_again_and_again_ends_as_one_that_was_left_alone(
    base: Path, tmp_path: Path
) -> None:
    folder, disk = fresh_copy(base, tmp_path / "p"), tmp_path / "disk"
    full = 0
    with small_disk(disk, STEPS[0]):
        for size in STEPS:
            make_room(disk, size)
            answer = warm("replay", folder, "--no-prefect", HOMEOSTAT_HOME=str(disk))
            if answer.code == 0:
                break
            assert_full(answer)
            full += 1
        make_room(disk, ROOM)
        assert warm("replay", folder, "--no-prefect", HOMEOSTAT_HOME=str(disk)).code == 0
        assert full >= 4
        assert exported(folder, tmp_path / "a", HOMEOSTAT_HOME=str(disk)) == exported(base, tmp_path / "b")


@pytest.mark.parametrize("part", ["lake", "store"])
def test_a_replay_goes_on_after_its_lake_or_its_store_was_full(base: Path, tmp_path: Path, part: str) -> None:
    folder = fresh_copy(base, tmp_path / "p")
    root, elsewhere = folder / ".homeostat" / "replay", tmp_path / "elsewhere"
    elsewhere.mkdir()
    disk = root / "lake" if part == "lake" else root
    with small_disk(disk, 100 if part == "lake" else 230):
        if part == "store":
            (root / "lake").symlink_to(elsewhere)
        answer = warm("replay", folder, "--no-prefect")
        assert_full(answer)
        assert part in answer.err
        make_room(disk, ROOM)
        assert warm("replay", folder, "--no-prefect").code == 0
        assert exported(folder, tmp_path / "a") == exported(base, tmp_path / "b")


def test_an_ingest_goes_on_after_the_disk_was_full(base: Path, tmp_path: Path) -> None:
    folder, disk = fresh_copy(base, tmp_path / "p"), tmp_path / "disk"
    with small_disk(disk, 160):
        assert_full(warm("ingest", folder, HOMEOSTAT_HOME=str(disk)))
        make_room(disk, ROOM)
        answer = warm("ingest", folder, HOMEOSTAT_HOME=str(disk))
        assert "1 of 600 rows break a stated rule" in answer.err
        assert '"rows": 0' in warm("ingest", folder, "--json", HOMEOSTAT_HOME=str(disk)).out


def test_an_export_to_a_full_disk_leaves_the_file_that_was_there(base: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8):
        file = tmp_path / "disk" / "predictions.csv"
        file.write_text("what was there")
        assert_full(warm("export", "predictions", base, "--from", "replay", "--out", file))
        assert file.read_text() == "what was there"
        assert [f.name for f in file.parent.iterdir()] == [file.name]
