"""Roles and people, as the access control, the pages and the command line know them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from homeostat.errors import HomeostatError

LONGEST_NAME = 100
SERVICE = "homeostat up"


class Role(IntEnum):
    """What a person may do; each role may do what those before it may.

    A viewer reads, an annotator labels, an approver approves, rejects and deals with alerts, an admin does everything.
    NOBODY is who has not signed in yet, and may do nothing.
    """

    NOBODY = 0
    VIEWER = 1
    ANNOTATOR = 2
    APPROVER = 3
    ADMIN = 4


ROLES = tuple(role.name.lower() for role in Role if role is not Role.NOBODY)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: `name` is what the journal says of them."""

    name: str
    role: Role


NOBODY = Person("", Role.NOBODY)


def parse_role(text: str, where: str) -> Role:
    """The role of this name. Raises HomeostatError, beginning with `where`.

    >>> parse_role("viewer", "--role")
    <Role.VIEWER: 1>
    """
    if text not in ROLES:
        raise HomeostatError(f"{where}: {text!r} is not a role.", f"Expected one of {', '.join(ROLES)}.")
    return Role[text.upper()]


def is_name(text: object) -> bool:
    """Whether a person can go by this name: printable, no spaces around it, not long, not that of a service."""
    return isinstance(text, str) and 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()
