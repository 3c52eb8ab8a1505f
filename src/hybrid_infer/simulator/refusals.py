"""What a fault puts in front of a provider: errors in the provider's own shape, silence, resets. Pure."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator import engine_wire, together_wire
from hybrid_infer.simulator.exchange import Headers, Response
from hybrid_infer.simulator.faults import Fault, Hint

RESULT = "__modal_function_call_id"
"""The parameter that names the result of a request which was redirected. Modal calls its own so (2026)."""

_HTML: Headers = (("content-type", "text/html; charset=utf-8"), ("x-simulated", "hybrid-infer"))
_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"

_TOGETHER_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_ENGINE_KINDS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}


def refusal(fault: Fault, *, mode: Mode, model: str | None, id: str, wall: datetime) -> Response:
    """The response of a fault in front of the provider; a redirect is made elsewhere.

    Args:
        id: of the request, as the provider gives it.
        wall: the time of day.
    """
    kind = fault.kind
    if kind == "refuse":
        return Response(status=0, headers=(), pieces=(), ending="refused")
    if kind == "reset_before_headers":
        return Response(status=0, headers=(), pieces=(), gaps=(fault.value("seconds"),), ending="reset")
    if kind == "silence":
        return Response(status=0, headers=(), pieces=(), ending="silent")
    if kind == "wrong_content_type":
        return Response(status=200, headers=_HTML, pieces=((0, (fault.value("body") or _PAGE).encode()),))
    if kind == "cold":
        return _cold(mode, model, id)
    if kind == "saturated":
        return _saturated(fault, mode, model, id, wall)
    if kind == "clock_skew":
        theirs = wall + timedelta(seconds=fault.value("seconds"))
        return _error(fault, mode, id, _hints(fault.value("retry_after"), "retry-after-date", theirs))
    hints = _hints(fault.value("retry_after"), fault.value("hint"), wall)
    return _error(fault, mode, id, (*hints, *_own_headers(fault)))


def redirect(id: str, seconds: float) -> Response:
    """303 after some seconds, to where the result will be: so does Modal after 150 s (docs, 2026-10)."""
    headers: Headers = (("location", f"?{RESULT}={id}"), ("x-simulated", "hybrid-infer"))
    return Response(status=303, headers=headers, pieces=((0, b""),), gaps=(seconds,))


def http_date(moment: datetime) -> str:
    """A time of day as HTTP writes it, in whole seconds."""
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def _cold(mode: Mode, model: str | None, id: str) -> Response:
    if mode == "modal":
        return engine_wire.text(503, "modal-http: no container is ready")
    if mode == "openai-compatible":  # llama.cpp's server, while it loads (source, 2026)
        return engine_wire.error(503, "unavailable_error", "Loading model")
    message = f"The dedicated endpoint for {model} is not running."
    return together_wire.error(400, message, id=id, code="dedicated_endpoint_not_running")


def _saturated(fault: Fault, mode: Mode, model: str | None, id: str, wall: datetime) -> Response:
    headers = (*_hints(fault.value("retry_after"), fault.value("hint"), wall), *_own_headers(fault))
    said, code = fault.value("message"), fault.value("code")
    if mode == "modal" and code is None:
        plain = engine_wire.text(429, said or "modal-http: every container has all the requests it takes")
        return Response(status=429, headers=(*plain.headers, *headers), pieces=plain.pieces)
    if mode in ("modal", "openai-compatible"):
        busy = engine_wire.error(429, code or "RateLimitError", said or "The engine has no room.")
        return Response(status=429, headers=(*busy.headers, *headers), pieces=busy.pieces)
    said = said or f"You have reached the dynamic rate limit of {model}."
    return together_wire.error(
        429, said, id=id, code=code, kind="dynamic_request_limited", headers=(("x-request-id", id), *headers)
    )


def _error(fault: Fault, mode: Mode, id: str, headers: Headers) -> Response:
    status: int = fault.value("status")
    code, body = fault.value("code"), fault.value("body")
    if body is not None:
        return Response(status=status, headers=(*_kind_of(body), *headers), pieces=((0, body.encode()),))
    said = fault.value("message") or f"{_phrase(status)} (simulated)."
    if mode.startswith("together"):
        code = code or _TOGETHER_CODES.get(status)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return together_wire.error(
            status, said, id=id, code=code, kind=kind, headers=(("x-request-id", id), *headers)
        )
    kind = code or _ENGINE_KINDS.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    made = engine_wire.error(status, kind, said)
    return Response(status=status, headers=(*made.headers, *headers), pieces=made.pieces)


def _hints(seconds: float | None, hint: Hint, wall: datetime) -> Headers:
    """How the error says when to come again. A date stands beside the date of the answer."""
    if seconds is None:
        return ()
    if hint == "retry-after":
        return (("retry-after", f"{seconds:g}"),)
    if hint == "retry-after-ms":
        return (("retry-after-ms", f"{1000 * seconds:g}"),)
    if hint == "x-ratelimit-reset":
        return (("x-ratelimit-reset", f"{seconds:g}"),)
    later = wall.replace(microsecond=0) + timedelta(seconds=math.ceil(seconds))
    return (("date", http_date(wall)), ("retry-after", http_date(later)))


def _own_headers(fault: Fault) -> Headers:
    return tuple((name.lower(), value) for name, value in (fault.headers or {}).items())


def _kind_of(body: str) -> Headers:
    start = body.lstrip()[:1]
    return _HTML if start == "<" else engine_wire.JSON if start in ("{", "[") else engine_wire.TEXT


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"
