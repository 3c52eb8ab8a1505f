"""Redirects: followed within the origin, and never out of it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from hybrid_infer.transport.base import WireRequest, WireResponse, header

MOST_REDIRECTS = 20
"""Modal's web functions answer 303 every 150 s; 20 of them are about 50 minutes (Modal docs, 2026)."""

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PORTS = {"http": 80, "https": 443}


def followed(request: WireRequest, response: WireResponse) -> WireRequest | None:
    """The request that a redirect within the same origin asks for; None where there is none to follow.

    Another origin is never followed: the credentials belong to this one. 303 (and, as browsers do, 301 and
    302) turn into a GET (RFC 9110, 15.4).
    """
    location = header(response.headers, "location") if response.status in _REDIRECTS else None
    if location is None:
        return None
    base = f"{request.origin}{request.path}"
    there = urlsplit(urljoin(base, location))
    origin = request.origin
    try:
        port = there.port or _PORTS.get(there.scheme)
    except ValueError:
        return None
    if (there.scheme, there.hostname, port) != (origin.scheme, origin.host.lower(), origin.port):
        return None
    path = (there.path or "/") + (f"?{there.query}" if there.query else "")
    if response.status in (307, 308):
        return replace(request, path=path)
    headers = tuple(pair for pair in request.headers if pair[0] not in ("content-type", "content-length"))
    return replace(request, method="GET", path=path, headers=headers, body=b"")
