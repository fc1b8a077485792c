"""What every command shows, to people and to programs, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import shells
from shells import copy_of, homeostat, remembered, warm

COMMANDS = [
    "init", "check", "replay", "demo", "tick", "ingest", "predict", "feedback", "monitor", "train", "retrain",
    "approve", "reject", "promote", "rollback", "quarantine", "alerts", "journal", "why", "export", "status", "up",
    "down", "logs",
]  # fmt: skip
TEXTS = {
    "alerts": "it is the first champion",
    "journal": "train_first: there is no champion, and",
    "status": "realized_status final",
    "quarantine": "99.0 is outside of -9.0..9.0",
}
REPLAY = ("--from", "replay")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shells.lived(tmp_path_factory)


def said(*args: object, code: int = 0, **environ: str) -> Any:
    """What a command says as JSON; nothing else may be on standard output."""
    answer = warm(*args, "--json", **environ)
    assert answer.code == code, answer
    assert "Traceback" not in answer.err
    return json.loads(answer.out)


def test_help_names_every_command_and_the_exit_codes() -> None:
    answer = homeostat("--help", COLUMNS="120")
    assert (answer.code, answer.err) == (0, "")
    assert all(f" {command} " in answer.out for command in COMMANDS)
    assert "Exit codes" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    answer = warm(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert max(map(len, answer.out.splitlines())) <= 80
    assert command in {"init", "demo"} or "project's folder" in " ".join(answer.out.split())


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in {"init", "demo", "why", "export"}])
def test_without_a_project_a_command_says_how_to_get_one(tmp_path: Path, command: str) -> None:
    answer = warm(command, cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.told == [
        "homeostat: homeostat.toml: no such project file. Give a folder that holds a homeostat.toml, or write one "
        "with 'homeostat init DATA.csv'."
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["replay", "--fesh"], "--fresh"),
        (["repaly"], "No such command 'repaly'"),
        (["why"], "Missing argument"),
        (["alerts", "--limit", "many"], "--limit"),
        (["export", "predictionz"], "'predictions', 'decisions', 'windows'"),
        (["export", "predictions"], "Give --out FILE"),
        (["export", "predictions", "--out", "p.xlsx"], ".parquet, .csv or .jsonl"),
        (["export", "predictions", "--out", "p.csv", "--role", "king"], "champion, challenger, baseline or correction"),
        (["journal", "burn"], "neither show nor verify"),
        (["quarantine", "release"], "Give --id, --batch, --rule or --all"),
        (["replay", "--until", "tomorrow"], "Expected ISO"),
    ],
)
def test_wrong_use_is_one_line(args: list[str], words: str) -> None:
    answer = warm(*args)
    assert (answer.code, answer.out, len(answer.told)) == (2, "", 1)
    assert words in answer.err


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", TEXTS)
def test_tables_fit_the_screen_and_keep_words_whole(lived: Path, command: str, width: int) -> None:
    answer = warm(command, lived, *REPLAY, COLUMNS=str(width))
    assert (answer.code, answer.err) == (0, "")
    assert max(map(len, answer.out.splitlines())) <= width
    assert TEXTS[command] in " ".join(answer.out.split())


def test_readers_say_json(lived: Path) -> None:
    assert {alert["severity"] for alert in said("alerts", lived, *REPLAY)} <= {"info", "warning", "critical"}
    assert said("journal", lived, *REPLAY)[0]["seq"] == 1
    assert said("journal", "verify", lived, *REPLAY)["sound"] is True
    assert said("status", lived, *REPLAY)["healthy"] is True
    assert said("status", lived, code=1)["healthy"] is False
    assert said("why", lived, 400, *REPLAY)["model_version"] == 1
    assert said("check", lived)["sound"] is True
    assert said("quarantine", lived)[0]["rule"] == "range:x"


def test_where_life_has_begun_it_is_read_and_else_the_replay(lived: Path, tmp_path: Path) -> None:
    folder = copy_of(lived, tmp_path / "p")
    assert said("status", folder, code=1)["scope"] == "live"
    (folder / ".homeostat" / "live").rename(tmp_path / "gone")
    assert said("status", folder)["scope"] == "replay"
    (folder / "inputs.parquet").unlink()
    assert warm("ingest", folder).code == 2
    assert said("status", folder)["scope"] == "replay"
    answer = warm("status", shells.small(tmp_path / "q"))
    assert (answer.code, len(answer.told)) == (2, 1)
    assert "there is no live or replay state yet" in answer.err


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    ("what", "columns"),
    [
        ("predictions", ["id", "event_at", "scored_at", "model_version", "role", "prediction", "score"]),
        ("decisions", ["tick", "kind", "reasons", "model_version", "evidence"]),
        ("windows", ["start", "end", "rows", "coverage", "status", "metric", "realized", "estimated", "estimated_low",
                     "estimated_high", "model_version"]),
    ],
)  # fmt: skip
def test_exports_come_in_three_forms(lived: Path, tmp_path: Path, what: str, columns: list[str], ending: str) -> None:
    file = tmp_path / "new folder" / f"out.{ending}"
    assert said("export", what, lived, "--out", file, *REPLAY)["what"] == what
    read: Any = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[ending]
    found = read(file)
    assert set(columns) <= set(found.columns)
    assert found.height
    assert [f.name for f in file.parent.iterdir()] == [file.name]


def test_the_first_model_is_exported_as_the_baseline(lived: Path, tmp_path: Path) -> None:
    for role in ("champion", "baseline"):
        said("export", "predictions", lived, "--out", tmp_path / f"{role}.parquet", "--role", role, *REPLAY)
    champion, baseline = (pl.read_parquet(tmp_path / f"{role}.parquet") for role in ("champion", "baseline"))
    assert set(baseline["model_version"]) == {1}
    assert champion["id"].to_list() == baseline["id"].to_list()
    answer = warm("export", "predictions", lived, "--out", tmp_path / "x.csv", "--role", "challenger", *REPLAY)
    assert (answer.code, len(answer.told)) == (2, 1)


def test_why_tells_version_truth_and_promotion(lived: Path) -> None:
    answer = warm("why", 400, *REPLAY, cwd=lived)
    assert answer.code == 0
    for words in ("400: predicted", "version 1", "label", "it is the first champion", "contribution"):
        assert words in answer.out
    for key in ("3", "no-such", "99999"):
        answer = warm("why", lived, key, *REPLAY)
        assert (answer.code, len(answer.told)) == (2, 1)
        assert "was never scored" in answer.err


def test_a_journal_that_was_edited_fails_its_check(lived: Path, tmp_path: Path) -> None:
    folder = copy_of(lived, tmp_path / "p")
    assert "The journal is intact" in warm("journal", "verify", folder, *REPLAY).out
    with closing(sqlite3.connect(folder / ".homeostat" / "replay" / "store.db")) as database, database:
        database.execute('UPDATE journal SET body = \'{"decision": "promote"}\' WHERE seq = 2')
    answer = warm("journal", "verify", folder, *REPLAY)
    assert (answer.code, len(answer.told)) == (1, 1)
    assert "link 2" in answer.err
    assert said("journal", "verify", folder, *REPLAY, code=1)["sound"] is False
    assert warm("status", folder, *REPLAY).code == 1


def test_a_dry_run_writes_nothing(lived: Path, tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p", begun=False)
    answer = warm("tick", folder, "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    assert "new rows" in answer.out
    assert len(answer.out.splitlines()) < 12
    assert not (folder / ".homeostat").exists()
    folder = copy_of(lived, tmp_path / "q")
    before = remembered(folder)
    assert said("tick", folder, "--dry-run")["new rows"] == 0
    assert remembered(folder) == before


def test_alerts_are_seen_to_from_the_command_line(lived: Path, tmp_path: Path) -> None:
    folder = copy_of(lived, tmp_path / "p")
    first, *others = said("alerts", folder, *REPLAY)
    assert others and first["acknowledged_by"] is None
    seen = said("alerts", folder, "--acknowledge", first["key"], "--note", "asked the depot", *REPLAY)
    assert (seen["note"], seen["acknowledged_at"] is not None) == ("asked the depot", True)
    said("alerts", folder, "--snooze", others[0]["key"], "--until", "3d", *REPLAY)
    still = [alert["key"] for alert in said("alerts", folder, "--open", *REPLAY)]
    assert still == [alert["key"] for alert in others[1:]]
    assert "asked the depot" in warm("alerts", folder, *REPLAY, COLUMNS="200").out
    said("alerts", folder, "--reopen", first["key"], *REPLAY)
    assert first["key"] in [alert["key"] for alert in said("alerts", folder, "--open", *REPLAY)]
    assert "alert_snoozed" in warm("journal", folder, *REPLAY).out
    for wrong in (
        ["--acknowledge", "nothing"], ["--snooze", first["key"]], ["--snooze", first["key"], "--until", "soon"],
        ["--snooze", first["key"], "--until", "2020-01-01"], ["--snooze", "a", "--reopen", "b"],
    ):  # fmt: skip
        answer = warm("alerts", folder, *REPLAY, *wrong)
        assert (answer.code, answer.out, len(answer.told)) == (2, "", 1), answer


def test_stages_by_hand_make_a_champion_that_a_person_replaces_and_puts_back(tmp_path: Path) -> None:
    folder = shells.small(tmp_path / "p")
    assert said("ingest", folder, code=2)["quarantined"] == 1
    assert said("feedback", folder, code=2)["labels"] == 479
    assert said("train", folder)["version"] == 1
    assert said("train", folder)["version"] == 2
    assert said("promote", folder, "--version", 2, "--why", "a trial")["champion"] == 2
    assert said("rollback", folder, "--why", "enough")["champion"] == 1
    assert "promoted by" in warm("journal", folder).out
    [row] = said("quarantine", "list", folder, "--rule", "range:x")
    assert (row["rule"], row["released"]) == ("range:x", False)
    assert said("quarantine", "release", folder, "--id", row["row_id"])["released"] == 1
    assert said("ingest", folder)["rows"] == 1
    assert said("predict", folder)["scored"] == 1
    assert said("monitor", folder)["windows"] is not None
    for command in (
        ["approve"],
        ["reject"],
        ["reject", "--why", "no"],
        ["promote", "--version", "9"],
        ["rollback", "--to", "1"],
        ["quarantine", "release", "--id", "no"],
    ):
        words = command[:2] if command[0] == "quarantine" else command[:1]
        answer = warm(*words, folder, *command[len(words) :])
        assert (answer.code, answer.out, len(answer.told)) == (2, "", 1)
