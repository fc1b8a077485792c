"""Where a request comes from: pure questions about hosts, origins, proxies and addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?")
_PORTS = {"http": "80", "https": "443"}


def split_host(text: str | None) -> tuple[str, str] | None:
    """Name and port (perhaps "") of a Host header; None where it is none.

    >>> split_host("[::1]:8321"), split_host("Example.org"), split_host("a b")
    (('::1', '8321'), ('example.org', ''), None)
    """
    match = _HOST.fullmatch(text or "")
    return ((match[1] or match[2]).lower().rstrip("."), match[3] or "") if match else None


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this host is reached from its own machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("db.example.org")
    (True, True, False, False)
    """
    address = parse_address(host)
    return address.is_loopback if address else host == "localhost"


def is_same_origin(origin: str, host: str | None, secure: bool | None) -> bool:
    """Whether an Origin header names the server that the Host header names; `null` and what cannot be read do not.

    `secure` is None where a proxy does not say whether the browser speaks HTTPS.

    >>> is_same_origin("http://localhost:8321", "localhost:8321", secure=False)
    True
    >>> is_same_origin("http://localhost:9000", "localhost:8321", secure=False)
    False
    """
    asked = split_host(host)
    scheme, _, rest = origin.partition("://")
    named = split_host(rest)
    if asked is None or named is None or scheme not in _PORTS:
        return False
    if secure is not None and scheme != ("https" if secure else "http"):
        return False
    port = _PORTS[scheme]
    return (named[0], named[1] or port) == (asked[0], asked[1] or port)


def parse_address(text: str | None) -> Address | None:
    """An IP address; one of IPv4 that came wrapped in IPv6 is unwrapped. None where it is none."""
    try:
        address = ipaddress.ip_address((text or "").strip().strip("[]"))
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks from addresses and CIDR, with commas or spaces between. Raises ValueError.

    >>> parse_networks("10.0.0.0/8, ::1")
    (IPv4Network('10.0.0.0/8'), IPv6Network('::1/128'))
    """
    return tuple(ipaddress.ip_network(part) for part in re.split(r"[,\s]+", text.strip()) if part)


def is_within(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether an address lies in one of the networks; an unknown one does not."""
    return address is not None and any(address in net for net in networks if net.version == address.version)


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Who is at the far end: the peer, or, where that is a trusted proxy, the last address it names that is none.

    `forwarded` are the values of X-Forwarded-For, first to last. Whole networks of /64 stand for an address of IPv6,
    because one household has that many.
    """
    address = parse_address(peer)
    if is_within(address, trusted):
        for text in reversed([part for value in forwarded for part in value.split(",")]):
            named = parse_address(text)
            if named is None:
                break
            address = named
            if not is_within(address, trusted):
                break
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or "unknown")


def safe_next(text: str | None) -> str:
    """A path of this very site to go on to; the overview where the text is anything else.

    >>> safe_next("/projects/a/label?x=1"), safe_next("https://evil.example"), safe_next("//evil.example")
    ('/projects/a/label?x=1', '/', '/')
    """
    if not text or not re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", text):
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc or parts.path in {"/login", "/logout"} else text
