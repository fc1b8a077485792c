"""Findings of checks, and running checks side by side, none of them for longer than it may take."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from homeostat.errors import HomeostatError

State = Literal["ok", "warning", "problem"]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, as a `message`; `advice` says what to do about it, and is empty where that is nothing."""

    name: str
    state: State
    message: str
    advice: str = ""


Check = Callable[[], Sequence[Finding]]


def run_checks(checks: Mapping[str, Check], seconds: float) -> list[Finding]:
    """Run checks side by side; their findings in the order of the checks.

    One that has not ended after so many seconds is left behind with a warning, and one that fails is a problem.
    """
    done: queue.SimpleQueue[tuple[str, Sequence[Finding]]] = queue.SimpleQueue()
    for name, check in checks.items():
        threading.Thread(target=lambda n=name, c=check: done.put((n, _run(n, c))), daemon=True).start()
    results: dict[str, Sequence[Finding]] = {}
    deadline = time.monotonic() + seconds
    while len(results) < len(checks):
        try:
            name, findings = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        results[name] = findings
    late = f"no answer within {seconds:.0f} s"
    return [f for name in checks for f in results.get(name, [Finding(name, "warning", late, "Look at it by hand.")])]


def _run(name: str, check: Check) -> Sequence[Finding]:
    try:
        return check()
    except HomeostatError as fault:
        return [Finding(name, "problem", fault.message, fault.hint or "")]
    except Exception as fault:
        reason = (str(fault).strip().splitlines() or ["no reason given"])[0][:200]
        return [Finding(name, "problem", f"it could not be checked: {type(fault).__name__}: {reason}")]
