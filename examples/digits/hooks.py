"""Handwritten digits, one scan every quarter of an hour, and three people who say what they read.

The scans are the 1,797 that come with scikit-learn. Nobody gives the loop the true digits: only the simulated people
look at them, and each of them errs in her own share of the cases, the same ones in every run.
"""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
EVERY = timedelta(minutes=14, seconds=24)  # a hundred a day
ANNOTATORS = {"ann": 0.95, "ben": 0.80, "cho": 0.60}
ENLARGED = 8


def load_inputs(folder: Path, until: datetime | None = None) -> pl.DataFrame:
    """The scans that were made before `until`: id, at (UTC), p00 to p63 (ink, 0 to 16), image (PNG as a data URI)."""
    rows = _scans()
    return rows if until is None else rows.filter(pl.col("at") < until)


def annotate(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What Ann, Ben and Cho read on each scan: id, who, label. They are right in 95, 80 and 60 of 100 cases."""
    digits = _digits()[1]
    said = [
        {"id": key, "who": who, "label": str(_read(int(key), int(digits[int(key) - 1]), who, right))}
        for key in rows["id"].to_list()
        for who, right in ANNOTATORS.items()
    ]
    return pl.DataFrame(said, schema={"id": pl.String, "who": pl.String, "label": pl.String})


def _read(key: int, digit: int, who: str, right: float) -> int:
    """What a person reads: the digit, or in the rest of the cases one of the nine others."""
    mark = int.from_bytes(blake2b(f"{who}/{key}".encode(), digest_size=8).digest())
    if mark % 10_000 < 10_000 * right:
        return digit
    return (digit + 1 + mark // 10_000 % 9) % 10


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Ink (1797, 64) from 0 to 16, and the true digits (1797,)."""
    from sklearn.datasets import load_digits

    made: Any = load_digits()
    return made.data, made.target


@functools.cache
def _scans() -> pl.DataFrame:
    ink = _digits()[0]
    pixels = {f"p{place:02d}": ink[:, place] for place in range(ink.shape[1])}
    at = pl.Series([FIRST + number * EVERY for number in range(len(ink))], dtype=pl.Datetime("us", "UTC"))
    images = [_png(scan.reshape(8, 8)) for scan in ink]
    return pl.DataFrame({"id": range(1, len(ink) + 1), "at": at, **pixels, "image": images})


def _png(scan: np.ndarray) -> str:
    """A scan (8, 8) as a PNG data URI, dark ink on white, each pixel a square of `ENLARGED`."""
    grey = np.kron(255 - scan * 255 / 16, np.ones((ENLARGED, ENLARGED))).astype(np.uint8)
    height, width = grey.shape
    lines = b"".join(b"\0" + line.tobytes() for line in grey)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()
