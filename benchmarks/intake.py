"""Post feedback to a real console at a steady rate while a flow drains it to the lake, and count what is there.

    python benchmarks/intake.py
    python benchmarks/intake.py --kill
    python benchmarks/intake.py --store postgresql+psycopg://USER:PASSWORD@127.0.0.1:5432/EMPTY_DATABASE

Three processes share the machine: the console (`python -m homeostat.console.web`), who posts one label a request,
as many a second as are asked for whatever the answers take, and the drain, which runs the stage feedback every few
seconds. With `--kill` the console is ended by SIGKILL half way and started again; who posts then sends what was not
acknowledged once more, with the same idempotency key. The time of an answer counts from when the post was due. At the
end every acknowledged label must be in the lake once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROJECT = """
[project]
name = "intake"
task = "binary"
[data]
key = "id"
event_time = "at"
target = "y"
classes = [0, 1]
numeric = ["x"]
[data.inputs]
uri = "inputs.parquet"
[data.feedback]
posted = true
[loop]
tick = "1d"
start = "{start}"
"""
KEPT_OPEN = 4.0
"""Seconds for which a connection that is not used may be taken for open; the console closes it after five."""
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the posts: seconds to an answer, ids that were acknowledged, and answers that were not a 202."""

    seconds: list[float]
    acknowledged: list[int]
    refused: dict[str, int]


def lay_out(folder: Path, keys: int) -> None:
    """A project whose inputs are in the lake and whose labels are posted."""
    import polars as pl

    from homeostat.flows.loop import open_loop
    from homeostat.flows.stages.ingest import ingest
    from homeostat.records import Scope

    now = datetime.now(UTC)
    frame = pl.DataFrame({"id": range(keys), "x": [key / keys for key in range(keys)]})
    frame.with_columns(at=pl.lit(now - timedelta(hours=1))).write_parquet(folder / "inputs.parquet")
    start = (now - timedelta(days=1)).replace(microsecond=0)
    (folder / "homeostat.toml").write_text(PROJECT.format(start=start.isoformat()), encoding="utf-8")
    ingest(open_loop(folder, Scope.LIVE), now)


def drain_until(folder: str, stop: Any, every: float) -> None:
    """Run the stage feedback again and again, and once more at the end."""
    from homeostat.flows.locks import claim
    from homeostat.flows.loop import open_loop
    from homeostat.flows.stages.feedback import feedback
    from homeostat.records import Scope

    while True:
        last = stop.wait(every)
        with claim(folder, Scope.LIVE.value):
            began = time.monotonic()
            done = feedback(open_loop(folder, Scope.LIVE), datetime.now(UTC))
        print(f"    drained {done['labels']} labels in {time.monotonic() - began:.1f} s", flush=True)
        if last:
            return


def post_all(url: str, rate: float, posts: int, result: str) -> None:
    """Post in an open loop, and write down what came of it."""
    outcome = asyncio.run(_post_all(url, rate, posts))
    Path(result).write_text(json.dumps([outcome.seconds, outcome.acknowledged, outcome.refused]))


async def _post_all(url: str, rate: float, posts: int) -> Outcome:
    made, refused, idle = Outcome([], [], {}), Counter[str](), list[Connection]()

    async def post(key: int, due: float) -> None:
        while True:
            while idle and time.monotonic() - idle[-1].used > KEPT_OPEN:
                idle.pop().close()
            connection = idle.pop() if idle else Connection(url)
            try:
                status = await connection.post({"rows": [{"id": key, "y": key % 2}]}, f"label-{key}")
                idle.append(connection)
                if status == 202:
                    break
                refused[str(status)] += 1
            except OSError as fault:
                connection.close()
                refused[type(fault).__name__] += 1
            await asyncio.sleep(0.5)
        made.seconds.append(time.monotonic() - due)
        made.acknowledged.append(key)

    began, waiting = time.monotonic() + 0.5, []
    for key in range(posts):
        due = began + key / rate
        await asyncio.sleep(max(due - time.monotonic(), 0))
        waiting.append(asyncio.create_task(post(key, due)))
    await asyncio.gather(*waiting)
    return Outcome(made.seconds, made.acknowledged, dict(refused))


class Connection:
    """A connection that is kept open; a client library's pool costs more than the console where posts queue up."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url)
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.used = 0.0

    async def post(self, body: dict[str, Any], key: str) -> int:
        """Post JSON; returns the status. Raises OSError where the connection breaks."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.address.hostname, self.address.port)
        reader, writer = self.streams
        text = json.dumps(body).encode()
        head = f"POST {self.address.path} HTTP/1.1\r\nHost: {self.address.netloc}\r\nIdempotency-Key: {key}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        try:
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(answer.split("content-length:")[1].split()[0]))
        except asyncio.IncompleteReadError:
            raise ConnectionResetError from None
        self.used = time.monotonic()
        return int(answer.split()[1])

    def close(self) -> None:
        """Let go of it."""
        if self.streams is not None:
            self.streams[1].close()


def start_console(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the console and wait until it answers."""
    command = [
        sys.executable,
        "-m",
        "homeostat.console.web",
        "--root",
        str(folder / "root"),
        "--port",
        str(port),
        str(folder),
    ]
    console = subprocess.Popen(command)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return console
        except OSError:
            if console.poll() is not None:
                raise SystemExit("the console did not start") from None
            time.sleep(0.05)


def run(store: str | None, given: argparse.Namespace) -> dict[str, Any]:
    """One run on a store; what was measured."""
    if store is None:
        os.environ.pop("HOMEOSTAT_STORE_URL", None)
    else:
        os.environ["HOMEOSTAT_STORE_URL"] = store
    posts = int(given.rate * given.seconds)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lay_out(folder, posts)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        console, stop = start_console(folder, port), SPAWN.Event()
        url = f"http://127.0.0.1:{port}/api/v1/projects/intake/feedback"
        drain = SPAWN.Process(target=drain_until, args=(place, stop, given.drain_every))
        poster = SPAWN.Process(target=post_all, args=(url, given.rate, posts, str(folder / "result.json")))
        try:
            drain.start()
            poster.start()
            if given.kill:
                time.sleep(given.seconds / 2)
                console.send_signal(signal.SIGKILL)
                console.wait()
                console = start_console(folder, port)
            poster.join()
            stop.set()
            drain.join()
        finally:
            console.terminate()
            console.wait()
        return measured(folder, store)


def measured(folder: Path, store: str | None) -> dict[str, Any]:
    """Compare what was acknowledged with what is in the lake."""
    from homeostat.flows.loop import forget_open_loops, open_loop
    from homeostat.records import PostKind, Scope

    forget_open_loops()
    seconds, acknowledged, refused = json.loads((folder / "result.json").read_text())
    loop = open_loop(folder, Scope.LIVE)
    rows = loop.lake.read("feedback", columns=["id"])
    there = Counter([] if rows is None else rows["id"].to_list())
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "store": "SQLite" if store is None else "PostgreSQL",
        "acknowledged": len(acknowledged),
        "lost": sum(there[key] == 0 for key in acknowledged),
        "duplicates": sum(count > 1 for count in there.values()),
        "still waiting": loop.store.count_waiting_posts(PostKind.FEEDBACK),
        "p50 ms": round(1000 * cuts[49], 1),
        "p95 ms": round(1000 * cuts[94], 1),
        "p99 ms": round(1000 * cuts[98], 1),
        "worst ms": round(1000 * max(seconds), 1),
        "answers that were not a 202": refused or "none",
    }


def main() -> None:
    """Measure and print."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--rate", type=float, default=200, help="posts a second")
    read.add_argument("--seconds", type=float, default=60)
    read.add_argument("--drain-every", type=float, default=15, help="seconds between two runs of the stage feedback")
    read.add_argument("--kill", action="store_true", help="end the console half way, and start it again")
    read.add_argument("--store", action="append", help="the URL of an empty PostgreSQL database, instead of SQLite")
    given = read.parse_args()
    for store in given.store or [None]:
        for name, value in run(store, given).items():
            print(f"{name:>28}  {value}")


if __name__ == "__main__":
    main()
