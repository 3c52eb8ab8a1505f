"""What `modal` raises, in words that are no library's. Where an error came up tells what it can mean."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Final

from hybrid_infer.transport.functions import Cause, FunctionFailure, Stage

# Names of `modal.exception`, most special first; its `TimeoutError` and `ConnectionError` are not Python's.
_CAUSES: Final[tuple[tuple[str, Cause], ...]] = (
    ("AuthError", "authentication"),
    ("PermissionDeniedError", "permission"),
    ("NotFoundError", "not_found"),
    ("ConflictError", "conflict"),
    ("InvalidError", "invalid"),
    ("AlreadyExistsError", "conflict"),
    ("ResourceExhaustedError", "exhausted"),
    ("ServiceError", "unavailable"),
    ("ConnectionError", "connection"),
    ("InternalFailure", "lost"),
    ("InternalError", "internal"),
    ("DataLossError", "internal"),
    ("UnimplementedError", "invalid"),
    ("RequestSizeError", "argument"),
    ("SerializationError", "argument"),
    ("DeserializationError", "result"),
    ("ExecutionError", "result"),
    ("FunctionTimeoutError", "timeout"),
    ("OutputExpiredError", "expired"),
    ("RemoteError", "crashed"),
    ("ClientClosed", "closed"),
)


def failure_of(
    error: BaseException,
    *,
    modal: Any,
    stage: Stage,
    redact: Callable[[str], str],
    call_id: str | None = None,
) -> FunctionFailure:
    """The failure that an exception is.

    `modal` raises what the function raised as it is, so while its result is waited for, whatever is not
    `modal`'s own comes from the function; before that it comes from this process.
    """
    if isinstance(error, modal.exception.Error):
        message = redact(str(error)) or type(error).__name__
        return FunctionFailure(message, cause=_cause(error, modal), stage=stage, call_id=call_id)
    unsent = isinstance(error, TypeError | ValueError | AttributeError | pickle.PickleError)
    if unsent and (stage == "send" or (call_id is None and "pickle" in str(error).lower())):
        return FunctionFailure(redact(str(error)), cause="argument", stage="send")
    if stage == "wait":
        message = redact(str(error))
        return FunctionFailure(message, cause="remote", stage=stage, remote=error, call_id=call_id)
    message = redact(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return FunctionFailure(message, cause="connection", stage=stage, call_id=call_id)


def _cause(error: BaseException, modal: Any) -> Cause:
    cause: Cause = "internal"
    for name, known in _CAUSES:
        if isinstance(error, getattr(modal.exception, name, ())):
            cause = known
            break
    if cause == "invalid":
        # There is no other public sign of it (modal 1.6.4: `spawn`, `remote_gen`).
        said = str(error).lower()
        if "non-generator" in said:
            return "not_generator"
        if "generator" in said:
            return "generator"
    return cause
