"""The errors of machines; a branch of the tree in `hybrid_infer.errors`.

HybridInferError
└── EndpointError                 a machine is not, or could not be brought, where it was wanted
    ├── EndpointNotFoundError     there is none of this name, or nothing to make it from
    ├── EndpointForbiddenError    the credential may not do this
    ├── QuotaError                the account may not have more machines
    ├── CapacityError             the provider has no machine at the moment
    ├── EndpointFailedError       it failed for good; the provider's words say why
    ├── EndpointTimeoutError      it did not get there in time, and may yet
    ├── EndpointConflictError     somebody else changes it at the same time
    ├── EndpointUnreachableError  the provider's control plane does not answer
    ├── LeaseStoreError           what is kept of machines between processes cannot be read or written
    └── IdleBudgetError           it is not kept while idle: the budget is spent, or its price unknown
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hybrid_infer.errors import HybridInferError

if TYPE_CHECKING:
    from hybrid_infer.endpoints.state import EndpointState


class EndpointError(HybridInferError):
    """A machine is not, or could not be brought, where it was wanted.

    Attributes:
        message: what happened.
        where: which machine, e.g. ``"together-dedicated/acme/assistant"``.
        said: the provider's own words, free of credentials.
        hint: what to do next.
        status, code: of the control plane's answer; None where there was none.
        state: the machine as it was last seen; None where it was not.
        retryable: whether the same may succeed later.
    """

    retryable: bool = False
    default_hint: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        said: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        code: str | None = None,
        state: EndpointState | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.said = said
        self.hint = hint or self.default_hint
        self.status = status
        self.code = code
        self.state = state
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        facts = [
            f'provider: "{self.said}"' if self.said else "",
            f"HTTP {self.status}" if self.status is not None else "",
            f"code {self.code}" if self.code else "",
        ]
        known = ", ".join(fact for fact in facts if fact)
        if known:
            text = f"{text} [{known}]"
        return f"{text} → {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(vars(self)))


def _rebuild(kind: type[EndpointError], message: str, state: dict[str, Any]) -> EndpointError:
    error = kind(message)
    vars(error).update(state)
    return error


class EndpointNotFoundError(EndpointError):
    """There is no machine of this name, or nothing to make it from."""


class EndpointForbiddenError(EndpointError):
    """The credential is missing, wrong, or may not do this."""

    default_hint = "use a key of the project that owns the machine, with the right to change it"


class QuotaError(EndpointError):
    """The account may not have more machines."""

    default_hint = "stop another machine, ask for fewer replicas, or have the provider raise the quota"


class CapacityError(EndpointError):
    """The provider has no machine at the moment. It may go on trying, and bill it once it is there."""

    retryable = True
    default_hint = "try other hardware, wait, or stop() the endpoint so that it never comes up"


class EndpointFailedError(EndpointError):
    """The machine failed for good."""

    default_hint = "look at the provider's events for it, then delete() it and make a new one"


class EndpointTimeoutError(EndpointError):
    """The machine did not get there in time. It may yet, and is billed then."""

    retryable = True
    default_hint = "wait longer (timeout=), or stop() it so that it never comes up"


class EndpointConflictError(EndpointError):
    """Somebody else changes the machine at the same time."""

    retryable = True
    default_hint = "find out what else changes it (another process, a schedule, a colleague), and try again"


class EndpointUnreachableError(EndpointError):
    """The provider's control plane does not answer, or answers that it cannot at the moment."""

    retryable = True
    default_hint = "try again; calls to the machine itself may work all the same"


class LeaseStoreError(EndpointError):
    """What is kept of machines between processes cannot be read or written: the file, or Redis."""

    retryable = True
    default_hint = "try again; a lease that is there ends by itself"


class IdleBudgetError(EndpointError):
    """The machine is not kept while nobody uses it: the budget of the day is spent, or its price unknown."""

    default_hint = "raise the budget for idle machines, or wait for the next day (UTC)"
