"""Allowed: the target's own refusal of calls that may not come here."""

from __future__ import annotations

from hybrid_infer.calls.call import Call, Replying, Service, Target
from hybrid_infer.errors import NotAllowedError


class Allowed:
    """Lets pass what the plan allowed to come here. Nothing above it can send a call where it must not go."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __call__(self, call: Call, inner: Service) -> Replying:
        if self._target not in call.candidates:
            error = NotAllowedError(
                "this call may not be answered here",
                where=self._target.name,
                hint="see never_leave and fallback",
            )
            error.target = self._target.name
            raise error
        return inner(call)
