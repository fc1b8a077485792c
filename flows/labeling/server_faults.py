"""What a labeling server's faults mean: whether they may pass by themselves, and each in one line for a person."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from homeostat.flows.labeling.exchange import BackendError

PASSING = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 30.0
LATER = "Nothing is lost: what was not sent or fetched is tried again with the next tick."


def may_pass(fault: Exception) -> bool:
    """Whether the same call may succeed a little later: the network failed, or the server is busy or broken."""
    import httpx

    return isinstance(fault, httpx.TransportError) or getattr(fault, "status_code", None) in PASSING


def asked_wait(fault: Exception) -> float:
    """How many seconds the server asks to wait before the next try; 0 where it does not ask."""
    headers = {name.lower(): value for name, value in (getattr(fault, "headers", None) or {}).items()}
    try:
        return min(float(headers.get("retry-after", 0)), LONGEST_WAIT)
    except ValueError:
        return 0.0


def describe_fault(fault: Exception, url: str, title: str, doing: str, key: str) -> BackendError:
    """A fault in one line for a person; `key` is the variable that holds the API key."""
    import httpx

    server, status = f"Label Studio at {url}", getattr(fault, "status_code", None)
    if isinstance(fault, httpx.TimeoutException):
        return BackendError(f"{server} did not answer in time while {doing}.", LATER)
    if isinstance(fault, httpx.TransportError):
        return BackendError(f"{server} cannot be reached, or hung up, while {doing}.", f"See that it runs. {LATER}")
    if status == 401:
        return BackendError(
            f"{server} does not know the key in {key} (401).", "Set it to the token of an account there."
        )
    if status == 403:
        hint = f"Give the account of {key} access to the project {title!r}."
        return BackendError(f"{server} refuses this account while {doing} (403).", hint)
    if status == 404:
        return BackendError(f"{server}: what was asked for is not there, while {doing} (404).", "Was it deleted there?")
    if status is None or status < 400:
        return BackendError(f"{server} gave no answer of Label Studio while {doing}.", "See what address that is.")
    hint = LATER if status in PASSING else "See the server's log."
    return BackendError(f"{server} answered {status} while {doing}{_detail(fault)}.", hint)


def without_secrets(url: str) -> str:
    """An address as it may be shown: without the name and the password that it may carry."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, place + (f":{parts.port}" if parts.port else ""), parts.path.rstrip("/"), "", ""))


def _detail(fault: Exception) -> str:
    body = getattr(fault, "body", None)
    detail = body.get("validation_errors") or body.get("detail") if isinstance(body, dict) else None
    return f": {' '.join(str(detail).split())[:200]}".rstrip(".") if detail else ""
