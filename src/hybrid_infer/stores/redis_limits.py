"""Limits that many processes share: slots and rates of all who name the same Redis and prefix."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from hybrid_infer.stores.redis_scripts import ACQUIRE, RELEASE, SETTLE, Argument
from hybrid_infer.stores.redis_shared import SharedRedis

AHEAD = 2.0
"""Seconds' worth of a rate that may go at once."""
ASK_AGAIN = 0.05
"""Seconds, on average, between two looks for a free slot: nobody is told when one is given back elsewhere."""
_SHORTEST = 0.001
_REMEMBERED = 1_000
"""Abandoned leases of a target that are remembered at most; those beyond expire by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A slot of `target`, held until it is released or expires. `name` is None where there is no limit."""

    target: str
    name: str | None


class RedisLimits:
    """Slots and rates of targets, kept in Redis. Nothing here fails a call: while Redis is down, the caller
    goes on with the limits of its own process.

    A process that dies with slots in hand loses them when its leases expire. Calls that wait in different
    processes are not served in the order they came.

    Args:
        prefix: what the names of keys begin with. The rest of a name is the target's, percent-encoded.
    """

    def __init__(self, redis: SharedRedis, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._tokens: dict[str, float | None] = {}
        self._abandoned: dict[str, deque[str]] = {}

    async def acquire(
        self,
        target: str,
        *,
        slots: int | None,
        requests: float | None,
        tokens: float | None,
        amount: float,
        lease: float,
    ) -> Lease | float | None:
        """Take a slot, a request and `amount` tokens, or none of them.

        Args:
            target: whose limits these are, e.g. ``"modal/llm"``.
            slots: calls in flight at most; this and the next two are None where there is no limit.
            requests, tokens: per minute.
            amount: tokens of this call, an estimate (see `settle`).
            lease: seconds after which the slot is free again if nobody releases it.

        Returns:
            A Lease where all was taken; the seconds after which to ask again where there was no room; None
            where Redis does not answer.
        """
        if slots is None and requests is None and tokens is None:
            return Lease(target=target, name=None)
        self._tokens[target] = tokens
        name = uuid4().hex
        over = self._take_abandoned(target)
        given = [_or_empty(slots), _or_empty(requests), _or_empty(tokens), amount, lease, name, AHEAD]
        try:
            answer = await self._redis.ask(
                ACQUIRE, (self._key(target, "leases"), self._key(target, "rates")), (*given, *over)
            )
        except BaseException:  # a cancellation: nobody will know what Redis did
            self._abandon(target, (*over, name))
            raise
        if answer is None:
            self._abandon(target, over if slots is None else (*over, name))
            return None
        if answer[0]:
            return Lease(target=target, name=None if slots is None else name)
        return _wait(answer[1], answer[2])

    async def release(self, lease: Lease) -> None:
        """Give a slot back. Harmless when repeated, and after the lease expired."""
        if lease.name is None:
            return
        try:
            answer = await self._redis.ask(RELEASE, (self._key(lease.target, "leases"),), (lease.name,))
        except BaseException:
            self.abandon(lease)
            raise
        if answer is None:
            self.abandon(lease)

    def abandon(self, lease: Lease) -> None:
        """Give a slot back from a finaliser: takes no lock, waits for nothing. It is free when this process
        asks for the next one of the same target, or when the lease expires."""
        if lease.name is not None:
            self._abandon(lease.target, (lease.name,))

    async def settle(self, target: str, amount: float) -> None:
        """Take `amount` more tokens, where negative give some back: what a call used less what was estimated.

        May leave the target below zero: the calls that follow wait for it.
        """
        tokens = self._tokens.get(target)
        if tokens is not None and amount:
            await self._redis.ask(SETTLE, (self._key(target, "rates"),), (tokens, amount, AHEAD))

    async def aclose(self) -> None:
        """Close the connections to Redis. Slots that are still held stay so until their leases expire."""
        await self._redis.aclose()

    def __repr__(self) -> str:
        return f"<RedisLimits {self._redis.place}>"

    def _key(self, target: str, what: str) -> str:
        # In braces: a cluster keeps the keys of one target together, as a script needs them.
        return f"{self._prefix}:{{{quote(target, safe='')}}}:{what}"

    def _abandon(self, target: str, names: Sequence[str]) -> None:
        if names:
            self._abandoned.setdefault(target, deque(maxlen=_REMEMBERED)).extend(names)

    def _take_abandoned(self, target: str) -> Sequence[str]:
        names = self._abandoned.get(target)
        found: list[str] = []
        while names:
            try:
                found.append(names.popleft())
            except IndexError:  # another thread took the last one
                break
        return found


def _or_empty(limit: float | None) -> Argument:
    return "" if limit is None else limit


def _wait(slot: Any, rates: Any) -> float:
    """Seconds after which to ask again."""
    wait = float(rates)
    if slot:
        # Not all processes at the same moment, lest one always comes first.
        wait = max(wait, min(float(slot), ASK_AGAIN * random.uniform(0.5, 1.5)))
    return max(wait, _SHORTEST)
