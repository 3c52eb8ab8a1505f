from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.simulator.exchange import Exchange, Request
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.world import World
from simulator.simulated import DEDICATED, MODAL, SERVERLESS, ask, finish, get, post

REQUESTS: dict[str, tuple[Any, Any]] = {
    "serverless": ("together", post(model=SERVERLESS)),
    "serverless stream": ("together", post(model=SERVERLESS, stream=True)),
    "dedicated": ("together", post(model=DEDICATED)),
    "dedicated stream": ("together", post(model=DEDICATED, stream=True)),
    "modal": ("modal", post(model=MODAL)),
    "modal stream": ("modal", post(model=MODAL, stream=True)),
    "modal probe": ("modal", get("/health")),
    "modal stranger": ("modal", get("/health", headers={})),
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*REQUESTS, "poll", "cancel", "drop", "stop", "start"]),
        st.integers(0, 9),
        st.sampled_from([0.0, 0.001, 0.05, 1.0, 30.0, 100.0]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(STEPS, st.integers(0, 3))
def test_any_interleaving_keeps_the_books(steps: list[tuple[str, int, float]], seed: int) -> None:
    """No slot is lost, and machines are billed for at least the time they work."""
    world = World(seed=seed, modal=ModalPlan(concurrency=2))
    now, exchanges = 5.0, list[Exchange]()
    for what, index, passed in steps:
        now += passed
        if what in REQUESTS:
            exchanges.append(world.receive(*REQUESTS[what], now))
        elif what == "start":
            world.start_dedicated(now)
        elif what == "stop":
            world.stop_dedicated(now)
        elif index < len(exchanges):
            if what == "poll":
                exchanges[index].poll(now)
            elif what == "cancel":
                exchanges[index].cancel(now)
            else:
                world.dropped.append(exchanges[index])
        invoice, machines = world.invoice(now), world.machines(now)
        for use in (invoice.modal, *invoice.dedicated):
            assert use.seconds >= use.busy_seconds - 1e-6
        assert machines.container_requests <= 2 * machines.containers_ready
    for exchange in exchanges:
        if not exchange.cancelled:
            now = max(now, finish(exchange, now).last)
    machines = world.machines(now)
    assert machines.container_requests == 0
    assert all(endpoint.requests == 0 for endpoint in machines.endpoints)
    later = now + 90.0  # a cold start and the window
    assert world.machines(later).containers_ready == 0
    assert world.invoice(later).modal.seconds == world.invoice(now + 9999.0).modal.seconds


@settings(deadline=None)
@given(
    st.sampled_from(["serverless stream", "dedicated stream", "serverless", "dedicated"]),
    st.lists(st.floats(0, 0.3), max_size=30),
)
def test_the_times_of_polls_change_nothing_in_the_answer(what: str, waits: list[float]) -> None:
    expected = finish(World().receive(*REQUESTS[what], 0.0), 0.0)
    exchange, now, pieces = World().receive(*REQUESTS[what], 0.0), 0.0, list[bytes]()
    for wait in waits:
        now += wait
        pieces += exchange.poll(now).pieces
    step = exchange.poll(now)
    pieces += step.pieces
    rest = b"" if step.done else finish(exchange, now).body
    assert b"".join(pieces) + rest == expected.body


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["user", "auto", "json_schema"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "name", "parameters", "schema"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = ["messages", "tools", "tool_choice", "response_format", "stream", "n", "stop", "max_tokens", "model"]
GOOD = {"model": SERVERLESS, "messages": [{"role": "user", "content": "Hi"}]}


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
def test_whatever_is_sent_is_answered_or_refused(fields: dict[str, Any], good: bool) -> None:
    body = json.dumps({**GOOD, **fields} if good else fields).encode()
    template = post()
    request = Request(method="POST", path=template.path, headers=template.headers, body=body)
    assert ask(World(), "together", request).status in (200, 400)
    assert ask(World(), "modal", request, mode="openai-compatible").status in (200, 400)


def test_the_same_seed_gives_the_same_answers_at_the_same_times() -> None:
    def story(seed: int) -> list[Any]:
        world = World(seed=seed)
        times = (0.0, 1.0, 30.0, 31.0)
        return [ask(world, *REQUESTS[what], now) for now, what in zip(times, REQUESTS, strict=False)]

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_the_clock_of_the_carrier_may_begin_anywhere() -> None:
    early, late = ask(World(), *REQUESTS["dedicated"], 0.0), ask(World(), *REQUESTS["dedicated"], 1e6)
    assert early.body == late.body
    assert abs((late.last - 1e6) - early.last) < 1e-6


def test_many_dropped_exchanges_are_cancelled_at_the_next_access() -> None:
    world = World()
    for _ in range(3000):
        world.dropped.append(world.receive(*REQUESTS["dedicated"], 0.0))
    (endpoint,) = world.machines(0.0).endpoints
    assert endpoint.requests == 0


def test_a_cancelled_exchange_says_no_more() -> None:
    exchange = World().receive(*REQUESTS["serverless stream"], 0.0)
    exchange.cancel(0.1)
    step = exchange.poll(100.0)
    assert (step.status, step.pieces, step.wake, step.done) == (None, (), None, True)


def test_refused_requests_are_seen_but_not_billed() -> None:
    world = World(dedicated="stopped")
    ask(world, *REQUESTS["dedicated"])
    ask(world, *REQUESTS["modal stranger"])
    ask(world, "together", post(headers={}))
    invoice = world.invoice(100.0)
    assert (invoice.dedicated_requests, invoice.modal_requests, invoice.serverless_requests) == (1, 1, 1)
    assert invoice.serverless == ()
    assert (invoice.dedicated[0].seconds, invoice.modal.seconds) == (0.0, 0.0)
