"""Cache: an answer that was given before, where the provider would give it again."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

from hybrid_infer.calls.cached import CachePolicy, Entry, Kept, Served, Sharing
from hybrid_infer.calls.call import Call, Replying, Service, Target
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.operations import Operation
from hybrid_infer.calls.reply import WELL, Replayed, Reply
from hybrid_infer.errors import APIError, CircuitOpenError
from hybrid_infer.layers.cache.key import Keys, request_of
from hybrid_infer.layers.cache.value import packed, unpacked
from hybrid_infer.runtime.base import Runtime

log = logging.getLogger("hybrid_infer")

_OUTAGE = ("retry", "cold", "saturated")
"""Verdicts of failures that are the provider's, and pass."""


_SHORTEST_SECRET = 8
"""Characters; a shorter credential stands in any answer by chance."""


class CacheStore(Protocol):
    """Where answers are kept. No method raises: a store that is down misses, and is one warning.

    Keys are 32 bytes. Entries past their time may be returned, for times of outage; the layer looks.
    """

    name: str

    async def get(self, key: bytes) -> Entry | None: ...
    async def put(self, key: bytes, entry: Entry) -> None: ...
    async def remove(self, key: bytes) -> None: ...
    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRules:
    """What the settings say. Times are seconds.

    Attributes:
        ttl: for which an answer may be given again.
        namespace: see `Keys`.
        stale_if_error: past its time for which it still serves while the provider is out.
    """

    ttl: float
    namespace: str | None = None
    stale_if_error: float = 0.0


Saved: TypeAlias = Callable[[Target, Usage], "int | str | None"]
"""What an answer costs in nano-dollars; None, or the reason as text, where that is unknown."""

Found: TypeAlias = tuple[Entry, Target]

_Keys: TypeAlias = Sequence[tuple[Target, "bytes | None"]]


class Cache:
    """Answers from the store, and stores what the provider answers.

    Looks under each candidate that may answer, in order, and stores under the one that did. Of its own accord
    it does so for requests that are answered the same each time; a call that says `cache=` may ask for more.

    Args:
        kept: how the answers of each operation are kept; those that are not in it always go to the provider.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: CacheStore,
        rules: CacheRules,
        kept: Mapping[Operation, Kept],
        saved: Saved,
    ) -> None:
        self._runtime = runtime
        self.store = store
        self._rules = rules
        self._kept = kept
        self._saved = saved
        self._keys = Keys(rules.namespace)
        self._said = f"answered from the cache ({store.name}), "

    def __call__(self, call: Call, inner: Service) -> Replying:
        kept = self._kept.get(call.operation)
        policy = None if kept is None else _policy(call, kept)
        request = None if policy is None else request_of(call)
        if kept is None or policy is None or request is None:
            return inner(call)
        return self._cached(call, inner, kept, policy, request)

    async def _cached(
        self, call: Call, inner: Service, kept: Kept, policy: CachePolicy, request: bytes
    ) -> Reply:
        tally = call.tally
        tally.cache = "miss"
        keys = self._keys.of(call, request)
        looked, late = self._runtime.now(), None
        if policy.mode != "write":
            found = await self._look(call, kept, policy, keys)
            if isinstance(found, Reply):
                return found
            late = found
        store = partial(self._store, call, kept, policy, request)
        key = _in_common(call, policy, keys)
        if key is None:
            sharing = None
        else:
            again = partial(self._look_again, call, kept, policy, keys)
            sharing = Sharing(key=key, looked=looked, again=again, fill=store)
        try:
            reply = await inner(call if sharing is None else call.changed(sharing=sharing))
        except APIError as error:
            if late is None or not _is_outage(error):
                raise
            stale = self._served(call, kept, late, self._runtime.wall().timestamp(), error)
            if stale is None:
                raise
            return stale
        if sharing is None:
            await reply.on_finish(partial(store, reply))
        return reply

    async def _look(self, call: Call, kept: Kept, policy: CachePolicy, keys: _Keys) -> Reply | Found | None:
        """The reply that is stored; or else what may serve in its place while the provider is out."""
        late: Found | None = None
        now = self._runtime.wall().timestamp()
        for target, key in keys:
            entry = None if key is None else await self.store.get(key)
            if key is None or entry is None:
                continue
            over = now - (entry.expires if policy is _USUAL and entry.expires else _due(entry, policy))
            if over <= 0 and policy.mode != "refresh":
                reply = self._served(call, kept, (entry, target), now)
                if reply is not None:
                    return reply
                await self.store.remove(key)
            elif late is None and 0 < self._rules.stale_if_error >= over:
                late = entry, target
        return late

    async def _look_again(self, call: Call, kept: Kept, policy: CachePolicy, keys: _Keys) -> Reply | None:
        found = await self._look(call, kept, policy, keys)
        return found if isinstance(found, Reply) else None

    def _served(
        self, call: Call, kept: Kept, found: Found, now: float, error: APIError | None = None
    ) -> Reply | None:
        """The reply that an entry is; None where it cannot be read. `error` is why a late one serves."""
        entry, target = found
        try:
            mode, name, facts, answer = unpacked(entry.value)
            value = kept.read(answer)
        except ValueError:
            log.warning("the cache (%s) holds an answer that cannot be read; it is dropped", self.store.name)
            return None
        tally = call.tally
        age = max(0.0, now - entry.stored)
        tally.served = Served(mode=mode, target=name, like=target)
        tally.why.append(f"{self._said}{age:.0f} s old")
        if error is None:
            tally.cache = "hit"
        else:
            tally.cache = "stale"
            tally.warnings.append(
                f"this answer is {age:.0f} s old, past its time: {error.target} did not answer "
                f"({type(error).__name__}), and cache_stale_if_error allows it"
            )
        if not call.stream:
            return Reply(value, facts=facts)
        facts.first_token = self._runtime.now()
        return Reply(facts=facts, source=Replayed(value, kept.events(value)))

    async def _store(self, call: Call, kept: Kept, policy: CachePolicy, request: bytes, reply: Reply) -> None:
        """Store the answer of a reply that has ended, where it ended well and may be given again."""
        try:
            await self._keep(call, kept, policy, request, reply)
        except Exception:  # the call has its answer, whatever becomes of the copy
            log.warning("an answer could not be kept", exc_info=True)

    async def _keep(self, call: Call, kept: Kept, policy: CachePolicy, request: bytes, reply: Reply) -> None:
        if policy.mode == "read" or reply.ending is not WELL:
            return
        if call.stream and not kept.same_in_stream(_body(call)):
            return
        value, facts, target = reply.final(), reply.facts, _answering(call)
        if target is None or not kept.whole(value):
            return
        key = self._keys.at(call, target, request)  # only the answer may have told the server's model
        if key is None:
            return
        stored = packed(value, facts, target)
        if _holds_a_secret(stored, target):
            return
        now = self._runtime.wall().timestamp()
        saved = None if facts.usage is None else self._saved(target, facts.usage)
        entry = Entry(
            value=stored,
            stored=now,
            expires=now + (self._rules.ttl if policy.ttl is None else policy.ttl),
            target=target.name,
            operation=call.operation,
            saved_nano=saved if isinstance(saved, int) else None,
        )
        await self.store.put(key, entry)


def _policy(call: Call, kept: Kept) -> CachePolicy | None:
    """How the call uses the cache; None where it does not."""
    given = call.cache
    if given is None:
        return _USUAL if kept.repeats(_body(call)) else None
    if isinstance(given, CachePolicy):
        return given
    return _USUAL if given else None


_USUAL = CachePolicy()


def _body(call: Call) -> Mapping[str, Any]:
    return {**call.body, **call.extra_body} if call.extra_body else call.body


def _due(entry: Entry, policy: CachePolicy) -> float:
    """When an entry is past its time for this call."""
    due = math.inf if entry.expires is None else entry.expires
    return due if policy.max_age is None else min(due, entry.stored + policy.max_age)


def _is_outage(error: APIError) -> bool:
    return error.verdict in _OUTAGE or isinstance(error, CircuitOpenError)


def _answering(call: Call) -> Target | None:
    return next((attempt.target for attempt in reversed(call.tally.attempts) if not attempt.lost), None)


def _holds_a_secret(stored: bytes, target: Target) -> bool:
    """Whether a server has put the credential into its answer."""
    secrets = (value.rpartition(" ")[2].encode() for _, value in target.credential())
    return any(len(secret) >= _SHORTEST_SECRET and secret in stored for secret in secrets)


def _in_common(call: Call, policy: CachePolicy, keys: _Keys) -> bytes | None:
    """What calls in flight have in common that may share one answer: the key at each candidate, and what
    decides how hard it is tried to get one. None for those that ask anew, and where a key is unknown."""
    if policy.mode not in ("both", "read"):
        return None
    known = [key for _, key in keys if key is not None]
    if len(known) < len(keys):
        return None
    how = (
        policy.mode,
        call.overflows,
        call.priority,
        call.purpose == "batch",
        call.on_stream_break,
        call.hedge,
        call.max_retries,
    )
    return sha256(b"".join([*known, repr(how).encode()])).digest()
