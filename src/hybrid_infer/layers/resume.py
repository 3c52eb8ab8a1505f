"""Resume: a stream that breaks after it was handed over ends with what came, or is asked for again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import fields, replace
from typing import Any, TypeAlias

from hybrid_infer.calls.call import Call, OnStreamBreak, Replying, Service
from hybrid_infer.calls.reply import Facts, Reply
from hybrid_infer.errors import APIError

Again: TypeAlias = Callable[[Call, APIError], Coroutine[Any, Any, Call | None]]
"""`Retry.again`: the call as it is to be sent next, or None. So a restart counts like any other repeat."""

Reset: TypeAlias = Callable[[str, Any], Any]
"""Makes the event that tells consumers to drop what came: from the reason, and what it was."""


class Resume:
    """Restarts broken streams, where the call or the settings ask for it. An error is the default.

    Nobody can go on where a model left off, so a restart is a new answer from its beginning. The reset event
    stands between the two.
    """

    def __init__(self, default: OnStreamBreak, again: Again, reset: Reset) -> None:
        self._default: OnStreamBreak = default
        self._again = again
        self._reset = reset

    def __call__(self, call: Call, inner: Service) -> Replying:
        if (call.on_stream_break or self._default) != "restart":
            return inner(call)
        return self._restarting(call, inner)

    async def _restarting(self, call: Call, inner: Service) -> Reply:
        reply = await inner(call)
        if reply.ending is not None:
            return reply
        return Reply(facts=reply.facts, source=_Restarting(call, inner, reply, self._again, self._reset))


class _Restarting:
    """The stream of a reply, and after a break that of the next one."""

    def __init__(self, call: Call, inner: Service, reply: Reply, again: Again, reset: Reset) -> None:
        self._call = call
        self._inner = inner
        self._reply = reply
        self._again = again
        self._reset = reset
        self._facts = reply.facts
        self._closed = False

    async def next(self) -> Any | None:
        broken: APIError | None = None
        event = None
        try:
            event = await self._reply.next()
        except APIError as error:
            broken = error
        try:
            # Not in the clause above: what goes wrong from here on does not follow from the break.
            if broken is not None:
                event = await self._restart(broken)
        finally:
            del broken
        if self._facts is not self._reply.facts:
            _copy(self._reply.facts, self._facts)
        return event

    async def _restart(self, error: APIError) -> Any:
        """The reset event, with the new stream behind it. Raises `error` where none is to be begun."""
        tally = self._call.tally
        tally.restarts += 1
        again = await self._again(replace(self._call, until=self._call.end), error)
        if again is None:
            tally.restarts -= 1
            raise error
        tally.why.append(f"the stream of {error.target} broke: asked again")
        try:
            reply = await self._inner(again)
        except APIError as failure:
            failure.partial = error.partial  # no reset event was seen: this is what the caller holds
            raise
        if self._closed:
            await reply.aclose()
            raise error
        self._reply = reply
        return self._reset(error.message, error.partial)

    def final(self) -> Any:
        return self._reply.final()

    async def aclose(self) -> None:
        self._closed = True
        await self._reply.aclose()

    def abandon(self) -> None:
        self._closed = True
        self._reply.abandon()


def _copy(new: Facts, into: Facts) -> None:
    """What is known of the new answer. The first token stays that of the first one: the caller saw it."""
    for name in _COPIED:
        setattr(into, name, getattr(new, name))


_COPIED = tuple(field.name for field in fields(Facts) if field.name != "first_token")
