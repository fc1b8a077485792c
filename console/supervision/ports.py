"""Which port a service gets: the usual one, or a free one where that is taken."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from homeostat.errors import HomeostatError
from homeostat.flows.servers.spec import free_port

USUAL = {"prefect": 4200, "mlflow": 5000, "console": 8321}
TRIES = 20


def is_free(port: int, host: str) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a connection that is long closed keeps nobody from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def take_port(usual: int, host: str, held: ExitStack) -> int:
    """The usual port, or a free one where it is taken; kept from other installations of this user until `held` ends."""
    if _claim(usual, held) and is_free(usual, host):
        return usual
    for _ in range(TRIES):
        port = free_port()
        if _claim(port, held):
            return port
    raise HomeostatError("there is no free port on this machine.", "Stop some of the programs that listen.")


def take_exactly(port: int, host: str, held: ExitStack) -> int:
    """The port that a person asked for. Raises HomeostatError where it is taken."""
    if not (0 < port < 65536):
        raise HomeostatError(f"--port {port}: not a port.", "Expected a number from 1 to 65535.")
    if _claim(port, held) and is_free(port, host):
        return port
    raise HomeostatError(f"--port {port}: in use by another program on {host}.", "Choose another port, or omit --port.")


def _claim(port: int, held: ExitStack) -> bool:
    """Whether no other installation has been given this port: between the look and the listening lie seconds."""
    folder = Path(tempfile.gettempdir()) / f"homeostat-ports-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        held.enter_context(FileLock(folder / f"{port}.lock").acquire(timeout=0))
    except Timeout:
        return False
    except OSError:
        return True
    return True
