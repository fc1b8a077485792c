"""Extension points: each kind of thing that can be added is one `Extensions`, in the one module that uses it.

A package adds its own without a change to ours: it registers them when it is imported, and names the module to import
under the entry point group `homeostat`:

    [project.entry-points.homeostat]
    ours = "our_package.extensions"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from homeostat.errors import ProjectError

GROUP = "homeostat"
T = TypeVar("T")


class Extensions(Generic[T]):
    """The known things of one kind, by name, ours first.

    `kind` names it in messages, as in "drift measure".

    >>> greetings: Extensions[str] = Extensions("greeting")
    >>> _ = greetings.add("plain", "hello")
    >>> greetings.get("plain"), greetings.names()
    ('hello', ('plain',))
    """

    def __init__(self, kind: str) -> None:
        """Begin with none."""
        self.kind = kind
        self._known: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Make `item` known under a name. Raises ValueError where another one has it."""
        if name in self._known and self._known[name] is not item:
            raise ValueError(f"there is a {self.kind} named {name!r} already")
        self._known[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """The same as a decorator of a class or a function."""
        return lambda item: self.add(name, item)

    def get(self, name: str, where: str = "") -> T:
        """What is known under a name. Raises ProjectError that lists the known names.

        `where` begins the message: the key of the project file that gives the name, as in "homeostat.toml: a.b: ".
        """
        load_extensions()
        if name not in self._known:
            known = ", ".join(sorted(self._known))
            raise ProjectError(f"{where}there is no {self.kind} named {name!r}.", f"Known: {known}.")
        return self._known[name]

    def names(self) -> tuple[str, ...]:
        """Every known name, in the order in which they were added."""
        load_extensions()
        return tuple(self._known)

    def items(self) -> Iterator[tuple[str, T]]:
        """Names with what they name, in the order in which they were added."""
        load_extensions()
        return iter(tuple(self._known.items()))

    def remove(self, name: str) -> None:
        """Forget what was added under a name, such as at the end of a test."""
        del self._known[name]


@lru_cache(maxsize=1)
def load_extensions() -> None:
    """Import what installed packages name under the entry point group `homeostat`; once a process.

    Raises ProjectError, naming the package, where one cannot be imported.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            point.load()
        except Exception as fault:
            owner = point.dist.name if point.dist is not None else "an unknown package"
            raise ProjectError(
                f"the extension {point.name} of {owner} cannot be imported: {type(fault).__name__}: {fault}.",
                f"Mend {point.value}, or uninstall {owner}.",
            ) from fault
