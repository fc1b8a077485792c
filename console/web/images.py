"""Pictures that a labeling task shows: read from the project's folder or from the row itself, and nothing else."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp", "BMP": "image/bmp"}
LARGEST = 20_000_000


def read_picture(value: object, folder: Path) -> tuple[bytes, str] | None:
    """The bytes of a picture and their content type; None where it is none that is safe to show.

    `value` is a data URI or a path inside `folder`, links resolved. The type is what the bytes are, whatever the name
    says; a drawing that can hold a script (SVG) is none of `KINDS`.
    """
    from PIL import Image, UnidentifiedImageError

    held = _bytes_of(str(value or ""), folder)
    if held is None:
        return None
    try:
        with Image.open(BytesIO(held)) as opened:
            kind = KINDS.get(opened.format or "")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    return (held, kind) if kind else None


def is_elsewhere(value: object) -> bool:
    """Whether a picture lies at an address of the web: it is linked to, never fetched."""
    return str(value or "").startswith(("https://", "http://"))


def _bytes_of(text: str, folder: Path) -> bytes | None:
    if text.startswith("data:"):
        head, _, body = text.partition(",")
        if not head.endswith(";base64") or len(body) > 2 * LARGEST:
            return None
        try:
            return base64.b64decode(body, validate=True)
        except ValueError:
            return None
    if not text or "://" in text or "\0" in text:
        return None
    root = folder.resolve()
    try:
        file = (root / text).resolve()
        inside = file.is_relative_to(root) and file.is_file() and file.stat().st_size <= LARGEST
        return file.read_bytes() if inside and ".homeostat" not in file.relative_to(root).parts else None
    except OSError:
        return None
