"""Acts of other systems, each done once however often it is asked for with the same `Idempotency-Key`.

What is asked is noted before it is done, with the time that it counts from, and what was answered after it. Where the
process ends between the two, the same request does it again as of the same time, by which all that the act keeps is
named, so that it is kept once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from fastapi import HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from homeostat.console.web.api.idempotency import key_of
from homeostat.console.web.errors import status_of
from homeostat.console.web.security.dependencies import Person
from homeostat.errors import HomeostatError
from homeostat.flows.loop import Loop
from homeostat.records import Reply

Act = Callable[[datetime, bool], BaseModel]
"""Does it as of a time, and gives what to answer; the flag says that it may have been done as of that time before."""
_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)


def once(request: Request, loop: Loop, person: Person, asked: BaseModel, act: Act, status: int = 200) -> JSONResponse:
    """Do what is asked, or give the answer that was given to the same key and request before.

    Raises HTTPException 422 where the key came with another request.
    """
    key, now = key_of(request), request.app.state.site.clock()
    if key is None:
        return JSONResponse(_plain(act(now, False)), status)
    digest = _digest(request, person, asked)
    with _locks[loop.store.owner]:
        with loop.store.write("reply") as write:
            before = write.begin_reply(Reply(key, digest, now, person.name))
        if before is not None and before.digest != digest:
            raise HTTPException(422, f"the Idempotency-Key {key!r} was used for another request. Use a new one.")
        if before is not None and before.status is not None:
            return JSONResponse((before.body or {}).get("answer"), before.status)
        answer = _done(act, before.at if before else now, before is not None, status)
        with loop.store.write("reply") as write:
            write.put_reply(key, answer[0], {"answer": answer[1]})
    return JSONResponse(answer[1], answer[0])


def _done(act: Act, at: datetime, again: bool, status: int) -> tuple[int, object]:
    """The answer; a refusal is one, what may be otherwise the next time is not."""
    try:
        return status, _plain(act(at, again))
    except HTTPException as fault:
        if fault.status_code >= 500:
            raise
        return fault.status_code, {"detail": fault.detail}
    except HomeostatError as fault:
        if status_of(fault) >= 500:
            raise
        return status_of(fault), {"detail": str(fault)}


def _plain(answer: BaseModel) -> object:
    return jsonable_encoder(answer.model_dump())


def _digest(request: Request, person: Person, asked: BaseModel) -> str:
    parts = [request.method, request.url.path, person.name, jsonable_encoder(asked)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
