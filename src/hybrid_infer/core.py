"""Core: what both clients share. It holds the current assembly, and moves to another one on a switch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from hybrid_infer.assembly import Assembly
from hybrid_infer.calls.call import CHOICES, Call, Mode, ModeChoice, Tally
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.calls.machines import MachineReport
from hybrid_infer.calls.records import Ids
from hybrid_infer.calls.reply import Ending, Reply
from hybrid_infer.errors import (
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    InvalidCallError,
)
from hybrid_infer.hooks import HookEvent, hooks_of
from hybrid_infer.layers.budget import Budget
from hybrid_infer.layers.cache import Cache, CacheStore
from hybrid_infer.layers.retry import RetryBudget
from hybrid_infer.layers.single_flight import SingleFlight
from hybrid_infer.policies import budget_rules, cache_rules, elsewhere, kept_answers, schedules
from hybrid_infer.prices.book import PriceBook
from hybrid_infer.prices.chosen import price_book
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.settings import Settings
from hybrid_infer.simulator.world import World
from hybrid_infer.stores.cache_memory import MemoryCache
from hybrid_infer.stores.redis_budgets import RedisBudgets
from hybrid_infer.stores.redis_limits import RedisLimits
from hybrid_infer.stores.redis_shared import SharedRedis
from hybrid_infer.targets import Books, Parts
from hybrid_infer.telemetry.content import Content, Redact, wants_content
from hybrid_infer.telemetry.metrics import Metrics
from hybrid_infer.telemetry.spans import Spans
from hybrid_infer.transport.base import Transport
from hybrid_infer.transport.environment import Limits
from hybrid_infer.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from hybrid_infer.stores.ledger.writer import Ledger

MakeTransport = Callable[..., Transport]
"""`transport.choose.blocking_transport` or `async_transport`."""


def _world(settings: Settings) -> World:
    """The simulated providers of one client."""
    faults = None
    if settings.simulate_faults is not None:
        from hybrid_infer.simulator.fault_file import read_faults

        faults = read_faults(settings.simulate_faults)
    return World(seed=settings.simulate_seed, dedicated=settings.simulate_dedicated, faults=faults)


MakeRedis = Callable[[str, Runtime], SharedRedis]
"""`stores.redis_shared.blocking_redis` or `async_redis`."""


def _spending(
    settings: Settings,
    runtime: Runtime,
    prices: PriceBook,
    leftovers: Leftovers,
    redis: SharedRedis | None,
) -> Budget | None:
    """What holds the budgets, where there are some. It outlives every switch."""
    if not settings.budgets:
        return None

    def today() -> date:
        return runtime.wall().date()

    return Budget(
        runtime,
        budget_rules(settings),
        expected=lambda target, usage: prices.expected(target, usage, at=today()),
        costs=lambda call: prices.cost(call.tally.attempts, at=today(), waits=call.tally.waits),
        leftovers=leftovers,
        shared=None if redis is None else RedisBudgets(redis, prefix=settings.redis_prefix),
    )


def _cache(
    settings: Settings, runtime: Runtime, prices: PriceBook, redis: SharedRedis | None
) -> Cache | None:
    """What gives answers again, where that is on. It outlives every switch."""
    store = _store(settings, runtime, redis)
    if store is None:
        return None
    return Cache(
        runtime,
        store,
        cache_rules(settings),
        kept_answers(),
        saved=lambda target, usage: prices.expected(target, usage, at=runtime.wall().date()),
    )


def _store(settings: Settings, runtime: Runtime, redis: SharedRedis | None) -> CacheStore | None:
    keep_stale = settings.cache_stale_if_error
    if settings.cache == "memory":
        return MemoryCache(runtime.guard(), max_bytes=settings.cache_max_bytes)
    if settings.cache == "sqlite":
        from hybrid_infer.stores.cache_sqlite.place import default_path
        from hybrid_infer.stores.cache_sqlite.store import sqlite_cache

        path = settings.cache_path or default_path(os.environ)
        if path is None:
            raise ConfigurationError("cache = sqlite: there is no home folder for its file; set cache_path")
        return sqlite_cache(path, runtime, max_bytes=settings.cache_max_bytes, keep_stale=keep_stale)
    if settings.cache == "redis" and redis is not None:
        from hybrid_infer.stores.cache_redis import RedisCache

        return RedisCache(redis, prefix=settings.redis_prefix, keep_stale=keep_stale)
    return None


def _ledger(settings: Settings) -> Ledger | None:
    """Where calls are written down: one for all clients of the process that name the file."""
    if settings.ledger is None:
        return None
    from hybrid_infer.stores.ledger.writer import open_ledger

    return open_ledger(settings.ledger, max_bytes=settings.ledger_max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """In what the two clients differ: how waiting is done, and what waits for the network."""

    runtime: Runtime
    transport: MakeTransport
    redis: MakeRedis
    awaits: bool = False
    """Whether it may suspend, so that hooks may be `async`."""


def blocking(runtime: Runtime | None = None) -> Colour:
    """The colour of `Client`; `runtime` is another clock for it."""
    from hybrid_infer.runtime.blocking import BlockingRuntime
    from hybrid_infer.stores.redis_shared import blocking_redis
    from hybrid_infer.transport.choose import blocking_transport

    return Colour(runtime=runtime or BlockingRuntime(), transport=blocking_transport, redis=blocking_redis)


def tasks() -> Colour:
    """The colour of `AsyncClient`."""
    from hybrid_infer.runtime.tasks import TaskRuntime
    from hybrid_infer.stores.redis_shared import async_redis
    from hybrid_infer.transport.choose import async_transport

    return Colour(runtime=TaskRuntime(), transport=async_transport, redis=async_redis, awaits=True)


class Core:
    """Runs calls. Every call is counted into the assembly it began with and ends there."""

    def __init__(
        self,
        settings: Settings,
        colour: Colour,
        http_client: Any,
        tracer_provider: TracerProvider | None,
        world: World | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        redact: Redact | None = None,
    ) -> None:
        self._settings = settings
        self._runtime = runtime = colour.runtime
        schedules(settings)  # what is wrong with them is told at once
        self.hooks = hooks_of(settings, runtime.guard(), takes_async=colour.awaits)
        limits = Limits(
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            max_keepalive=settings.max_keepalive,
            keepalive_expiry=settings.keepalive_expiry,
        )

        leftovers, prices = Leftovers(), price_book(settings, others=elsewhere(settings))
        redis = None
        if settings.redis_url is not None:
            redis = colour.redis(settings.redis_url.get_secret_value(), runtime)
        self._redis = redis
        self._ledger = ledger = _ledger(settings)

        def transport() -> Transport:
            return colour.transport(
                clock=runtime.now, limits=limits, environ=os.environ, http_client=http_client
            )

        self._parts = Parts(
            settings=settings,
            runtime=runtime,
            transport=transport,
            hooks=self.hooks,
            world=(world or _world(settings)) if settings.simulate else None,
            spans=Spans(
                VERSION,
                tracer_provider,
                content=Content(redact=redact, max_bytes=settings.trace_content_max_bytes)
                if wants_content(os.environ)
                else None,
                propagate=settings.propagate_trace,
            ),
            metrics=Metrics(VERSION, meter_provider, settings.metrics_names),
            prices=prices,
            leftovers=leftovers,
            budget=RetryBudget(settings.retry_budget),
            shared=None if redis is None else RedisLimits(redis, prefix=settings.redis_prefix),
            spending=_spending(settings, runtime, prices, leftovers, redis),
            cache=(cache := _cache(settings, runtime, prices, redis)),
            flights=None if cache is None else SingleFlight(runtime, kept_answers()),
            modal_token="MODAL_TOKEN_ID" in os.environ,
            books=None if ledger is None else Books(ledger=ledger, ids=mend_after_fork(Ids(), Ids.renew)),
        )
        self._guard = runtime.guard()
        self._closed = False
        self._retired: list[Assembly] = []
        self._current = Assembly(self._parts, settings.mode)
        self._current.check()
        mend_after_fork(self, Core._begin_anew)

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def mode(self) -> ModeChoice:
        return self._current.mode

    def describe(self) -> str:
        return self._current.describe()

    async def run(self, call: Call) -> Reply:
        """Send a call through the stack of the current assembly.

        Raises:
            ClientClosedError, EventLoopError: see there.
            APIError: it did not end well.
        """
        here = self._runtime.check()
        self._parts.leftovers.sweep()
        with self._guard:
            if self._closed:
                raise ClientClosedError("this client is closed; make a new one")
            if not here:
                # The old connections belong to an event loop that is gone: nothing can close them any more.
                # What is known of the machines went by its clock.
                self._parts.machines.clear()
                if self._parts.flights is not None:
                    self._parts.flights.forget()
                self._current = Assembly(self._parts, self._current.mode)
            assembly = self._current
            assembly.calls.add(id(call))
        try:
            reply = await assembly.serve(call)
        except BaseException:
            assembly.calls.discard(id(call))
            await self._reap()
            raise
        if reply.ending is not None:
            assembly.calls.discard(id(call))
            if self._retired:
                await self._reap()
            hybrid = Hybrid.of(call, reply.facts)
            if call.operation.startswith("functions."):
                from hybrid_infer.calls.functions import FunctionReply

                reply.value = FunctionReply(value=reply.value, hybrid=hybrid)
                return reply
            reply.value.hybrid = hybrid
            if call.shape is not None:
                reply.value.expect(call.shape)
            return reply

        def leave(_: Ending) -> None:
            assembly.calls.discard(id(call))

        reply.on_end(leave)
        await reply.on_finish(self._reap)
        return reply

    async def wait_for(self, call: Call, every: float) -> Any:
        """Ask again and again, until the answer is no longer `underway`.

        Args:
            call: asks; its time limit is that of all of them together.
            every: seconds between two.

        Raises:
            DeadlineExceededError: it still is, at the end of that time.
        """
        if not every > 0:
            raise InvalidCallError(f"every={every!r}: must be seconds above 0")
        runtime = self._runtime
        total = call.timeouts.total or self._settings.timeout
        until = runtime.now() + total
        while True:
            answer = (await self.run(call.changed(tally=Tally()))).value
            if not answer.underway:
                return answer
            if runtime.now() + every >= until:
                raise DeadlineExceededError(
                    f"{answer.id} was still {answer.status} after {total:g} s",
                    billed=None,
                    hint="it goes on at the provider: wait for it again, or give more time with timeout=",
                )
            await runtime.sleep(every)

    async def switch(self, mode: ModeChoice) -> None:
        """See `Client.switch`."""
        if mode not in CHOICES:
            raise InvalidCallError(f"mode={mode!r}: must be one of {', '.join(CHOICES)}")
        assembly = Assembly(self._parts, mode)
        assembly.check()
        with self._guard:
            if self._closed:
                raise ClientClosedError("this client is closed; make a new one")
            old, self._current = self._current, assembly
            self._retired.append(old)
        await self._reap()
        await self.hooks.fire(
            HookEvent(name="on_switch", at=self._runtime.wall(), mode=mode, before=old.mode)
        )

    async def aclose(self) -> None:
        """Close all connections, those of calls in flight too. Harmless when repeated."""
        with self._guard:
            self._closed = True
            assemblies, self._retired = [*self._retired, self._current], []
        self._parts.leftovers.sweep()
        for assembly in assemblies:
            await assembly.aclose()
        if self._parts.cache is not None:
            await self._parts.cache.store.aclose()
        if self._redis is not None:
            await self._redis.aclose()
        if self._ledger is not None:
            self._ledger.close()

    def observe(self, mode: Mode, model: str | None, serving: int | None, starting: int = 0) -> None:
        """Whoever knows the state of a machine says so here, as often as it changes: the meter counts from
        now on, and the ledger tells the other processes. Does nothing where the machine is not paid by time.

        Args:
            mode, model: as calls name the machine's target.
            serving, starting: replicas that serve, and that come up; None is no longer known.

        Raises:
            ConfigurationError: there is no such target.
        """
        self._current.observe(mode, model, serving, starting)

    def machine(self, mode: Mode, model: str | None) -> MachineReport | None:
        """What a machine was billed for so far, as far as this client can tell; None where it is not paid by
        time."""
        return self._current.machine(mode, model)

    def _begin_anew(self) -> None:
        """In a forked process: threads, connections and calls in flight are its parent's alone."""
        self._parts = replace(
            self._parts,
            leftovers=Leftovers(),
            budget=RetryBudget(self._settings.retry_budget),
            machines={},
            flights=None if self._parts.flights is None else SingleFlight(self._runtime, kept_answers()),
        )
        self._guard = self._runtime.guard()
        self._retired = []
        self._current = Assembly(self._parts, self._current.mode)

    async def _reap(self) -> None:
        """Close the assemblies that were switched away from and that no call uses any more."""
        if not self._retired:
            return
        with self._guard:
            empty = [assembly for assembly in self._retired if not assembly.calls]
            self._retired = [assembly for assembly in self._retired if assembly not in empty]
        for assembly in empty:
            await assembly.aclose()
