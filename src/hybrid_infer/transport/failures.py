"""What went wrong on the way, in plain words. The same words whichever library carried the request."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import cast

from hybrid_infer.transport.base import Origin, TransportError, TransportTimeout
from hybrid_infer.transport.environment import Proxy

_UNKNOWN_ISSUER = frozenset((18, 19, 20, 21))
"""X509_V_ERR codes of a chain that ends in nothing trusted (OpenSSL 3, x509_vfy.h)."""

_ENDED = ("disconnected without", "without sending complete", "not enough data", "is not completed")
"""How h11 and aiohttp say that the connection ended too early."""


def not_connected(cause: BaseException, origin: Origin, proxy: Proxy | None) -> TransportError:
    """Name, connection or TLS failed; `cause` may hide the error that says so among its own causes."""
    for error in _chain(cause):
        if isinstance(error, ssl.SSLError):
            return _tls_failed(error, origin)
        if isinstance(error, socket.gaierror):
            return not_resolved(error, origin, proxy)
    reason = _system_reason(cause) or _words(cause)
    if proxy is None:
        hint = "check the address, and that the server is up"
        return TransportError(f"cannot connect to {place(origin)}: {reason}", sent=False, hint=hint)
    return TransportError(f"cannot connect to the proxy {proxy}: {reason}", sent=False, hint=_see(proxy))


def not_secured(cause: OSError, origin: Origin) -> TransportError:
    """The TLS handshake failed."""
    if isinstance(cause, ssl.SSLError):
        return _tls_failed(cause, origin)
    reason = _system_reason(cause) or _words(cause)
    hint = "check that the address is one for https"
    return TransportError(f"TLS handshake with {place(origin)} failed: {reason}", sent=False, hint=hint)


def not_resolved(cause: BaseException, origin: Origin, proxy: Proxy | None) -> TransportError:
    reason = _lower(getattr(cause, "strerror", None) or str(cause))
    if proxy is None:
        return TransportError(f"cannot resolve {origin.host}: {reason}", sent=False, hint="check the address")
    return TransportError(
        f"cannot resolve {proxy.host} of the proxy {proxy}: {reason}", sent=False, hint=_see(proxy)
    )


def proxy_refused(proxy: Proxy, answer: str) -> TransportError:
    """The proxy is there and will not pass the request on; `answer` is what it said."""
    return TransportError(f"proxy {proxy} refused: {answer}", sent=False, hint=_see(proxy))


def slow_to_connect(origin: Origin, proxy: Proxy | None, seconds: float) -> TransportTimeout:
    """The connect timeout passed."""
    through = f" through the proxy {proxy}" if proxy is not None else ""
    return TransportTimeout(
        f"no connection to {place(origin)}{through} within {seconds:g} s", sent=False, connecting=True
    )


def out_of_time(*, sent: bool) -> TransportTimeout:
    """`until` passed."""
    doing = "for the server" if sent else "for a connection"
    return TransportTimeout(f"the time ran out while waiting {doing}", sent=sent)


def lost(cause: BaseException | None, *, answering: bool) -> TransportError:
    """The connection went away after the request may have gone out; `answering`: the head had come."""
    when = "before the answer was complete" if answering else "before it answered"
    reason = _system_reason(cause)
    return TransportError(
        f"the server closed the connection {when}" + (f": {reason}" if reason else ""), sent=True
    )


def broken(reason: str, *, answering: bool) -> TransportError:
    """What came is not a whole HTTP response; `reason` in the words of the library that read it."""
    if any(words in reason.lower() for words in _ENDED):
        return lost(None, answering=answering)
    return TransportError(f"the answer is not valid HTTP: {_lower(reason)}", sent=True)


def bad_request(cause: BaseException) -> TransportError:
    """The request cannot be written as HTTP. What is wrong with it is wiped: it may be a credential."""
    for error in _chain(cause):
        error.args = ()
    return TransportError("a header of the request holds characters that HTTP does not allow", sent=False)


def closed(*, sent: bool) -> TransportError:
    """The response, or the whole transport, was closed from this side."""
    return TransportError("the connection was closed from this side", sent=sent)


def place(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return f"{host}:{origin.port}"


def _tls_failed(error: ssl.SSLError, origin: Origin) -> TransportError:
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = None
        if error.verify_code in _UNKNOWN_ISSUER:
            hint = "set SSL_CERT_FILE to a file with the certificate of who signed it"
        reason = _lower(error.verify_message.rstrip("."))
        return TransportError(f"certificate not trusted: {reason} ({place(origin)})", sent=False, hint=hint)
    hint = None
    if isinstance(error, ssl.SSLEOFError):
        reason = "the server closed the connection"
    else:
        reason = (error.reason or "unknown reason").lower().replace("_", " ")
        if error.reason == "WRONG_VERSION_NUMBER":
            hint = "the server seems to speak plain HTTP: use http:// in the address"
    return TransportError(f"TLS handshake with {place(origin)} failed: {reason}", sent=False, hint=hint)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it groups, and what it came from."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
                yield from _chain(member)
        error = error.__cause__ or error.__context__


def _system_reason(error: BaseException | None) -> str:
    """What the operating system says of it, or nothing."""
    for one in _chain(error):
        if isinstance(one, OSError) and isinstance(one.errno, int) and one.errno > 0:
            return _lower(os.strerror(one.errno))
    return ""


def _words(error: BaseException) -> str:
    return _lower(str(error)) or type(error).__name__


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _see(proxy: Proxy) -> str:
    return f"check {proxy.variable}, or list the host in NO_PROXY"
