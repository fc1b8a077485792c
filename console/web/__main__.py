"""Serve the page of an installation: `python -m homeostat.console.web --root ROOT --host H --port P PLACE...`."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from homeostat.console.arguments import person
from homeostat.console.output import say_error
from homeostat.console.web.app import make_app
from homeostat.console.web.security.settings import read_access_settings
from homeostat.console.web.site import Site
from homeostat.console.web.warmup import warm_up
from homeostat.errors import HomeostatError


def main() -> None:
    """Serve until ended."""
    read = argparse.ArgumentParser(prog="python -m homeostat.console.web")
    read.add_argument("--root", type=Path, required=True)
    read.add_argument("--host", default="127.0.0.1")
    read.add_argument("--port", type=int, default=8321)
    read.add_argument("places", type=Path, nargs="+")
    given = read.parse_args()
    site = Site(given.root, tuple(given.places), lambda: datetime.now(UTC))
    try:
        app = make_app(site, read_access_settings(given.root, given.host, person(), os.environ))
    except HomeostatError as fault:
        say_error(str(fault))
        sys.exit(fault.exit_code)
    warm_up(site)
    # What proxies say is read by the guard, which knows whom to believe.
    quiet = {"log_level": "warning", "access_log": False, "server_header": False, "proxy_headers": False}
    uvicorn.run(app, host=given.host, port=given.port, **quiet)


if __name__ == "__main__":
    main()
