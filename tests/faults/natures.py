"""What a fault is to a caller, said without a look at the client: the oracle's own knowledge.

One attempt that meets the fault ends in one of these ways:

- harmless: with the complete answer;
- passing: without content; the same request may succeed later or elsewhere;
- local: without content; it would fail again here and need not elsewhere (credential, account, model);
- mistake: without content; the request is wrong wherever it goes;
- cold: without content; the machine comes up in a while, or not at all;
- break: after content; an error with what came, or a new start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from faults.cases import VIRTUAL, Pace, Shape
from hybrid_infer.calls.call import Mode
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ColdError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    StreamError,
    UnprocessableEntityError,
)
from hybrid_infer.simulator.faults import Fault

End = Literal["harmless", "passing", "local", "mistake", "cold", "break"]

_BY_STATUS: Mapping[int, type[APIError]] = MappingProxyType(
    {
        400: BadRequestError,
        401: AuthenticationError,
        402: PaymentRequiredError,
        403: PermissionDeniedError,
        404: NotFoundError,
        408: APIStatusError,
        422: UnprocessableEntityError,
        429: RateLimitError,
        503: OverloadedError,
    }
)
_LOCAL = (401, 402, 403, 404)
_MISTAKES = (400, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """One attempt that meets the fault.

    Attributes:
        end: see above.
        error: the class of what it raises; None where it is harmless.
        billed: whether the provider charges for it; None where nobody can know.
        takes: seconds it may take at most, the answer's own time left out.
        silent: it says nothing, or nothing that counts, until a time limit ends it.
        status: of the response that is told; None where none is.
        wait: seconds that the provider asks to stay away.
    """

    end: End
    error: type[APIError] | None = None
    billed: bool | None = None
    takes: float = 0.0
    silent: bool = False
    status: int | None = None
    wait: float = 0.0


_LOST = Nature(end="passing", error=APIConnectionError)
_BROKEN = Nature(end="break", error=StreamError, status=200)
_NO_ANSWER = Nature(end="passing", error=APIResponseError, status=200)
_EMPTY_STREAM = Nature(end="passing", error=StreamError)
_HARMLESS = Nature(end="harmless", billed=True, status=200)


def nature_of(fault: Fault, shape: Shape, mode: Mode, pace: Pace = VIRTUAL) -> Nature:
    """What the fault is to a request of this shape in this mode."""
    stream = shape != "unary"
    limit = pace.first_token if stream else pace.attempt
    silence = Nature(end="passing", error=APITimeoutError, takes=limit, silent=True)
    # Engines begin with an event that holds the role alone; 900 bytes are more than two events.
    before_it = 0 if mode.startswith("together") else 1
    after_content = (fault.bytes or 0) >= 900 or (fault.bytes is None and _events(fault) > before_it)
    match fault.kind:
        case "refuse":
            return replace(_LOST, billed=False)
        case "reset_before_headers":
            return replace(_LOST, takes=fault.value("seconds") / pace.speed)
        case "silence":
            return silence
        case "slow_first_token":
            return silence if fault.value("seconds") / pace.speed > limit else _HARMLESS
        case "drip":
            return silence if fault.value("seconds") > 0.01 else replace(_HARMLESS, takes=8.0 / pace.speed)
        case "stall":
            if not stream or not after_content:
                return silence
            return replace(_BROKEN, takes=pace.between_tokens)
        case "wrong_content_type":
            return _NO_ANSWER
        case "malformed_event":
            if stream:
                return _BROKEN if fault.variant == "damaged" else _HARMLESS
            return _NO_ANSWER
        case "error_event":
            if stream and after_content:
                return replace(_BROKEN, error=InternalServerError)
            error = OverloadedError if fault.code == "overloaded_error" else InternalServerError
            return Nature(end="passing", error=error, billed=False, status=200)
        case "reset_mid_body" | "truncate":
            if stream:
                return _BROKEN if after_content else _EMPTY_STREAM
            short = fault.kind == "truncate" and fault.variant != "broken"
            return _NO_ANSWER if short else replace(_LOST, status=None)
        case "cold":
            return _cold(fault, mode, pace)
        case "status" | "saturated" | "clock_skew":
            return _status(fault)


def _events(fault: Fault) -> int:
    events = fault.value("events")
    return events if isinstance(events, int) else 0


def _cold(fault: Fault, mode: Mode, pace: Pace) -> Nature:
    if fault.value("variant") == "redirect":
        seconds = fault.value("seconds") / pace.speed
        if seconds > pace.redirected:
            return Nature(end="passing", error=APITimeoutError, takes=pace.redirected, silent=True)
        return replace(_HARMLESS, takes=seconds)
    status = 503 if mode == "modal" else 400
    return Nature(end="cold", error=ColdError, billed=False, status=status)


def _status(fault: Fault) -> Nature:
    status: int = 429 if fault.kind == "saturated" else fault.value("status")
    end: End = "local" if status in _LOCAL else "mistake" if status in _MISTAKES else "passing"
    error = _BY_STATUS.get(status, InternalServerError)
    wait = fault.value("retry_after") or 0.0
    return Nature(end=end, error=error, billed=False, status=status, wait=wait)
