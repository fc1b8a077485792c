"""Kept facts: what the loop remembers between ticks, each a name in the store with the type of its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from homeostat.records import Document

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """A fact's name and the type of its record: a frozen dataclass, or whatever else pydantic reads.

    A record comes back equal to what was kept, bit for bit. What an earlier release kept besides is left out.
    """

    name: str
    record: type[T]

    def dump(self, value: T) -> Document:
        """The record as JSON holds it."""
        return _adapter(self.record).dump_python(value, mode="json")

    def load(self, raw: Mapping[str, Any]) -> T:
        """The record that `dump` made plain. Raises pydantic's ValidationError where it is another's."""
        return _adapter(self.record).validate_python(raw)


@dataclass(frozen=True, slots=True)
class FactSeries(Generic[T]):
    """Facts of one type, one for each number, such as one for each lineage: named as in "alarm/3"."""

    name: str
    record: type[T]

    def of(self, number: int) -> Fact[T]:
        """The fact of a number."""
        return Fact(f"{self.name}/{number}", self.record)


@cache
def _adapter(record: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(record)
