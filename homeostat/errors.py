"""Errors a person can act on: what was wrong, what was expected, what to do."""

from __future__ import annotations

import errno

_FULL = ("No space left on device", "os error 28", "database or disk is full", "Disk quota exceeded", "os error 122")


class HomeostatError(Exception):
    """A mistake or a fault that is told to the person in one line, never as a traceback.

    `message` says what was wrong and what was expected, `hint` what to do about it.
    `exit_code` is what the command line exits with: 2 for wrong use, 1 for a failed check or gate.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class ProjectError(HomeostatError):
    """The project file or a hook is not what it should be."""


class DataError(HomeostatError):
    """A source cannot be read, or what it holds cannot be used."""


class LakeError(HomeostatError):
    """A lake table cannot be read or written."""


class StoreError(HomeostatError):
    """The store cannot be reached, or is not at the schema this version needs."""


class RegistryError(HomeostatError):
    """MLflow cannot be reached, or a model cannot be registered, found or loaded."""


class ModelRefused(RegistryError):
    """A model was found, but does not reproduce its golden rows or lacks a part."""


class BusyError(HomeostatError):
    """Somebody else holds what was asked for."""


class CheckFailed(HomeostatError):
    """A check or a gate was run and failed."""

    exit_code = 1


def is_disk_full(fault: BaseException | None) -> bool:
    """Whether a full disk is behind a fault, wherever in its chain of causes; libraries wrap it in many ways."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(fault) for words in _FULL):
            return True
        fault = fault.__cause__ or fault.__context__
    return False
