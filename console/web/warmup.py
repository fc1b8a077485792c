"""What the first request would wait for, done before it comes."""

from __future__ import annotations

import gc
import threading
from contextlib import suppress

from homeostat.console.web.project_card import look_at
from homeostat.console.web.site import Site


def warm_up(site: Site) -> threading.Thread:
    """Open the projects beside the start of the server, and keep what that loaded out of garbage collections.

    Libraries and open stores live as long as the process; walking them again and again made long reads twice as slow.
    """
    thread = threading.Thread(target=_warm, args=(site,), name="warm up", daemon=True)
    thread.start()
    return thread


def _warm(site: Site) -> None:
    with suppress(OSError):
        for entry in site.projects():
            look_at(site, entry)
    gc.collect()
    gc.freeze()
