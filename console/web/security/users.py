"""The access file: who may use the page and the API, in which role, and the digest of each one's token."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from homeostat.console.web.security.roles import SERVICE, Person, Role, is_name, parse_role
from homeostat.durations import instant
from homeostat.errors import HomeostatError

ACCESS_FILE = "access.toml"
KEYS = {"role", "token_sha256", "created"}
HEAD = "# Who may use Homeostat's pages and API. Written by 'homeostat access'; changes take effect at once.\n"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One person of the file. `digest` is the SHA-256 of their token; None where a proxy says who they are."""

    person: Person
    digest: str | None
    created: str


def make_token() -> tuple[str, str]:
    """A new token of 256 random bits, and its digest."""
    token = "hs_" + secrets.token_urlsafe(32)
    return token, digest_of(token)


def digest_of(token: str) -> str:
    """The digest of a token that the file keeps."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_people(file: Path) -> dict[str, Entry]:
    """Everybody in an access file, by name; nobody where there is none. Raises HomeostatError where it is unsound."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as fault:
        raise HomeostatError(f"{file}: cannot be read: {fault}.", "Check its permissions.") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise HomeostatError(f"{file}: not valid TOML: {fault}.", "Fix that line.") from None
    people = content.get("people", {})
    if set(content) - {"people"} or not isinstance(people, dict):
        raise HomeostatError(f"{file}: expected only [people.NAME] tables.")
    return {name: _entry(file, name, given) for name, given in people.items()}


def write_people(file: Path, people: Mapping[str, Entry]) -> None:
    """Replace an access file, whole or not at all; only its owner can read it. Raises HomeostatError."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123
            out.write(HEAD + "".join(map(_table, people.values())))
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as fault:
        raise HomeostatError(
            f"{file}: cannot be written: {fault.strerror}.", "Check the permissions of its folder."
        ) from None
    finally:
        part.unlink(missing_ok=True)


def new_entry(name: str, role: Role, digest: str | None, at: datetime) -> Entry:
    """A person who is new in the file. Raises HomeostatError where nobody can go by this name."""
    if not is_name(name) or name == SERVICE:
        raise HomeostatError(
            f"{name!r} is not a valid name.", "Use 1 to 100 printable characters, without spaces at either end."
        )
    return Entry(Person(name, role), digest, instant(at.replace(microsecond=0)))


@dataclass(slots=True)
class People:
    """An access file that is read again as soon as it changes. Safe to use from several threads."""

    file: Path
    _seen: tuple[tuple[int, int, int] | None, dict[str, Entry]] = field(default=(None, {}))

    def all(self) -> dict[str, Entry]:
        """Everybody, by name, as the file says now. Raises HomeostatError where it is unsound."""
        state = None
        with suppress(FileNotFoundError):
            stat = self.file.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        seen, people = self._seen
        if state != seen:
            people = read_people(self.file) if state else {}
            self._seen = (state, people)
        return people

    def by_token(self, token: str) -> Entry | None:
        """Whose token this is. Compares with everybody's in constant time."""
        digest, owner = digest_of(token), None
        for entry in self.all().values():
            if entry.digest is not None and hmac.compare_digest(entry.digest, digest):
                owner = entry
        return owner


def _entry(file: Path, name: str, given: Any) -> Entry:
    where = f"{file}: people.{name}"
    if not is_name(name) or name == SERVICE:
        raise HomeostatError(f"{where}: {name!r} is not a valid name.")
    if not isinstance(given, dict) or set(given) - KEYS or "role" not in given:
        raise HomeostatError(f"{where}: expected role, token_sha256 and created, and nothing else.")
    digest = given.get("token_sha256")
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise HomeostatError(f"{where}: token_sha256: expected 64 hexadecimal digits.")
    return Entry(Person(name, parse_role(given["role"], f"{where}: role")), digest, str(given.get("created", "")))


def _table(entry: Entry) -> str:
    lines = {"role": entry.person.role.name.lower(), "token_sha256": entry.digest, "created": entry.created}
    # What a person's name can hold reads the same in JSON and in TOML.
    kept = (f"{key} = {json.dumps(value)}\n" for key, value in lines.items() if value is not None)
    return f"\n[people.{json.dumps(entry.person.name, ensure_ascii=False)}]\n{''.join(kept)}"
