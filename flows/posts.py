"""What other systems post: checked for its form at the door, held in the store, and taken into the lake by a batch.

A post belongs to one batch. The batch takes it in a transaction before it appends to the lake, so that a batch that is
killed and done again appends the same posts; and where a batch was killed before it had appended anything and another
comes first, that one takes its posts over. The lake's own transaction makes the append once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from homeostat.errors import HomeostatError
from homeostat.flows.facts import POSTS, TakingBatch
from homeostat.project import Project
from homeostat.records import Document, Post, PostKind

if TYPE_CHECKING:
    import polars as pl

    from homeostat.flows.loop import Loop

MOST_ROWS = 10_000
"""How many rows a post may have."""
MOST_BYTES = 10_000_000
"""How long the body of a post may be."""
KEPT_FOR = timedelta(days=30)
"""How long a post and an answer to an act are remembered: the same idempotency key means the same for as long."""
_TABLES = {PostKind.INPUTS: "inputs", PostKind.FEEDBACK: "feedback"}


class PostRefused(HomeostatError):
    """What was posted does not have the form of rows of this project."""


def check_rows(project: Project, kind: PostKind, rows: Any) -> tuple[Document, ...]:
    """What was posted as rows, or PostRefused, which names the row and the column.

    Only the form is looked at: a list of objects of single values, with the columns of the project. Whether a value is
    a sound one is decided by the stated rules, when a batch takes it in.
    """
    from homeostat.pipelines.data.posted import input_columns, label_columns

    if not isinstance(rows, list) or not rows:
        raise PostRefused("rows: expected a list of at least one object.", 'As in {"rows": [{"id": 1}]}.')
    if len(rows) > MOST_ROWS:
        raise PostRefused(f"rows: {len(rows):,} rows; a post has at most {MOST_ROWS:,}.", "Post them in parts.")
    needed, known = input_columns(project) if kind is PostKind.INPUTS else label_columns(project)
    for number, row in enumerate(rows):
        if mistake := _mistake(row, needed, known):
            raise PostRefused(f"rows[{number}]: {mistake}")
    return tuple(rows)


def _mistake(row: Any, needed: Sequence[str], known: Sequence[str]) -> str | None:
    if not isinstance(row, dict):
        return f"expected an object, not {_shown(row)}."
    for column in needed:
        if column not in row:
            return f"the column {column!r} is missing."
    for column, value in row.items():
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(known)}."
            return f"{column!r} is not a column of this project; {hint}"
        if not isinstance(value, str | int | float | bool | None):
            return f"{column}: {_shown(value)} is not a single value; expected text, a number, true, false or null."
        if isinstance(value, float) and not math.isfinite(value):
            return f"{column}: {value} is not a number that JSON knows."
        if isinstance(value, str) and not value.isascii() and not _is_text(value):
            return f"{column}: it holds half of a surrogate pair, which is not text."
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def digest_rows(kind: PostKind, rows: Sequence[Mapping[str, Any]]) -> str:
    """What tells one post's content from another's, whatever the order of the columns in a row."""
    text = json.dumps([kind.value, rows], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def take_posts(loop: Loop, kind: PostKind, at: datetime, batch: str, known_keys: pl.Series | None = None) -> list[Post]:
    """Give a batch what was posted up to `at`, and remember that it did; a replay is given nothing.

    With `known_keys` (feedback) rows of other keys wait for as long as a tick, since their inputs may be on their way.
    """
    if loop.replaying:
        return []
    waiting = [*_stalled(loop, kind, batch), *loop.store.list_posts(kind, at, batch)]
    young = at - loop.project.loop.tick
    parts = [_part(post, young, known_keys) for post in sorted(waiting, key=lambda post: (post.received_at, post.id))]
    taken = [now for now, _later in parts if now is not None]
    if taken:
        with loop.store.write("posts") as write:
            for now, later in parts:
                if now is not None and later is not None:
                    write.split_post(now, later)
            write.take_posts([post.id for post in taken], batch)
            write.put_fact(POSTS[kind], TakingBatch(batch))
    return taken


def _stalled(loop: Loop, kind: PostKind, batch: str) -> list[Post]:
    """The posts of the batch that took some last, where it was killed before it had appended anything."""
    last = loop.store.get_fact(POSTS[kind])
    if last is None or last.batch == batch or loop.lake.appended(_TABLES[kind], _TABLES[kind], last.batch):
        return []
    return loop.store.list_batch_posts(kind, last.batch)


def _part(post: Post, young: datetime, known_keys: pl.Series | None) -> tuple[Post | None, Post | None]:
    """What of a post to take now, and what is to wait; a post that waits whole stays as it is."""
    if known_keys is None or post.received_at <= young:
        return post, None
    key, known = known_keys.name, _known(post, known_keys)
    now = tuple(row for row, is_known in zip(post.rows, known, strict=True) if is_known or row[key] is None)
    later = tuple(row for row, is_known in zip(post.rows, known, strict=True) if not (is_known or row[key] is None))
    if not later:
        return post, None
    if not now:
        return None, post
    # No key of a poster holds a space, so this name is nobody's.
    name = f"{post.id.partition(' ')[0]} {digest_rows(post.kind, later)[:16]}"
    return replace(post, rows=now), replace(post, id=name, rows=later, batch=None)


def _known(post: Post, known_keys: pl.Series) -> list[bool]:
    import polars as pl

    from homeostat.pipelines.data.canonical import canonical_key
    from homeostat.pipelines.data.posted import frame_keys

    keys = canonical_key(frame_keys(post, known_keys.name), known_keys.dtype)
    return pl.Series(keys.is_in(known_keys.implode())).fill_null(False).to_list()
