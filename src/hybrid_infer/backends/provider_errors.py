"""From an error response to one error of our tree.

The body's code and type are asked before the status: a stopped machine at Together answers 400, exhausted
credit comes as 429 from some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TypeAlias

from hybrid_infer.backends.error_body import ErrorBody, read_error_body
from hybrid_infer.calls.reply import RawResponse
from hybrid_infer.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ColdError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    StreamingRequiredError,
    UnprocessableEntityError,
)

Redact: TypeAlias = Callable[[str], str]
Hints: TypeAlias = Mapping[str | type[APIStatusError], str]
"""What to do next, by error code or by error class; the code is asked first."""

BY_CODE: Mapping[str, type[APIStatusError]] = {
    # Together: recorded answers of 2024 to 2026 and docs (dedicated endpoints, rate limits), 2026-10.
    "model_not_available": NotFoundError,
    "dedicated_endpoint_not_running": ColdError,
    "endpoint_not_configured": ColdError,
    "routing_error": ColdError,
    "streaming_required": StreamingRequiredError,
    "model_rate_limit": RateLimitError,
    "dynamic_request_limited": RateLimitError,
    "dynamic_token_limited": RateLimitError,
    # OpenAI's codes, which compatible servers use too.
    "rate_limit_exceeded": RateLimitError,
    "insufficient_quota": PaymentRequiredError,
    "invalid_api_key": AuthenticationError,
    "model_not_found": NotFoundError,
    "context_length_exceeded": BadRequestError,
}
"""`credit_limit` is not here: Together sends it with 402 for billing and sent it with 429 for rate (2024)."""

BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: OverloadedError,
}

BY_KIND: Mapping[str, type[APIStatusError]] = {
    "invalid_request_error": BadRequestError,
    "badrequesterror": BadRequestError,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "not_found_error": NotFoundError,
    "notfounderror": NotFoundError,
    "rate_limit_error": RateLimitError,
    "server_error": InternalServerError,
    "internal_error": InternalServerError,
    "internal_server_error": InternalServerError,
    "internalservererror": InternalServerError,
    "overloaded_error": OverloadedError,
    "unavailable_error": OverloadedError,
    "service_unavailable": OverloadedError,
}
"""Broad types of OpenAI, vLLM and llama.cpp, for errors inside a success, where no status tells more."""

REQUEST_TIMEOUT = 408
_LONGEST_BODY = 2_000
_LONGEST_MESSAGE = 500
_LONGEST_WAIT = 86_400.0
"""Seconds. Some gateways write a moment since 1970 into `x-ratelimit-reset`; nobody asks to wait a day."""


def error_of(
    response: RawResponse, *, hints: Hints, redact: Redact, is_cold: Callable[[int, ErrorBody], bool]
) -> APIStatusError:
    """The error that a response is: one with an error status, or a success whose body is an error object.

    Args:
        hints: the provider's own words on what to do next.
        redact: takes credentials out of a text.
        is_cold: the provider's own way to say that the machine is not running, by status and body.
    """
    body = read_error_body(response.body)
    status = response.status
    kind = ColdError if is_cold(status, body) else _kind(status, body)
    code = next(iter(body.codes), None) or (None if body.number in (None, status) else str(body.number))
    message = body.message
    if message is None:
        message = f"the provider answered {_phrase(status)} and does not say why"
    if kind is RedirectError:
        message = f"the provider redirects to {response.header('location') or 'nowhere'}"
    hint = next((hints[name] for name in body.codes if name in hints), None)
    error = kind(
        shortened(redact(message), _LONGEST_MESSAGE),
        status=status,
        code=None if code is None else redact(code),
        request_id=response.request_id or body.id,
        body=redacted_body(response, redact),
        retry_after=_retry_after(response),
        hint=hint or next((hints[base] for base in kind.__mro__ if base in hints), None),
    )
    if status == REQUEST_TIMEOUT:
        error.retryable = True
    return error


def redacted_body(response: RawResponse, redact: Redact) -> str:
    """The beginning of a body as text, without credentials."""
    return shortened(redact(response.body[: 4 * _LONGEST_BODY].decode("utf-8", "replace")), _LONGEST_BODY)


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _kind(status: int, body: ErrorBody) -> type[APIStatusError]:
    known = next((BY_CODE[code] for code in body.codes if code in BY_CODE), None)
    if known is not None:
        return known
    if status < 300:
        if body.number is None:
            kinds = (BY_KIND.get(code.lower()) for code in body.codes)
            return next((kind for kind in kinds if kind is not None), APIStatusError)
        status = body.number
    if 300 <= status < 400:
        return RedirectError
    return BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after(response: RawResponse) -> float | None:
    """Seconds to wait, on 429 and 503 only: Together sends `retry-after` with successes too (recorded, 2025).

    A date is taken relative to the response's own date. Together's signal on 429 is `x-ratelimit-reset`
    in seconds (docs, 2026-10).
    """
    if response.status not in (429, 503):
        return None
    wait = _seconds(response.header("retry-after-ms"), scale=0.001)
    if wait is None:
        wait = _seconds(response.header("retry-after"))
    if wait is None:
        wait = _until(response.header("retry-after"), response.header("date"))
    if wait is None and response.status == 429:
        wait = _seconds(response.header("x-ratelimit-reset"))
        wait = None if wait is None or wait > _LONGEST_WAIT else wait
    return wait


def _seconds(text: str | None, scale: float = 1.0) -> float | None:
    try:
        seconds = float(text or "") * scale
    except ValueError:
        return None
    return seconds if isfinite(seconds) and seconds >= 0 else None


def _until(moment: str | None, now: str | None) -> float | None:
    if moment is None or now is None:
        return None
    try:
        return max(0.0, (parsedate_to_datetime(moment) - parsedate_to_datetime(now)).total_seconds())
    except (TypeError, ValueError):
        return None
