"""A target that failed lately is left alone, and is back soon after it has recovered."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.reply import Facts, Reply
from hybrid_infer.errors import (
    APIError,
    APITimeoutError,
    BadRequestError,
    CircuitOpenError,
    ColdError,
    DeadlineExceededError,
    InternalServerError,
    RateLimitError,
    SaturatedError,
    StreamError,
)
from hybrid_infer.layers.breaker import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MINIMUM,
    OLDEST,
    SILENCE,
    WINDOW,
    Breaker,
    CircuitBreaker,
    Pass,
)
from layers.bench import TARGET, Bench, Stream, ask, read


def passed(circuit: CircuitBreaker, now: float) -> Pass:
    given = circuit.admit(now)
    assert isinstance(given, Pass), f"refused for {given} s"
    return given


def refused(circuit: CircuitBreaker, now: float) -> float:
    seconds = circuit.admit(now)
    assert not isinstance(seconds, Pass)
    return seconds


def opened(now: float = 0.0) -> CircuitBreaker:
    circuit = CircuitBreaker()
    for _ in range(MINIMUM):
        circuit.record(passed(circuit, now), False, now)
    return circuit


def test_it_opens_at_half_of_at_least_ten_calls() -> None:
    circuit = CircuitBreaker()
    for ok in [True] * 5 + [False] * 4:
        circuit.record(passed(circuit, 1.0), ok, 1.0)
    last = passed(circuit, 1.0)
    circuit.record(last, False, 1.0)
    assert refused(circuit, 2.0) == FIRST_PAUSE - 1.0
    assert circuit.state == "open"


def test_where_calls_are_many_what_is_older_than_the_window_does_not_count() -> None:
    circuit = CircuitBreaker()
    for _ in range(MINIMUM - 1):
        circuit.record(passed(circuit, 0.0), False, 0.0)
    for ok in [True] * MINIMUM + [False] * (MINIMUM - 1):
        circuit.record(passed(circuit, WINDOW + 1), ok, WINDOW + 1)
    assert circuit.counts == (MINIMUM - 1, 2 * MINIMUM - 1)
    assert circuit.state == "closed"


def test_where_calls_are_few_the_last_ten_decide() -> None:
    """One call a minute: the target that fails them all is not tried first for ever."""
    circuit, now = CircuitBreaker(), 0.0
    for _ in range(MINIMUM):
        circuit.record(passed(circuit, now), False, now)
        now += OLDEST / MINIMUM
    assert circuit.state == "open"


def test_a_failure_of_long_ago_counts_nowhere() -> None:
    circuit = CircuitBreaker()
    for _ in range(MINIMUM - 1):
        circuit.record(passed(circuit, 0.0), False, 0.0)
    circuit.record(passed(circuit, OLDEST + 1), False, OLDEST + 1)
    assert circuit.state == "closed"


def test_half_open_lets_one_probe_pass_at_a_time() -> None:
    circuit = opened()
    probe = passed(circuit, FIRST_PAUSE)
    assert refused(circuit, FIRST_PAUSE) == SILENCE
    circuit.record(probe, True, FIRST_PAUSE + 1)
    assert passed(circuit, FIRST_PAUSE + 1) is passed(circuit, FIRST_PAUSE + 1)
    assert circuit.state == "closed"


def test_pauses_grow_while_probes_fail_and_begin_anew_after_a_success() -> None:
    circuit, now, pauses = opened(), 0.0, []
    for _ in range(4):
        pauses.append(refused(circuit, now))
        now += pauses[-1]
        circuit.record(passed(circuit, now), False, now)
    assert pauses == [5.0, 10.0, 15.0, 15.0]
    now += LONGEST_PAUSE
    circuit.record(passed(circuit, now), True, now)
    for _ in range(MINIMUM):
        circuit.record(passed(circuit, now), False, now)
    assert refused(circuit, now) == FIRST_PAUSE


@pytest.mark.parametrize("silent", [False, True])
def test_a_probe_that_tells_nothing_frees_the_place(silent: bool) -> None:
    """At once when it ends so (cancelled, 429), after a while when it never ends."""
    circuit = opened()
    probe = passed(circuit, FIRST_PAUSE)
    if silent:
        second = passed(circuit, FIRST_PAUSE + SILENCE)
    else:
        circuit.record(probe, None, FIRST_PAUSE)
        second = passed(circuit, FIRST_PAUSE)
    assert second is not probe


def test_a_slow_probe_closes_it_even_when_another_is_under_way() -> None:
    circuit = opened()
    slow = passed(circuit, FIRST_PAUSE)
    passed(circuit, FIRST_PAUSE + SILENCE)
    circuit.record(slow, True, FIRST_PAUSE + SILENCE + 1)
    assert circuit.state == "closed"


def test_calls_from_before_it_opened_say_nothing_about_after() -> None:
    circuit = CircuitBreaker()
    old = passed(circuit, 0.0)
    for _ in range(MINIMUM):
        circuit.record(passed(circuit, 0.0), False, 0.0)
    circuit.record(old, True, 1.0)
    assert refused(circuit, 1.0) == FIRST_PAUSE - 1.0
    probe = passed(circuit, FIRST_PAUSE)
    circuit.record(old, False, FIRST_PAUSE)
    circuit.record(probe, True, FIRST_PAUSE)
    assert circuit.state == "closed"


@given(st.lists(st.tuples(st.sampled_from(["call", "ok", "fail", "neutral", "wait"]), st.integers(0, 9)))
)  # fmt: skip
def test_whatever_happened_it_is_tried_again_and_closes(steps: list[tuple[str, int]]) -> None:
    """Nothing that calls do or leave undone keeps it open for longer than a pause and a silence."""
    circuit, now, open_calls = CircuitBreaker(), 0.0, list[Pass]()
    for what, number in steps * 8:
        now += number / 3 if what == "wait" else 0.0
        if what == "call":
            answer = circuit.admit(now)
            if isinstance(answer, Pass):
                open_calls.append(answer)
            else:
                assert 0 < answer <= LONGEST_PAUSE + 1e-9
        elif open_calls and what != "wait":
            ok = {"ok": True, "fail": False, "neutral": None}[what]
            circuit.record(open_calls.pop(number % len(open_calls)), ok, now)
    now += LONGEST_PAUSE
    circuit.record(passed(circuit, now), True, now)
    passed(circuit, now)
    passed(circuit, now)


@given(st.integers(0, 10_000))
def test_a_target_that_recovers_has_its_calls_back_within_30_s(seed: int) -> None:
    """Calls come ten a second; while it is down some fail after a while and some say nothing for a minute."""
    chance = random.Random(seed)
    circuit, recovers = CircuitBreaker(), chance.uniform(5, 120)
    ends: list[tuple[float, Pass, bool]] = []
    now = 0.0
    while now < recovers + 30:
        now += 0.1
        for end in [end for end in ends if end[0] <= now]:
            ends.remove(end)
            circuit.record(end[1], end[2], end[0])
        given = circuit.admit(now)
        if isinstance(given, Pass):
            up = now >= recovers
            ends.append((now + (0.5 if up else chance.choice([0.01, 9.0, 60.0])), given, up))
    assert circuit.state == "closed"


FAILURES = [InternalServerError("500", status=500), APITimeoutError("slow"), StreamError("cut")]
NEUTRAL = [
    BadRequestError("400", status=400),
    RateLimitError("429", status=429),
    ColdError("cold", status=503),
    SaturatedError("our own limit"),
    DeadlineExceededError("its own deadline"),
]


def named(error: APIError) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", FAILURES, ids=named)
async def test_a_target_that_fails_is_left_alone(bench: Bench, error: APIError) -> None:
    machine = bench.machine(seconds=0.0)
    machine.outcome = lambda: error
    serve = bench.serve(Breaker(bench.runtime, TARGET), machine)
    for _ in range(MINIMUM):
        with pytest.raises(type(error)):
            await serve(ask())
    with pytest.raises(CircuitOpenError, match="modal/llm failed 10 of its last 10 calls") as caught:
        await serve(ask())
    assert len(machine.began) == MINIMUM
    assert caught.value.target == TARGET.name
    assert caught.value.retry_after == pytest.approx(FIRST_PAUSE)
    assert caught.value.hint


@pytest.mark.parametrize("error", NEUTRAL, ids=named)
async def test_what_is_not_the_targets_fault_never_opens_it(bench: Bench, error: APIError) -> None:
    machine = bench.machine(seconds=0.0)
    machine.outcome = lambda: error
    breaker = Breaker(bench.runtime, TARGET)
    serve = bench.serve(breaker, machine)
    for _ in range(5 * MINIMUM):
        with pytest.raises(type(error)):
            await serve(ask())
    assert "closed: 0 of 0" in repr(breaker)


async def test_a_stream_counts_when_it_ends(bench: Bench) -> None:
    """Well: an answer. Broken later: a failure. Dropped by its reader: neither."""
    machine = bench.machine(seconds=0.0)
    breaker = Breaker(bench.runtime, TARGET)
    serve = bench.serve(breaker, machine)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime))
    await read(await serve(ask()))
    assert "0 of 1" in repr(breaker)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime, error=StreamError("cut")))
    with pytest.raises(StreamError):
        await read(await serve(ask()))
    assert "1 of 2" in repr(breaker)
    (await serve(ask())).abandon()
    await (await serve(ask())).aclose()
    assert "1 of 2" in repr(breaker)


async def test_the_probes_stream_closes_it_as_soon_as_it_has_begun(bench: Bench) -> None:
    machine = bench.machine(seconds=0.0)
    machine.outcome = lambda: InternalServerError("500", status=500)
    breaker = Breaker(bench.runtime, TARGET)
    serve = bench.serve(breaker, machine)
    for _ in range(MINIMUM):
        with pytest.raises(InternalServerError):
            await serve(ask())
    await bench.runtime.sleep(FIRST_PAUSE)
    machine.outcome = lambda: Reply(facts=Facts(), source=Stream(bench.runtime, error=StreamError("cut")))
    probe = await serve(ask())
    await serve(ask())
    with pytest.raises(StreamError):
        await read(probe)
    assert "closed: 1 of 1" in repr(breaker), "from then on it counts like any other call"


async def test_many_callers_probe_once(bench: Bench) -> None:
    machine = bench.machine(seconds=2.0)
    machine.outcome = lambda: InternalServerError("500", status=500)
    serve = bench.serve(Breaker(bench.runtime, TARGET), machine)
    await bench.together(*[lambda: serve(ask())] * MINIMUM)
    await bench.runtime.sleep(FIRST_PAUSE)
    machine.outcome = lambda: None
    outcomes = await bench.together(*[lambda: serve(ask())] * 20)
    assert len(machine.began) == MINIMUM + 1
    assert sum(isinstance(outcome, Reply) for outcome in outcomes) == 1
    outcomes = await bench.together(*[lambda: serve(ask())] * 20)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
