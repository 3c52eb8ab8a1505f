"""Admission: the order is kept, the limits hold, and no slot is ever lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hybrid_infer.layers.limits.admission import PASSED_OVER, Admission, Refusal, Ticket
from hybrid_infer.layers.limits.gate import Gate
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.runtime.base import Guard
from hybrid_infer.runtime.virtual import VirtualThreads


def admit_all(admission: Admission, now: float) -> list[Ticket]:
    admitted: list[Ticket] = []
    while (ticket := admission.admit(now)) is not None:
        admitted.append(ticket)
    return admitted


def test_interactive_calls_go_before_batch() -> None:
    admission = Admission(LimitPolicy(in_flight=1))
    first = Ticket()
    admission.arrive(first, 0.0)
    batch, interactive = Ticket(priority="batch"), Ticket()
    admission.arrive(batch, 1.0)
    admission.arrive(interactive, 2.0)
    admission.leave(first, 3.0)
    assert admit_all(admission, 3.0) == [interactive]


def test_batch_is_passed_over_twenty_times_and_then_goes() -> None:
    admission = Admission(LimitPolicy(in_flight=1))
    inside, batch = Ticket(), Ticket(priority="batch")
    admission.arrive(inside, 0.0)
    admission.arrive(batch, 0.0)
    passed = 0
    while batch.began is None:
        admission.arrive(Ticket(), 0.0)
        admission.leave(inside, 0.0)
        (inside,) = admit_all(admission, 0.0)
        passed += inside is not batch
    assert passed == PASSED_OVER


def test_nobody_overtakes_a_head_that_needs_more_tokens() -> None:
    admission = Admission(LimitPolicy(tokens_per_minute=600))
    admission.arrive(Ticket(tokens=20), 0.0)
    large, small = Ticket(tokens=20), Ticket(tokens=1)
    admission.arrive(large, 0.0)
    admission.arrive(small, 1.0)
    assert small.began is None, "there are ten tokens, and it needs one"
    assert admit_all(admission, 1.0) == []
    assert admission.opens(1.0) == 2.0
    assert admit_all(admission, 2.0) == [large]
    assert admit_all(admission, 2.1) == [small]


def test_a_wait_that_cannot_fit_is_refused_at_once_and_says_when_there_is_room() -> None:
    admission = Admission(LimitPolicy(requests_per_minute=6))
    admission.arrive(Ticket(), 0.0)
    late = Ticket(end=5.0)
    admission.arrive(late, 0.0)
    refusal = admission.refusal(late, 0.0)
    assert refusal is not None
    assert refusal.after == 10.0


def test_a_hopeless_place_in_the_queue_is_refused_at_once() -> None:
    """With a mean stay of 10 s and one slot, the third in the queue waits 30 s as it seems."""
    admission = Admission(LimitPolicy(in_flight=1))
    ended = Ticket()
    admission.arrive(ended, 0.0)
    admission.leave(ended, 10.0)
    admission.learn(ended, 10.0, "answered", None)
    admission.arrive(Ticket(), 10.0)
    ends = [25.0, 25.0, 24.0, 26.0]
    waiting = [Ticket(end=end) for end in ends]
    outcomes = []
    for ticket in waiting:
        admission.arrive(ticket, 10.0)
        refusal = admission.refusal(ticket, 10.0)
        outcomes.append(refusal is None)
        if refusal is not None:
            admission.leave(ticket, 10.0)
    assert outcomes == [True, True, False, True]


def test_predicted_wait_is_that_of_the_queue_ahead_or_of_the_rates() -> None:
    admission = Admission(LimitPolicy(in_flight=2, requests_per_minute=60))
    assert admission.predicted_wait(0.0) == 0.0
    first = Ticket()
    admission.arrive(first, 0.0)
    admission.leave(first, 8.0)
    admission.learn(first, 8.0, "answered", None)
    assert admission.predicted_wait(8.0) == 0.0
    for _ in range(2):
        admission.arrive(Ticket(), 20.0)
    assert admission.predicted_wait(100.0) == 1 * 8 / 2
    for priority in ("interactive", "batch", "interactive"):
        admission.arrive(Ticket(priority=priority), 100.0)
    assert admission.predicted_wait(100.0) == 3 * 8 / 2, "batch calls wait behind a new interactive one"
    rates = Admission(LimitPolicy(requests_per_minute=6))
    rates.arrive(Ticket(), 0.0)
    rates.arrive(Ticket(), 0.0)
    assert rates.predicted_wait(0.0) == 20.0


def test_what_was_never_sent_takes_nothing_of_the_rates() -> None:
    admission = Admission(LimitPolicy(requests_per_minute=6, tokens_per_minute=60))
    for _ in range(10):
        ticket = Ticket(tokens=500)
        admission.arrive(ticket, 0.0)
        assert ticket.began == 0.0
        admission.leave(ticket, 0.0)
        admission.learn(ticket, 0.0, "unsent", None)


class CutIn:
    """A real lock; something may cut in just before its release, as a finaliser or another thread does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cut_in: Callable[[], None] | None = None

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        cut_in, self.cut_in = self.cut_in, None
        if cut_in is not None:
            cut_in()
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.release()


class Clock(VirtualThreads):
    """A clock to set, guards that can be cut into, and promises that only remember."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.cut = CutIn()

    def now(self) -> float:
        return self.time

    def guard(self) -> Guard:
        return self.cut


class Kept:
    def __init__(self) -> None:
        self.kept = False

    async def wait(self, timeout: float) -> bool:
        return self.kept

    def keep(self) -> None:
        self.kept = True


def test_one_that_asks_the_store_and_leaves_lets_the_next_one_ask() -> None:
    admission = Admission(LimitPolicy(in_flight=5), one_asks=True)
    first, second = Ticket(), Ticket()
    admission.arrive(first, 0.0)
    admission.arrive(second, 0.0)
    assert admit_all(admission, 0.0) == []
    admission.leave(first, 1.0)
    assert admit_all(admission, 1.0) == [second]


def test_a_slot_given_back_unseen_goes_to_the_queue_even_when_the_next_call_is_refused() -> None:
    clock = Clock()
    gate = Gate(clock, Admission(LimitPolicy(in_flight=1, max_queue=1)))
    inside, waiting, promise = Ticket(), Ticket(), Kept()
    gate.enter(inside)
    gate.enter(waiting)
    assert gate.look(waiting, promise) == float("inf")
    with clock.cut:
        gate.leave(inside, "answered")
        assert not promise.kept
    gate.enter(Ticket())
    assert promise.kept
    assert waiting.began is not None


class Crowd(RuleBasedStateMachine):
    """Calls arrive, end, are cancelled and collected in any order, some while the gate's guard is held.

    A caller looks again only when its promise is kept or its time has come: what nobody wakes is lost.
    """

    LIMIT, QUEUE = 2, 4

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        policy = LimitPolicy(
            in_flight=self.LIMIT, requests_per_minute=60, tokens_per_minute=600, max_queue=self.QUEUE
        )
        self.admission = Admission(policy)
        self.gate = Gate(self.clock, self.admission)
        self.waiting: dict[Ticket, tuple[Kept, float]] = {}
        self.inside: list[Ticket] = []
        self.order: list[Ticket] = []

    def admitted(self, ticket: Ticket) -> None:
        for earlier in self.waiting:
            if earlier.began is None and earlier.priority == ticket.priority:
                assert self.order.index(earlier) > self.order.index(ticket), "first come, first served"
        self.waiting.pop(ticket, None)
        self.inside.append(ticket)

    def look(self, ticket: Ticket) -> None:
        promise = Kept()
        answer = self.gate.look(ticket, promise)
        if answer is None:
            self.admitted(ticket)
        elif isinstance(answer, Refusal):
            assert ticket.end < float("inf"), "who has time is not refused"
            self.waiting.pop(ticket, None)
            self.gate.leave(ticket, "unsent")
        else:
            self.waiting[ticket] = (promise, self.clock.time + answer)

    def wake(self) -> None:
        """Let everybody go on who can."""
        while True:
            due = [
                ticket
                for ticket, (promise, at) in self.waiting.items()
                if promise.kept or at <= self.clock.time
            ]
            if not due:
                return
            # In the order of the queue: tasks that are woken at once run in that order too.
            self.look(min(due, key=lambda ticket: (ticket.began is None, self.order.index(ticket))))

    @rule(batch=st.booleans(), tokens=st.sampled_from([0.0, 1.0, 30.0]), patience=st.sampled_from([1.0, 1e9]))
    def arrive(self, batch: bool, tokens: float, patience: float) -> None:
        end = float("inf") if patience > 1e6 else self.clock.time + patience
        ticket = Ticket(priority="batch" if batch else "interactive", tokens=tokens, end=end)
        self.order.append(ticket)
        full = self.admission.waiting >= self.QUEUE
        refusal = self.gate.enter(ticket)
        if refusal is not None:
            assert full or patience < 1e6
            self.gate.leave(ticket, "unsent")
        elif ticket.began is not None:
            self.admitted(ticket)
        else:
            self.look(ticket)
        self.wake()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        ticket = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        self.gate.leave(ticket, data.draw(st.sampled_from(["answered", "unbilled", "unsent", "unknown"])))
        self.gate.leave(ticket, "unknown")  # harmless
        self.wake()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(list(self.waiting)))
        del self.waiting[ticket]
        self.gate.leave(ticket, "unsent")
        self.wake()

    @precondition(lambda self: self.inside)
    @rule(batch=st.booleans())
    def collect_while_another_holds_the_guard(self, batch: bool) -> None:
        collected = self.inside.pop()
        self.clock.cut.cut_in = lambda: self.gate.leave(collected, "unknown")
        self.arrive(batch, 0.0, 1e9)

    @precondition(lambda self: self.inside and self.waiting)
    @rule(data=st.data())
    def grant_just_as_it_is_cancelled(self, data: st.DataObject) -> None:
        self.gate.leave(self.inside.pop(0), "answered")
        ticket = data.draw(st.sampled_from(list(self.waiting)))
        del self.waiting[ticket]
        self.gate.leave(ticket, "unsent")
        self.wake()

    @rule(seconds=st.floats(0, 20))
    def pass_time(self, seconds: float) -> None:
        """From one moment at which somebody looks by himself to the next."""
        until = self.clock.time + seconds
        while True:
            at = min((at for _, at in self.waiting.values()), default=until)
            self.clock.time = max(self.clock.time, min(at, until))
            self.wake()
            if at >= until:
                return

    @invariant()
    def limits_hold_and_the_books_are_right(self) -> None:
        assert len(self.inside) == self.admission.in_flight <= self.LIMIT
        assert self.admission.waiting == len(self.waiting) <= self.QUEUE
        assert self.gate.predicted_wait() >= 0.0

    def teardown(self) -> None:
        """Once those inside leave, everybody who waits has his turn; then all slots are free."""
        for _ in range(len(self.order) + 1):
            while self.inside:
                self.gate.leave(self.inside.pop(), "answered")
                self.wake()
            self.pass_time(1000)
        assert not self.waiting
        assert self.admission.in_flight == 0
        assert self.admission.waiting == 0


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
