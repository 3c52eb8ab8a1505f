"""The simulator's own invoice is what the meter attributed and called idle."""

from __future__ import annotations

import random
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_infer.calls.machines import MachineReport
from hybrid_infer.prices.account import Stay, Terms
from hybrid_infer.prices.meter import Meter
from hybrid_infer.simulator.dedicated import Endpoint, EndpointPlan
from hybrid_infer.simulator.exchange import Work
from hybrid_infer.simulator.modal import ModalPlan, ModalServer

NANO = 10**9
POLL = 1.0
"""Seconds between two looks at the state of a machine, as a control plane gives it."""

HOURLY = 5_490_000_000
STEPS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 9), st.integers(50, 900)), max_size=40)
"""Seconds that pass, what happens then, and how many tokens an answer has."""


def total(report: MachineReport) -> float:
    """What the parts come to, having checked that they are all there is."""
    assert report.idle is not None
    assert report.total is not None
    parts = (report.attributed, report.cold_start, report.idle)
    assert sum(share.ns for share in parts) == report.total.ns
    assert sum(share.nano or 0 for share in parts) == report.total.nano
    return report.total.seconds


class Calls:
    """Calls of one client on a machine: they leave when their answer is complete."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.inside: list[tuple[Stay, Work, int]] = []
        self.told = 0

    def begin(self, work: Work, tokens: int, now: float) -> None:
        self.inside.append((self.meter.enter(now), work, tokens))

    def advance(self, now: float, *, cancel: bool = False) -> None:
        still: list[tuple[Stay, Work, int]] = []
        for stay, work, tokens in self.inside:
            if cancel and not still:
                work.cancel(now)
            elif work.produced(now) < tokens:
                still.append((stay, work, tokens))
                continue
            self.meter.leave(stay, now)
            self.told += stay.nano or 0
        self.inside = still


@given(STEPS)
def test_an_invoice_of_together_is_met_to_the_nano_dollar_where_the_state_is_known(
    steps: list[tuple[int, int, int]],
) -> None:
    """Started and stopped by hand, at known moments; the work is drained before it stops."""
    endpoint = Endpoint("8b", EndpointPlan(), "stopped", random.Random(0), 0.0)
    meter = Meter(threading.Lock(), Terms(nano_per_hour=HOURLY))
    meter.state(0, now=0.0)
    calls, now, up = Calls(meter), 0.0, False
    for wait, choice, tokens in steps:
        now += float(wait)
        calls.advance(now, cancel=choice == 7)
        if up and choice < 7:
            calls.begin(endpoint.begin(400, tokens, now), tokens, now)
        elif choice == 8 and not up:
            endpoint.make_ready(now)
            meter.state(1, now=now)
            up = True
        elif choice == 9 and not calls.inside:
            endpoint.stop(now)
            meter.state(0, now=now)
            up = False
    now += 10_000.0
    calls.advance(now)
    report = meter.report(now)
    assert total(report) == endpoint.use(now).seconds
    assert not calls.inside
    assert calls.told == report.attributed.nano
    assert not report.estimated


@given(STEPS, st.integers(0, 9))
@settings(max_examples=30)
def test_an_invoice_of_together_is_met_by_looking_at_its_state(
    steps: list[tuple[int, int, int]], seed: int
) -> None:
    """Every start and stop is seen late by one look at most."""
    endpoint = Endpoint("70b", EndpointPlan(), "starting", random.Random(seed), 0.0)
    meter = Meter(threading.Lock(), Terms(nano_per_hour=HOURLY))
    calls, now, changes, before = Calls(meter), 0.0, 1, ""

    def look() -> None:
        nonlocal changes, before
        state = endpoint.state(now)
        changes += state != before
        before = state
        serves = state in ("READY", "STOPPING")
        meter.state(int(serves), int(state in ("PROVISIONING", "SCALING")), now=now)
        calls.advance(now)

    for wait, choice, tokens in [(400, 1, 100), *steps]:
        for _ in range(wait):
            look()
            now += POLL
        look()
        if endpoint.refusal(now) is None:
            calls.begin(endpoint.begin(800, tokens, now), tokens, now)
        elif choice < 5:
            endpoint.start(now)
        if choice == 9:
            endpoint.stop(now)
    look()
    report = meter.report(now)
    assert abs(total(report) - endpoint.use(now).seconds) <= POLL * changes


@given(STEPS, st.integers(0, 9), st.integers(1, 3))
@settings(max_examples=30)
def test_an_invoice_of_modal_is_met_within_a_tenth_and_called_an_estimate(
    steps: list[tuple[int, int, int]], seed: int, containers: int
) -> None:
    """Containers come up on demand, a second when the first is full, and go 60 s after their last call.

    From the calls alone a second container cannot be seen, which Modal starts before it is needed: so that is
    promised where there is one at most, and where the state is followed for any number.
    """
    chance = random.Random(seed)
    server = ModalServer(ModalPlan(concurrency=3, max_containers=containers), lambda _: chance)
    terms = Terms(
        nano_per_hour=HOURLY, cold_start=True, window=60.0, concurrency=3, estimated="seen from afar"
    )
    followed, alone = Meter(threading.Lock(), terms), Meter(threading.Lock(), terms)
    both = [Calls(followed), Calls(alone)]
    waiting: list[list[Stay]] = [[], []]
    now = 0.0

    def look() -> None:
        starting, ready, _ = server.containers(now)
        followed.state(ready, starting, now=now)
        for calls, stays in zip(both, waiting, strict=True):
            calls.advance(now)
            if ready:
                for stay in stays:
                    calls.meter.leave(stay, now)
                stays.clear()

    for wait, _, tokens in [*steps, (0, 0, 100)]:
        for _ in range(wait * 2):
            look()
            now += POLL / 2
        look()
        work = server.begin("8b", 400, tokens, now)
        if work == "cold":
            for calls, stays in zip(both, waiting, strict=True):
                stays.append(calls.meter.wait(now))
        elif not isinstance(work, str):
            for calls in both:
                calls.begin(work, tokens, now)
    for _ in range(1_000):
        look()
        now += POLL / 2
    billed = server.use(now).seconds
    for calls in both if containers == 1 else both[:1]:
        report = calls.meter.report(now)
        assert abs(total(report) - billed) <= 0.1 * billed
        assert report.estimated
