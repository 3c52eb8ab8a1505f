"""Single flight: identical calls that are in flight at the same time share one answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

from hybrid_infer.calls.cached import Kept, Served, Sharing
from hybrid_infer.calls.call import Call, Horizon, Replying, Service
from hybrid_infer.calls.copies import json_of
from hybrid_infer.calls.operations import Operation
from hybrid_infer.calls.reply import Facts, Replayed, Reply
from hybrid_infer.errors import APIError, DeadlineExceededError
from hybrid_infer.layers.single_flight.stream import (
    LostError,
    Participant,
    SharedStream,
    can_be_shared,
    copied,
    served_by,
)
from hybrid_infer.runtime.base import Promise, Runtime

_REMEMBERED = 1024
"""Keys whose last answer is remembered to have been stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A complete answer, for each follower to read its own from."""

    json: bytes
    facts: Facts
    served: Served | None


Outcome: TypeAlias = "Landed | APIError | Participant | Literal['lead']"
"""What becomes of a follower: it gets the answer, fails, takes part in a stream, or asks itself."""


@dataclass(slots=True, eq=False)
class Follower:
    """A call that waits for what becomes of the leader's."""

    call: Call
    told: Promise
    outcome: Outcome | None = None


@dataclass(slots=True, eq=False)
class Flight:
    """One call upstream, and who waits for it. `stream` from the moment it is live."""

    followers: dict[Follower, None] = field(default_factory=dict[Follower, None])
    stream: SharedStream | None = None


class SingleFlight:
    """Lets the first of identical calls ask, and gives its answer to those that come before it ends.

    Which calls are identical is told by `Call.sharing`. The leader alone goes further in, and pays. Each
    follower waits no longer than its own deadline. When the leader is cancelled, refused, or out of time, the
    first of the followers asks in its place; when the provider fails it, they fail likewise.

    Args:
        kept: how answers become streams and the other way round, by operation.
    """

    def __init__(self, runtime: Runtime, kept: Mapping[Operation, Kept]) -> None:
        self._runtime = runtime
        self._kept = kept
        self._flights: dict[bytes, Flight] = {}
        self._ended: OrderedDict[bytes, float] = OrderedDict()
        self._guard = runtime.guard()

    def __call__(self, call: Call, inner: Service) -> Replying:
        sharing, kept = call.sharing, self._kept.get(call.operation)
        if sharing is None or kept is None:
            return inner(call)
        return self._shared(call, inner, sharing, kept)

    async def _shared(self, call: Call, inner: Service, sharing: Sharing, kept: Kept) -> Reply:
        key = sharing.key
        while True:
            flight, part = self._join(key, call)
            if part is None:
                return await self._lead(sharing, flight, kept, call, inner)
            _follow(call)
            try:
                if isinstance(part, Participant):
                    return await self._take_part(part, kept)
                return await self._wait(sharing, flight, part, kept, inner)
            except LostError:
                continue

    def forget(self) -> None:
        """Calls in flight belong to an event loop that is gone: nobody may join them any more."""
        self._flights.clear()
        self._ended.clear()

    def _join(self, key: bytes, call: Call) -> tuple[Flight, Participant | Follower | None]:
        """The flight, and the call's part in it; None where it is the leader."""
        with self._guard:
            flight = self._flights.get(key)
            if flight is not None and flight.stream is None:
                follower = Follower(call, self._runtime.promise())
                flight.followers[follower] = None
                return flight, follower
            if flight is not None and flight.stream is not None:
                joined = flight.stream.join(call)
                if joined is not None:
                    return flight, joined
            flight = self._flights[key] = Flight()
            return flight, None

    async def _lead(self, sharing: Sharing, flight: Flight, kept: Kept, call: Call, inner: Service) -> Reply:
        key = sharing.key
        tally, horizon = call.tally, Horizon(until=call.until)
        tally.cache, tally.served = "miss", None
        try:
            reply = await self._stored_since(sharing)
            if reply is None:
                reply = await inner(call.changed(sharing=None, horizon=horizon))
                if reply.ending is not None:
                    await sharing.fill(reply)
        except BaseException as error:
            self._failed(key, flight, error)
            raise
        if reply.ending is not None:
            self._landed(key, flight, call, reply)
            return reply
        stream = SharedStream(
            self._runtime,
            reply,
            call,
            kept,
            horizon,
            fill=partial(self._fill, sharing),
            over=partial(self._over, key, flight),
        )
        leader = stream.join(call, leads=True)
        if leader is None:  # it cannot be: nobody else knows of it
            return reply
        with self._guard:
            flight.stream = stream
            told, flight.followers = flight.followers, {}
            for follower in told:
                follower.outcome = stream.join(follower.call)
        _tell(told)
        return Reply(facts=reply.facts, source=leader)

    async def _stored_since(self, sharing: Sharing) -> Reply | None:
        """The answer of an identical call that ended between the look into the cache and now."""
        with self._guard:
            ended = self._ended.get(sharing.key)
        if ended is None or ended < sharing.looked:
            return None
        return await sharing.again()

    async def _fill(self, sharing: Sharing, reply: Reply) -> None:
        await sharing.fill(reply)
        with self._guard:
            self._note(sharing.key)

    def _note(self, key: bytes) -> None:
        """An answer has been stored, for all who have looked before and come after."""
        self._ended[key] = self._runtime.now()
        self._ended.move_to_end(key)
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _landed(self, key: bytes, flight: Flight, call: Call, reply: Reply) -> None:
        """The answer is complete: give it to all who wait."""
        with self._guard:
            self._over(key, flight)
            self._note(key)
            told, flight.followers = flight.followers, {}
        if not told:
            return
        landed = Landed(json=json_of(reply.value), facts=reply.facts, served=served_by(call))
        for follower in told:
            follower.outcome = landed
        _tell(told)

    def _failed(self, key: bytes, flight: Flight, error: BaseException) -> None:
        """There is no answer: the followers fail likewise, or the first of them asks."""
        shared = copied(error) if can_be_shared(error) else None
        with self._guard:
            if isinstance(shared, APIError):
                told, flight.followers = flight.followers, {}
            else:
                told = dict.fromkeys(list(flight.followers)[:1])
                for heir in told:
                    del flight.followers[heir]
            if shared is not None or not told:
                self._over(key, flight)
            for follower in told:
                follower.outcome = shared if isinstance(shared, APIError) else "lead"
        _tell(told)

    async def _wait(
        self, sharing: Sharing, flight: Flight, follower: Follower, kept: Kept, inner: Service
    ) -> Reply:
        """Wait for what becomes of the leader.

        Raises:
            LostError: nothing came of it, and another call is to be looked for.
        """
        call, key = follower.call, sharing.key
        try:
            await follower.told.wait(call.until - self._runtime.now())
        except BaseException as error:
            self._withdraw(key, flight, follower, error)
            raise
        outcome = follower.outcome
        if outcome is None:
            outcome = self._withdraw(key, flight, follower)
        if outcome == "lead":
            return await self._lead(sharing, flight, kept, call, inner)
        if isinstance(outcome, Participant):
            return await self._take_part(outcome, kept)
        if isinstance(outcome, APIError):
            raise copied(outcome)
        if outcome is None:
            raise DeadlineExceededError(
                "the deadline of the call passed while it waited for the answer to an identical one",
                billed=False,
                hint="give it more with timeout= or deadline=",
            )
        call.tally.served = outcome.served
        value = kept.read(outcome.json)
        if not call.stream:
            return Reply(value, facts=replace(outcome.facts, first_token=None))
        facts = replace(outcome.facts, first_token=self._runtime.now())
        return Reply(facts=facts, source=Replayed(value, kept.events(value)))

    def _withdraw(
        self, key: bytes, flight: Flight, follower: Follower, error: BaseException | None = None
    ) -> Outcome | None:
        """Wait no more. Returns what has become of it meanwhile, or passes it on where it ends by `error`."""
        with self._guard:
            flight.followers.pop(follower, None)
            outcome = follower.outcome
        if error is not None and outcome == "lead":
            self._failed(key, flight, error)
        elif error is not None and isinstance(outcome, Participant):
            outcome.abandon()
        return outcome

    async def _take_part(self, joined: Participant, kept: Kept) -> Reply:
        """The reply of a follower in a live stream. Raises LostError where that ends before it began."""
        call = joined.call
        try:
            if call.stream:
                await joined.first()
                return Reply(facts=joined.facts, source=joined)
            value = await joined.whole()
        except BaseException:
            await joined.aclose()
            raise
        return Reply(value, facts=replace(joined.facts, first_token=None))

    def _over(self, key: bytes, flight: Flight) -> None:
        """Nobody may join any more. Without a lock: a finaliser may call it, and one that takes away another
        flight only lets fewer calls share."""
        if self._flights.get(key) is flight:
            self._flights.pop(key, None)


def _follow(call: Call) -> None:
    tally = call.tally
    tally.cache = "shared"
    tally.why.append("an identical call was in flight: its answer is shared")


def _tell(followers: Mapping[Follower, None]) -> None:
    for follower in followers:
        follower.told.keep()
