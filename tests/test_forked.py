"""Processes that tests fork have the environment that the test has, not that of a test before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from forked import fork

NAME = "HOMEOSTAT_STORE_URL"


def note(file: str) -> None:
    """Write down what this process takes for the store."""
    Path(file).write_text(os.environ.get(NAME, "none"), encoding="utf-8")


def seen(file: Path, **environ: str) -> str:
    process = fork(note, str(file), environ={**os.environ, **environ} if environ else None)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    return file.read_text(encoding="utf-8")


def test_a_forked_process_has_the_environment_of_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("sqlite:///one.db", "sqlite:///two.db"):
        monkeypatch.setenv(NAME, url)
        assert seen(tmp_path / "now") == url
    monkeypatch.delenv(NAME)
    assert seen(tmp_path / "now") == "none"
    assert seen(tmp_path / "now", **{NAME: "sqlite:///given.db"}) == "sqlite:///given.db"
