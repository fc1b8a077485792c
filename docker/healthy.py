"""Is a service of this container healthy? Exits with 0 where it is; else says what is wrong and exits with 1.

healthy.py URL                 a server that answers with 200
healthy.py FOLDER/runner.json  a process that has written its heartbeat within a minute
healthy.py FOLDER              all that `homeostat up` runs on the state in FOLDER
"""

import json
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

SECONDS = 4
BEAT_SECONDS = 60
FINE = ("healthy", "adopted")


def problem(what: str, now: datetime) -> str | None:
    """What is wrong with a service; None where nothing is."""
    try:
        if "://" in what:
            return _of_server(what)
        path = Path(what)
        return _of_services(path) if path.is_dir() else _of_heartbeat(path, now)
    except (OSError, ValueError, KeyError) as fault:
        return f"{what}: {type(fault).__name__}: {fault}"


def _of_server(url: str) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=SECONDS) as answer:
        return None if answer.status == 200 else f"{url}: it answers with {answer.status}"


def _of_heartbeat(file: Path, now: datetime) -> str | None:
    at = datetime.fromisoformat(json.loads(file.read_text(encoding="utf-8"))["at"])
    age = (now - at).total_seconds()
    return f"{file}: the last beat was {age:.0f} s ago" if age > BEAT_SECONDS else None


def _of_services(folder: Path) -> str | None:
    notes = sorted(folder.glob("services*.json"))
    states = {
        name: service["state"]
        for note in notes
        for name, service in json.loads(note.read_text(encoding="utf-8"))["services"].items()
    }
    ill = [f"{name} is {state}" for name, state in states.items() if state not in FINE]
    return "; ".join(ill) or None if states else f"{folder}: nothing runs there"


if __name__ == "__main__":
    told = problem(sys.argv[1], datetime.now(UTC))
    sys.exit(told)
