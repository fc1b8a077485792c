"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fastapi import HTTPException, Request

from homeostat.console.web.security.roles import NOBODY, Person, Role

__all__ = ["NOBODY", "Person", "Role", "at_least", "person_of", "role_wanted"]


def person_of(request: Request) -> Person:
    """The person behind a request, as the access control found them."""
    return request.state.person


@cache
def at_least(role: Role) -> Callable[[Request], Person]:
    """A dependency of routes that gives the person, and refuses one whose role is less."""

    def check(request: Request) -> Person:
        person = person_of(request)
        if person.role < role:
            detail = f"{person.name} is {person.role.name.lower()} here; this needs {role.name.lower()}."
            raise HTTPException(403, detail)
        return person

    check.role = role  # type: ignore[attr-defined]
    return check


def role_wanted(dependency: object) -> Role:
    """The role that a dependency of a route asks for; NOBODY where it is none of `at_least`.

    >>> role_wanted(at_least(Role.APPROVER))
    <Role.APPROVER: 3>
    """
    return getattr(dependency, "role", Role.NOBODY)
