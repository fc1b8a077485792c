"""Serve the page of an installation: `python -m console.web --root ROOT --host H --port P PLACE...`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from console.web.app import make_app
from console.web.site import Site


def main() -> None:
    """Serve until ended."""
    read = argparse.ArgumentParser(prog="python -m console.web")
    read.add_argument("--root", type=Path, required=True)
    read.add_argument("--host", default="127.0.0.1")
    read.add_argument("--port", type=int, default=8321)
    read.add_argument("places", type=Path, nargs="+")
    given = read.parse_args()
    site = Site(given.root, tuple(given.places), lambda: datetime.now(UTC))
    uvicorn.run(make_app(site), host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
