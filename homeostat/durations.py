"""Durations as the project file writes them: a whole number and a unit, as in "7d" or "90m"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM = re.compile(r"\s*(\d+)\s*([smhdw])\s*")


def parse_duration(text: str | timedelta) -> timedelta:
    """Read a duration: `parse_duration("7d")` is seven days. Units: s, m, h, d, w.

    Raises ValueError on anything else.

    >>> parse_duration("90m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(text, timedelta):
        return text
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a whole number and s, m, h, d or w, as in '7d'")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError(f"{text!r} is longer than a duration can be") from None


def format_duration(value: timedelta) -> str:
    """Write a duration the way the project file does, in its largest whole unit.

    >>> format_duration(timedelta(hours=48))
    '2d'
    """
    seconds = int(value.total_seconds())
    for unit, size in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def say_duration(value: timedelta) -> str:
    """A duration for people, in the largest unit of which it has two, or one and no rest.

    >>> say_duration(timedelta(days=1)), say_duration(timedelta(hours=30)), say_duration(timedelta(days=2, hours=5))
    ('1 day', '30 hours', '2 days')
    """
    seconds = int(value.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or seconds == size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def instant(at: datetime) -> str:
    """Write an instant in UTC, the same way everywhere: `2020-01-07T00:00:00Z`."""
    text = at.astimezone(UTC).isoformat(timespec="microseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")
