"""From the failure of a Modal function to one error of our tree. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hybrid_infer.backends.provider_errors import shortened
from hybrid_infer.calls.functions import FunctionName
from hybrid_infer.errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DeadlineExceededError,
    FunctionCrashedError,
    FunctionTimeoutError,
    HybridInferError,
    InternalServerError,
    InvalidCallError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RemoteFunctionError,
    Verdict,
)
from hybrid_infer.transport.functions import Cause, FunctionFailure

_LONGEST_MESSAGE = 500

_KINDS: Final[Mapping[Cause, type[APIError]]] = {
    "connection": APIConnectionError,
    "authentication": AuthenticationError,
    "permission": PermissionDeniedError,
    "not_found": NotFoundError,
    "invalid": BadRequestError,
    "conflict": ConflictError,
    "exhausted": RateLimitError,
    "unavailable": InternalServerError,
    "internal": InternalServerError,
    "result": APIResponseError,
    "expired": NotFoundError,
    "remote": RemoteFunctionError,
    "timeout": FunctionTimeoutError,
    "lost": InternalServerError,
    "crashed": FunctionCrashedError,
    "closed": APIConnectionError,
}

_HINTS: Final[Mapping[Cause, str]] = {
    "connection": "check the network, and MODAL_SERVER_URL if it is set",
    "authentication": "set MODAL_TOKEN_ID (ak-…) and MODAL_TOKEN_SECRET (as-…) to an account token, made "
    "with `modal token new`; a proxy token (wk-…, ws-…) is for HTTP and is not one",
    "permission": "let the token's user or service user call functions in this Modal environment",
    "not_found": "deploy the app with `modal deploy`, or check the names and the Modal environment "
    "(MODAL_ENVIRONMENT)",
    "invalid": "check the call against the function's own signature",
    "exhausted": "send fewer calls at a time: the function's queue is full, or the workspace's rate used up",
    "result": "import here what the function returns, with the versions it uses there",
    "expired": "Modal keeps results for some days only: call the function anew",
    "remote": "the original exception is in error.remote",
    "timeout": "raise the function's own timeout= and deploy it again, or give it less to do",
    "lost": "its worker went away (preempted or failed); calling it again starts on another one",
    "crashed": "see its logs with `modal app logs`",
}


class FunctionErrors:
    """The errors of a target that is a Modal function, or several of one account."""

    def error(self, failure: FunctionFailure, name: FunctionName | None) -> HybridInferError:
        """The error that a failure is.

        Args:
            name: of the function; None where only the id of a call is known.

        Returns:
            InvalidCallError: the call itself is wrong; nothing was sent.
            APIError: anything else; what was billed is told by how far the call had come.
        """
        what = failure.call_id or "the function" if name is None else str(name)
        said = shortened(str(failure), _LONGEST_MESSAGE)
        cause = failure.cause
        if cause == "generator":
            return InvalidCallError(
                f"{what} is a generator: read it with functions.stream(…), not functions.call(…)"
            )
        if cause == "not_generator":
            return InvalidCallError(
                f"{what} is no generator: call it with functions.call(…), not functions.stream(…)"
            )
        if cause == "argument":
            return InvalidCallError(f"{what}: an argument cannot be sent: {said}")
        error = _KINDS[cause](
            _message(failure, said),
            hint=_HINTS.get(cause),
            code=None if cause in ("remote", "connection", "closed") else f"modal_{cause}",
            request_id=failure.call_id,
            billed=_billed(failure),
        )
        if isinstance(error, RemoteFunctionError) and failure.remote is not None:
            kind = type(failure.remote)
            error.remote = error.__cause__ = failure.remote
            error.remote_type = f"{kind.__module__}.{kind.__qualname__}"
        elif cause == "result":
            error.retryable = False
        return error

    def verdict(self, outcome: APIError | None) -> Verdict:
        """What an outcome means; see `Verdict`."""
        if outcome is None:
            return "success"
        if isinstance(outcome, DeadlineExceededError):
            return "retry" if outcome.silent else "ignore"
        if isinstance(outcome, APIResponseError) and not outcome.retryable:
            return "fail"
        return outcome.verdict


def _message(failure: FunctionFailure, said: str) -> str:
    """What happened; the function's name stands before it, as the place where it did."""
    if failure.cause == "remote":
        kind = type(failure.remote).__name__
        return f"the function raised {kind}: {said}" if said else f"the function raised {kind}"
    if failure.cause == "connection" and failure.stage == "connect":
        return f"cannot connect to Modal: {said}"
    if failure.cause == "result":
        return f"what the function returned cannot be read here: {said}"
    return said


def _billed(failure: FunctionFailure) -> bool | None:
    """Whether machine time was used, as far as anybody can know."""
    if failure.cause in ("remote", "timeout", "crashed", "result"):
        return True
    if failure.cause in (
        "authentication",
        "permission",
        "not_found",
        "invalid",
        "conflict",
        "exhausted",
        "closed",
    ):
        return False
    return None if failure.stage in ("send", "wait") else False
