"""The error tree. Everything the package raises is in it; nothing of a library underneath gets out.

    HybridInferError
    ├── ConfigurationError            a setting is wrong, missing or misspelt (all of them at once)
    ├── UsageError                    the client is used in a way it cannot serve
    │   ├── ClientClosedError         a call after close()
    │   ├── EventLoopError            one AsyncClient in two live event loops
    │   └── ForeignAwaitError         something in the blocking client awaited what only a loop can run
    ├── InvalidCallError              this call's own arguments are wrong; nothing was sent
    │   ├── UnsupportedOperationError the mode does not offer the operation; says which modes do
    │   └── UploadError               a file changed or vanished before all of it was sent
    ├── EndpointError                 a machine is not where it was wanted; its branch: `endpoints.errors`
    └── APIError                      a call went out (or tried to) and did not end well
        ├── RefusedError              this client did not send it; nothing was billed
        │   ├── SaturatedError        the target's limits leave no room in time
        │   ├── CircuitOpenError      the target failed lately, and is left alone for a while
        │   ├── BudgetExceededError   a budget has no room for it
        │   └── NotAllowedError       the call may not go there
        ├── APIConnectionError        no answer: name, connection, proxy, TLS, or lost underway
        │   ├── APITimeoutError       one attempt took too long
        │   └── DeadlineExceededError the call's own deadline passed
        ├── APIStatusError            the provider answered with an error
        │   ├── BadRequestError 400   ├── AuthenticationError 401    ├── PaymentRequiredError 402
        │   ├── PermissionDeniedError 403   ├── NotFoundError 404    ├── ConflictError 409
        │   ├── UnprocessableEntityError 422   ├── RateLimitError 429
        │   ├── InternalServerError 5xx   └── OverloadedError 503
        │   ├── ColdError             the machine behind the address is not running (yet)
        │   ├── StreamingRequiredError the model answers streams only
        │   └── RedirectError         sent elsewhere, where the credentials must not go
        ├── FunctionError             a Modal function was called, and did not return
        │   ├── RemoteFunctionError   its own code raised; `remote` is that exception
        │   ├── FunctionTimeoutError  it ran longer than its own `timeout=` on Modal
        │   └── FunctionCrashedError  its container could not start, ran out of memory or was stopped
        ├── APIResponseError          status 200, yet not an answer: HTML, broken JSON, wrong shape
        ├── StreamError               a stream that began did not end well; holds the partial answer
        └── AnswerFormatError         an answer, yet not in the `response_format` that was asked for

Class names follow the `openai` and `together` packages where they have one, so `except` clauses move
with the import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Verdict = Literal["success", "retry", "cold", "saturated", "fail", "ignore"]
"""What an outcome means, to all who ask:

- success: an answer, to its end;
- retry: it failed, and may succeed when it is repeated, or elsewhere;
- cold: the machine is not running (yet);
- saturated: there is no room at the moment;
- fail: it would fail again: the request, the credential or the account is at fault;
- ignore: it says nothing about the target: a refusal of this client, the caller's own deadline.
"""


class HybridInferError(Exception):
    """Root of everything this package raises."""


class ConfigurationError(HybridInferError):
    """One or more settings are wrong. `problems` holds a sentence for each, as the user wrote them."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        lines = self.problems
        super().__init__(
            lines[0]
            if len(lines) == 1
            else "\n".join(["several settings are wrong:", *(f"  - {p}" for p in lines)])
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class UsageError(HybridInferError):
    """The client is used in a way it cannot serve."""


class ClientClosedError(UsageError):
    """The client was closed before this call."""


class EventLoopError(UsageError):
    """An AsyncClient belongs to one live event loop at a time."""


class ForeignAwaitError(UsageError):
    """The blocking client met an `await` that needs an event loop."""


class InvalidCallError(HybridInferError):
    """The arguments of this call are wrong. Nothing was sent, nothing was billed."""


class UnsupportedOperationError(InvalidCallError):
    """The mode does not offer this operation."""


class UploadError(InvalidCallError):
    """A file of the call could not be read as it was when it was given.

    The request was broken off, so the provider never had the whole of it and has nothing to bill.
    """


class APIError(HybridInferError):
    """A call that went out, or tried to, and did not end well.

    Attributes:
        retryable: whether the same call may succeed later.
        billed: whether the provider charges for it; None where nobody can know.
        status: HTTP status, None where there was no response.
        code: the provider's own code or type, e.g. ``"model_not_available"``.
        request_id: the provider's id of the request.
        where: mode and host, e.g. ``"modal (acme--llm.us-east.modal.direct)"``.
        target: the name of the target, e.g. ``"modal/llm"``; None where there was none yet.
        verdict: what the outcome means to the layers that ask (see `Verdict`), in the eyes of the backend.
        silent: the target said nothing at all until a time limit passed.
        hint: what to do next.
        body: what the provider sent, as text, shortened and free of credentials.
        retry_after: seconds the provider asked to wait, where it did.
        partial: what had been received of the answer, where there was some.
        hybrid: what is known of the call (attempts, cost, mode), filled in when it reaches the caller.
    """

    retryable: bool = False
    billed: bool | None = False
    verdict: Verdict = "fail"
    silent: bool = False
    default_hint: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: str | None = None,
        retry_after: float | None = None,
        partial: Any = None,
        retryable: bool | None = None,
        billed: bool | str | None = "default",
    ) -> None:
        self.message = message
        self.where = where
        self.hint = hint or self.default_hint
        self.status = status
        self.code = code
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after
        self.partial = partial
        self.target: str | None = None
        self.hybrid: Any = None
        if retryable is not None:
            self.retryable = retryable
        if not isinstance(billed, str):
            self.billed = billed
        super().__init__(message)

    @property
    def status_code(self) -> int | None:
        """`status`, under the name that the `openai` and `together` packages use."""
        return self.status

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        facts = [
            f"HTTP {self.status}" if self.status is not None else "",
            f"code {self.code}" if self.code else "",
            f"request {self.request_id}" if self.request_id else "",
        ]
        known = ", ".join(f for f in facts if f)
        if known:
            text = f"{text} [{known}]"
        return f"{text} → {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, {k: v for k, v in vars(self).items() if k != "hybrid"})


def _picklable(error: BaseException | None) -> BaseException | None:
    """The exception, where it can be pickled: one of the user's own may hold anything."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes that were made on this very line
    except Exception:
        return None
    return error


def _rebuild(kind: type[APIError], message: str, state: dict[str, Any]) -> APIError:
    error = kind(message)
    vars(error).update(state)
    return error


class RefusedError(APIError):
    """This client did not send the request: nothing was billed, and the target is not to blame."""

    retryable = True
    verdict: Verdict = "ignore"


class SaturatedError(RefusedError):
    """The limits set for the target leave no room in time: its queue is full, or the wait too long."""

    verdict: Verdict = "saturated"


class CircuitOpenError(RefusedError):
    """The target failed lately; `retry_after` is the time until it is tried again."""


class BudgetExceededError(RefusedError):
    """A budget has no room for this call; `retry_after` is the time until it is free again, if it will be."""

    retryable = False


class NotAllowedError(RefusedError):
    """The call may not go to this target (`never_leave`)."""

    retryable = False


class APIConnectionError(APIError):
    """No answer. `billed` is False where nothing was sent, None where the request had gone out."""

    retryable = True
    verdict: Verdict = "retry"


class APITimeoutError(APIConnectionError):
    """One attempt took too long."""

    billed = None


class DeadlineExceededError(APIConnectionError):
    """The deadline of the whole call passed. Retrying the same call with the same deadline is up to you."""

    retryable = False
    billed = None
    verdict: Verdict = "ignore"


class APIStatusError(APIError):
    """The provider answered with an error status, or with an error inside a success."""


class BadRequestError(APIStatusError):
    """400: the provider does not accept the request."""


class AuthenticationError(APIStatusError):
    """401: the credential is missing or wrong."""


class PaymentRequiredError(APIStatusError):
    """402: the account has no credit, or reached its spend limit."""


class PermissionDeniedError(APIStatusError):
    """403: the credential is known and not allowed to do this."""


class NotFoundError(APIStatusError):
    """404, or a code that says the model cannot be called there."""


class ConflictError(APIStatusError):
    """409."""


class UnprocessableEntityError(APIStatusError):
    """422: a field of the request has the wrong shape."""


class RateLimitError(APIStatusError):
    """429: too many requests or tokens, or too many in flight."""

    retryable = True
    verdict: Verdict = "saturated"


class InternalServerError(APIStatusError):
    """5xx: the provider failed."""

    retryable = True
    verdict: Verdict = "retry"


class OverloadedError(InternalServerError):
    """503: the provider has no room at the moment."""


class ColdError(APIStatusError):
    """The machine behind the address is stopped, starting, or not routable yet."""

    retryable = True
    verdict: Verdict = "cold"


class StreamingRequiredError(APIStatusError):
    """The model answers streams only. The client asks for a stream and assembles it."""


class RedirectError(APIStatusError):
    """The provider redirects to another origin, where the credentials must not go."""


class FunctionError(APIError):
    """A Modal function was called, and did not return. It would fail again; its machine time is billed."""

    billed = True


class RemoteFunctionError(FunctionError):
    """The function's own code raised an exception.

    That exception is `remote` (and `__cause__`), with its type and its arguments, as far as this process can
    rebuild it: ``except RemoteFunctionError as error: if isinstance(error.remote, ValueError): …``. It is not
    raised bare, because then a `ValueError` from the function could not be told from one of this process, an
    `except HybridInferError` would miss it, and what is known of the call (`hybrid`) had no place.

    Attributes:
        remote: the exception; None where this process cannot rebuild it (its class is not importable here).
        remote_type: its type with the module, e.g. ``"builtins.ValueError"``, where that is known.
    """

    remote: BaseException | None = None
    remote_type: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (kind, message, state) = super().__reduce__()
        return rebuild, (kind, message, {**state, "remote": _picklable(self.remote)})


class FunctionTimeoutError(FunctionError):
    """The function ran longer than its own `timeout=` on Modal allows, and was stopped there."""


class FunctionCrashedError(FunctionError):
    """The function's container could not start, ran out of memory, or was stopped."""


class APIResponseError(APIError):
    """The provider answered with success, and the body is not an answer."""

    retryable = True
    billed = None
    verdict: Verdict = "retry"


class StreamError(APIError):
    """A stream that had begun broke, was cut short or reported an error; `partial` holds what came."""

    retryable = True
    billed = None
    verdict: Verdict = "retry"


class AnswerFormatError(APIError):
    """The model answered, and not in the `response_format` that was asked for. Another answer may be.

    Attributes:
        text: what it answered, as it came.
        reasons: why that does not fit: ``"path: message"`` each, such as ``"tasks[0].due: Field required"``.
    """

    retryable = True
    billed = True
    verdict: Verdict = "ignore"

    def __init__(self, message: str, *, text: str = "", reasons: Sequence[str] = (), **known: Any) -> None:
        self.text = text
        self.reasons = tuple(reasons)
        super().__init__(message, **known)

    @property
    def completion(self) -> Any:
        """The whole answer (`partial`); None where only its text was read."""
        return self.partial
