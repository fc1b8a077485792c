"""The kinds of values that a project file holds, each with a mistake in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from homeostat.durations import format_duration, parse_duration


class Section(BaseModel):
    """A section: what it does not know is a mistake, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)
    retired: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier releases that do nothing any more, and why: older files may hold them."""

    @model_validator(mode="before")
    @classmethod
    def _without_retired(cls, raw: object) -> object:
        return {key: raw[key] for key in raw if key not in cls.retired} if isinstance(raw, dict) else raw


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except Exception:
        raise ValueError(f"{name!r} is not a time zone; expected an IANA name such as 'Europe/Berlin'") from None
    return name


def _plain_name(name: str) -> str:
    if not name or len(name) > 100 or not all(c.isalnum() or c in "-_" for c in name):
        raise ValueError(f"{name!r} is not a project name; use letters, digits, - and _, at most 100")
    return name


def _column_name(name: str) -> str:
    if not name.strip() or name[0] in "=!":
        raise ValueError(f"{name!r} is not a column name; it must not be empty or begin with = or !")
    return name


def _variable_name(name: str) -> str:
    if not name.isascii() or not name.isidentifier():
        raise ValueError(
            "not the name of an environment variable; put the address into one, as in CHAT_URL, and name it here"
        )
    return name


def _as_instant(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise ValueError(f"{value!r} is not a date or a time; write it as in '2020-01-31' or '2020-01-31T06:00Z'")
    if not 1900 <= moment.year <= 2200:
        raise ValueError(f"{value!r} lies outside of the years 1900 to 2200")
    return moment


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing, as in '7d'")
    return value


def _as_class(value: Any) -> Any:
    if not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not a class; write text in quotes, a whole number, true or false")
    return value


Column = Annotated[str, AfterValidator(_column_name)]
Class = Annotated[str | int | bool, BeforeValidator(_as_class)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PlainName = Annotated[str, AfterValidator(_plain_name)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
Zone = Annotated[str, AfterValidator(_zone)]
Instant = Annotated[datetime, BeforeValidator(_as_instant)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
SomeTime = Annotated[Duration, AfterValidator(_some_time)]
