"""Command lines that work when pasted: the programs of this environment, and paths from the current folder."""

from __future__ import annotations

import os
import shlex
import sysconfig
from pathlib import Path


def pasted(program: str, *words: str, **environ: str) -> str:
    """A line for a shell: variables, a program of this environment, and what it is given, each quoted.

    >>> pasted("no-such-program", "to see", LOOK="at it")
    "LOOK='at it' no-such-program 'to see'"
    """
    given = [f"{name}={shlex.quote(value)}" for name, value in environ.items()]
    return " ".join([*given, shlex.quote(find_program(program)), *map(shlex.quote, words)])


def find_program(name: str) -> str:
    """Where a shell finds a program of this environment; its bare name where the environment has none of that name."""
    file = Path(sysconfig.get_path("scripts")) / name
    if not file.exists():
        return name
    found = shortest(file)
    return found if os.sep in found else f".{os.sep}{found}"


def shortest(path: Path) -> str:
    """A path from the root or from the current folder, whichever is shorter.

    >>> shortest(Path.cwd() / "orders" / "report.html")
    'orders/report.html'
    """
    whole = os.path.abspath(path)  # noqa: PTH100 - a link stays what it is
    return min(os.path.relpath(whole), whole, key=len)


def shortest_uri(uri: str) -> str:
    """The URI of an SQLite database with the shorter path; any other as it is.

    >>> shortest_uri(f"sqlite:///{Path.cwd()}/mlflow.db"), shortest_uri("http://localhost:5000")
    ('sqlite:///mlflow.db', 'http://localhost:5000')
    """
    scheme = "sqlite:///"
    return f"{scheme}{shortest(Path(uri.removeprefix(scheme)))}" if uri.startswith(scheme) else uri
