"""Changing a setting in a project file, and nothing else in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homeostat.errors import ProjectError
from homeostat.project import load_project


def set_keys(text: str, section: str, values: Mapping[str, Any]) -> str:
    """Set keys of a section in TOML text; every other byte stays, comments included.

    A key that already has its value is not touched; a section that is not there is added at the end.

    >>> set_keys('[loop]  # ours\\ntick = "1d"\\n', "retraining", {"policy": "never"})
    '[loop]  # ours\\ntick = "1d"\\n\\n[retraining]\\npolicy = "never"\\n'
    """
    import tomlkit

    document = tomlkit.parse(text)
    if section not in document:
        ending = "" if not text or text.endswith("\n") else "\n"
        line = "\r\n" if "\r\n" in text else "\n"
        added = [f"[{section}]", *(f"{key} = {tomlkit.item(value).as_string()}" for key, value in values.items())]
        return text + ending + line + line.join(added) + line
    table: Any = document[section]
    for key, value in values.items():
        if key not in table or table[key] != value:
            table[key] = value
    return tomlkit.dumps(document)


def write_setting(folder: Path, section: str, values: Mapping[str, Any]) -> bool:
    """Set keys of a section in a project's file; says whether anything changed.

    The file is replaced whole or not at all, and only where the result is a sound project file. Raises ProjectError.
    """
    file = load_project(folder).file
    before = file.read_bytes()
    marked = before.startswith(b"\xef\xbb\xbf")
    text = set_keys(before.decode("utf-8-sig"), section, values)
    after = (b"\xef\xbb\xbf" if marked else b"") + text.encode()
    if after == before:
        return False
    part = file.with_name(f".{file.name}.part.toml")
    try:
        part.write_bytes(after)
        load_project(part)
        part.replace(file)
    except OSError as fault:
        raise ProjectError(f"{file}: cannot be written: {fault.strerror}.", "Mend access to it.") from None
    finally:
        part.unlink(missing_ok=True)
    return True
