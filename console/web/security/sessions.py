"""What the console signs: the cookie of who signed in, and the token that shows a form came from its own page."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from homeostat.console.web.security.users import Entry
from homeostat.errors import HomeostatError

KEY_FILE = "console.key"
HOURS = 12
MOST_ENDED = 10_000
_NONCE = re.compile(r"[A-Za-z0-9_-]{32}")
_PROOF = 16
_TOKEN = re.compile(rf"[0-9a-f]{{{4 * _PROOF}}}")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in with which token (`proof` is the beginning of its digest), and when that `ends` (Unix seconds)."""

    name: str
    proof: str
    nonce: str
    ends: int

    def belongs_to(self, entry: Entry | None) -> bool:
        """Whether it was made with the token that this person has now."""
        return entry is not None and entry.digest is not None and hmac.compare_digest(self.proof, entry.digest[:16])


@dataclass(slots=True)
class Sessions:
    """Seals and opens sessions with a key; `tag` tells the cookies of several consoles of one host apart."""

    key: str = field(repr=False)
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict)

    @property
    def tag(self) -> str:
        return hashlib.sha256(b"tag" + self.key.encode()).hexdigest()[:8]

    def begin(self, entry: Entry, now: float) -> str:
        """A sealed session for somebody whose token was right."""
        assert entry.digest is not None
        content = [entry.person.name, entry.digest[:16], new_nonce(), int(now) + HOURS * 3600]
        return self._sealer().dumps(content)  # type: ignore[return-value]

    def open(self, text: str, now: float) -> Session | None:
        """What a sealed session says; None where it is forged, too old or was ended."""
        try:
            session = Session(*self._sealer().loads(text))
        except (BadData, TypeError):
            return None
        return session if session.ends > now and session.nonce not in self._ended else None

    def end(self, session: Session) -> None:
        """Let a session count no more, though its cookie may have been copied."""
        self._ended[session.nonce] = None
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    def csrf(self, name: str, nonce: str) -> str:
        """A token for forms of this person while their browser has this nonce; another one each time.

        It is masked, so that nothing can be read from how well a page with it can be compressed (https://breachattack.com).
        """
        mask, proof = secrets.token_bytes(_PROOF), self._proof(name, nonce)
        return (mask + _xor(mask, proof)).hex()

    def is_csrf(self, token: str, name: str, nonce: str) -> bool:
        """Whether a form's token is one of this person and browser."""
        if not _TOKEN.fullmatch(token):
            return False
        given = bytes.fromhex(token)
        return hmac.compare_digest(_xor(given[:_PROOF], given[_PROOF:]), self._proof(name, nonce))

    def _proof(self, name: str, nonce: str) -> bytes:
        return hmac.digest(self.key.encode(), f"csrf\0{name}\0{nonce}".encode(), "sha256")[:_PROOF]

    def _sealer(self) -> URLSafeSerializer:
        return URLSafeSerializer(
            self.key, salt="session", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )


def new_nonce() -> str:
    """Random letters that a browser keeps."""
    return secrets.token_urlsafe(24)


def is_nonce(text: str) -> bool:
    """Whether a browser's cookie looks like a nonce of ours."""
    return bool(_NONCE.fullmatch(text))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def read_key(root: Path) -> str:
    """The signing key of an installation, made on first use; only its owner can read it. Raises HomeostatError."""
    file = root / KEY_FILE
    try:
        root.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _make_key(file)
        file.chmod(0o600)
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise HomeostatError(f"{file}: cannot be read or written: {fault}.", "Check its permissions.") from None
    if not _KEY.fullmatch(key):
        raise HomeostatError(f"{file}: not a signing key.", "Delete it; everybody then has to sign in again.")
    return key


def _make_key(file: Path) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:  # noqa: PTH123
            out.write(secrets.token_hex(32) + "\n")
        # A link fails where the key is there already, so two consoles that start at once agree on one.
        os.link(part, file)
    finally:
        part.unlink(missing_ok=True)
