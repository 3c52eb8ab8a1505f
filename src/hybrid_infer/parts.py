"""Parts: what all that runs the calls of one client is made from, as its settings have it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.shares import Turnout
from hybrid_infer.colours import Colour
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.hooks import Hooks
from hybrid_infer.layers.breaker import Breaker
from hybrid_infer.layers.cold import Spell
from hybrid_infer.layers.retry import RetryBudget
from hybrid_infer.policies import budget_rules, cache_rules, elsewhere, kept_answers
from hybrid_infer.runtime.base import Leftovers, Runtime
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.settings import Settings
from hybrid_infer.telemetry.content import Content, Redact, wants_content
from hybrid_infer.telemetry.metrics import Metrics
from hybrid_infer.telemetry.spans import Spans
from hybrid_infer.transport import environment
from hybrid_infer.transport.base import Transport
from hybrid_infer.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from hybrid_infer.calls.records import Ids
    from hybrid_infer.layers.budget import Budget
    from hybrid_infer.layers.cache import Cache, CacheStore
    from hybrid_infer.layers.limits.layer import Limits
    from hybrid_infer.layers.limits.shared import SharedLimits
    from hybrid_infer.layers.single_flight import SingleFlight
    from hybrid_infer.prices.book import PriceBook
    from hybrid_infer.prices.meter import Meter
    from hybrid_infer.simulator.world import World
    from hybrid_infer.stores.ledger.writer import Ledger
    from hybrid_infer.stores.redis_shared import SharedRedis


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Where calls are written down, and how this client names them and itself."""

    ledger: Ledger
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all assemblies of one client are made from and share.

    Attributes:
        transport: makes the transport of an assembly.
        hooks: told of what happens to machines, and of where calls go.
        world: the simulated providers, where they are simulated.
        prices: loaded when the first price is asked for.
        leftovers: what finalisers may not do themselves.
        budget: what all calls together may repeat.
        shared: limits that several processes keep to together.
        spending: holds the budgets, where there are some.
        cache, flights: what answers nearer by, where that is on.
        redis: what several processes share it through, where there is one.
        books: the ledger, where there is one.
        machines: what is known of each machine, so that a switch neither forgets nor doubles it.
        turnout: where a share of the calls goes to another mode.
    """

    settings: Settings
    runtime: Runtime
    transport: Callable[[], Transport]
    hooks: Hooks
    world: World | None
    spans: Spans
    metrics: Metrics
    prices: Callable[[], PriceBook]
    leftovers: Leftovers
    budget: RetryBudget
    shared: SharedLimits[Any] | None
    spending: Budget | None
    cache: Cache | None
    flights: SingleFlight | None
    redis: SharedRedis | None
    books: Books | None
    machines: dict[tuple[Mode, str, str | None], Known] = field(
        default_factory=dict["tuple[Mode, str, str | None]", "Known"]
    )
    turnout: Turnout = field(default_factory=Turnout)


@dataclass(slots=True, kw_only=True)
class Known:
    """What the client has learnt of one machine, and holds of it."""

    breaker: Breaker
    limits: Limits | None
    meter: Meter | None
    spell: Spell
    leaving: str | None = None
    """Why calls that another target may answer go there first; see `Target.leaving`."""


def parts_of(
    settings: Settings,
    colour: Colour,
    hooks: Hooks,
    *,
    http_client: Any,
    world: World | None,
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    redact: Redact | None,
) -> Parts:
    """The parts of a new client."""
    runtime = colour.runtime
    limits = environment.Limits(
        connect_timeout=settings.connect_timeout,
        max_connections=settings.max_connections,
        max_keepalive=settings.max_keepalive,
        keepalive_expiry=settings.keepalive_expiry,
    )

    leftovers, prices = Leftovers(), functools.cache(partial(_price_book, settings))
    redis = None
    if settings.redis_url is not None:
        redis = colour.redis(settings.redis_url.get_secret_value(), runtime)

    def transport() -> Transport:
        return colour.transport(clock=runtime.now, limits=limits, environ=os.environ, http_client=http_client)

    return Parts(
        settings=settings,
        runtime=runtime,
        transport=transport,
        hooks=hooks,
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
        budget=RetryBudget(settings.retry_budget, runtime.guard()),
        shared=_limits_of_all(settings, redis),
        spending=_spending(settings, runtime, prices, leftovers, redis),
        cache=(cache := _cache(settings, runtime, prices, redis)),
        flights=None if cache is None else _flights(runtime),
        redis=redis,
        books=_books(settings),
    )


def renewed(parts: Parts) -> Parts:
    """In a forked process: calls in flight, and what was learnt of machines, are its parent's alone."""
    return replace(
        parts,
        leftovers=Leftovers(),
        budget=RetryBudget(parts.settings.retry_budget, parts.runtime.guard()),
        machines={},
        turnout=Turnout(),
        flights=None if parts.flights is None else _flights(parts.runtime),
    )


def _world(settings: Settings) -> World:
    """The simulated providers of one client."""
    from hybrid_infer.simulator.world import World  # a tenth of a second that nobody else pays

    faults = None
    if settings.simulate_faults is not None:
        from hybrid_infer.simulator.fault_file import read_faults

        faults = read_faults(settings.simulate_faults)
    return World(seed=settings.simulate_seed, dedicated=settings.simulate_dedicated, faults=faults)


def _limits_of_all(settings: Settings, redis: SharedRedis | None) -> SharedLimits[Any] | None:
    """Limits that several processes keep to together."""
    if redis is None:
        return None
    from hybrid_infer.stores.redis_limits import RedisLimits

    return RedisLimits(redis, prefix=settings.redis_prefix)


def _flights(runtime: Runtime) -> SingleFlight:
    from hybrid_infer.layers.single_flight import SingleFlight

    return SingleFlight(runtime, kept_answers())


def _spending(
    settings: Settings,
    runtime: Runtime,
    prices: Callable[[], PriceBook],
    leftovers: Leftovers,
    redis: SharedRedis | None,
) -> Budget | None:
    """What holds the budgets, where there are some. It outlives every switch."""
    if not settings.budgets:
        return None
    from hybrid_infer.layers.budget import Budget
    from hybrid_infer.stores.redis_budgets import RedisBudgets

    def today() -> date:
        return runtime.wall().date()

    return Budget(
        runtime,
        budget_rules(settings),
        expected=lambda target, usage: prices().expected(target, usage, at=today()),
        costs=lambda call: prices().cost(call.tally.attempts, at=today(), waits=call.tally.waits),
        leftovers=leftovers,
        shared=None if redis is None else RedisBudgets(redis, prefix=settings.redis_prefix),
    )


def _cache(
    settings: Settings, runtime: Runtime, prices: Callable[[], PriceBook], redis: SharedRedis | None
) -> Cache | None:
    """What gives answers again, where that is on. It outlives every switch."""
    store = _store(settings, runtime, redis)
    if store is None:
        return None
    from hybrid_infer.layers.cache import Cache

    return Cache(
        runtime,
        store,
        cache_rules(settings),
        kept_answers(),
        saved=lambda target, usage: prices().expected(target, usage, at=runtime.wall().date()),
    )


def _store(settings: Settings, runtime: Runtime, redis: SharedRedis | None) -> CacheStore | None:
    keep_stale = settings.cache_stale_if_error
    if settings.cache == "memory":
        from hybrid_infer.stores.cache_memory import MemoryCache

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


def _books(settings: Settings) -> Books | None:
    """Where calls are written down: one ledger for all clients of the process that name the file."""
    if settings.ledger is None:
        return None
    from hybrid_infer.calls.records import Ids
    from hybrid_infer.stores.ledger.writer import open_ledger

    ledger = open_ledger(settings.ledger, max_bytes=settings.ledger_max_bytes)
    return Books(ledger=ledger, ids=mend_after_fork(Ids(), Ids.renew))


def _price_book(settings: Settings) -> PriceBook:
    from hybrid_infer.prices.chosen import price_book

    return price_book(settings, others=elsewhere(settings))
