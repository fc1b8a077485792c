"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from fastapi import HTTPException, Request


class Role(IntEnum):
    """What a person may do; each role may do what those before it may.

    A viewer looks, an annotator labels, an approver approves, rejects and sees to alerts, an admin does all.
    """

    VIEWER = 1
    ANNOTATOR = 2
    APPROVER = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: `name` is what the journal says of them."""

    name: str
    role: Role


def person_of(request: Request) -> Person:
    """The person behind a request, as the access control found them."""
    return request.state.person


def at_least(role: Role) -> Callable[[Request], Person]:
    """A dependency of routes that gives the person, and refuses one whose role is less."""

    def check(request: Request) -> Person:
        person = person_of(request)
        if person.role < role:
            detail = f"{person.name} is {person.role.name.lower()} here; this needs {role.name.lower()}."
            raise HTTPException(403, detail)
        return person

    return check
