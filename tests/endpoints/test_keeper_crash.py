"""A process may be killed between any two steps: the next one finishes or undoes what it began."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints.machines import MACHINE, Killed, Process, Stage, play
from hybrid_infer.endpoints.errors import EndpointConflictError, EndpointUnreachableError
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.stores.leases.base import Lease

MOST_STEPS = 60


async def hold(stage: Stage, process: Process) -> None:
    await process.hold(2)


async def release(stage: Stage, process: Process) -> None:
    first = stage.process("a")
    lease = await first.hold(2)
    await process.keeper.release(lease)


async def raise_and_lower(stage: Stage, process: Process) -> None:
    first = stage.process("a")
    await first.hold(2)
    lease = await process.hold(4)
    await process.hold(3)
    await process.keeper.release(lease)


async def renew_too_late(stage: Stage, process: Process) -> None:
    lease = await stage.process("a").hold(2, 10.0)
    await stage.later(11)
    await stage.process("b").keeper.sweep()
    await process.keeper.renew(lease, 600.0)


async def sweep(stage: Stage, process: Process) -> None:
    first = stage.process("a")
    await first.hold(2, 10.0)
    await first.hold(3, 20.0)
    await stage.later(15)
    await process.keeper.sweep()
    await stage.later(10)
    await process.keeper.sweep()


async def fail(stage: Stage, process: Process) -> None:
    """The provider makes the change, and its answer is lost."""
    stage.provider.failing = EndpointUnreachableError("no answer", where=MACHINE)
    try:
        await process.hold(2)
    except EndpointUnreachableError:
        pass


async def give_everything_back(stage: Stage, process: Process) -> None:
    await process.hold(3)
    await process.hold(2)
    await process.keeper.release_all()


SCENARIOS = [hold, release, raise_and_lower, renew_too_late, sweep, fail, give_everything_back]
Scenario = Callable[[Stage, Process], Coroutine[Any, Any, None]]


async def killed(scenario: Scenario, stage: Stage, dies: int) -> bool:
    """Whether it was, before that step; with `dies` beyond the last step it was not."""
    try:
        await scenario(stage, stage.process("doomed", dies=dies))
    except Killed:
        return True
    return False


@pytest.mark.parametrize("original", [0, 1])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_after_a_kill_nothing_stays_up_beyond_its_lease(
    colour: str, scenario: Scenario, original: int
) -> None:
    """Killed before each step in turn; so is, in each of its steps, the process that tidies up."""
    for dies in range(MOST_STEPS):
        for dies_again in range(MOST_STEPS):
            stage = Stage(colour, minimum=original, fails_late=True)
            more = await killed(scenario, stage, dies)
            await stage.later(1000)
            stage.provider.failing = None
            try:
                await stage.process("second", dies=dies_again).keeper.sweep()
                again = False
            except Killed:
                again = True
            swept = await stage.process("third").keeper.sweep()
            assert swept.problems == ()
            assert (stage.provider.minimum, await stage.clean()) == (original, True), (dies, dies_again)
            if not again:
                break
        else:
            pytest.fail("it never ended")
        if not more:
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_after_a_kill_what_somebody_else_set_stays(colour: str, scenario: Scenario) -> None:
    for dies in range(MOST_STEPS):
        stage = Stage(colour, fails_late=True)
        more = await killed(scenario, stage, dies)
        await stage.later(1000)
        stage.change(7)
        await stage.process("second").keeper.sweep()
        assert (stage.provider.minimum, await stage.clean()) == (7, True), dies
        if not more:
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_kill_takes_the_machine_from_nobody(colour: str, scenario: Scenario) -> None:
    """Who holds one replica has it all the while; and from the end of the others' leases on, not more."""
    for dies in range(MOST_STEPS):
        stage = Stage(colour, fails_late=True)
        other = stage.process("other")
        lease = await other.hold(1, 3000.0)
        more = await killed(scenario, stage, dies)
        await stage.later(1000)
        stage.provider.failing = None
        await other.keeper.sweep()
        assert min(replicas for _, replicas, _ in stage.provider.changes) >= 1, dies
        assert stage.provider.minimum == 1, dies
        await other.keeper.release(lease)
        assert (stage.provider.minimum, await stage.clean()) == (0, True), dies
        if not more:
            return
    pytest.fail("it never ended")


async def test_a_stop_that_was_killed_is_finished_or_undone(colour: str) -> None:
    """The minimum is 0 in the end, or what it was before; leases are none."""
    seen = set[int]()
    for dies in range(MOST_STEPS):
        stage = Stage(colour, minimum=1)
        await stage.process("a").hold(3)
        doomed = stage.process("doomed", dies=dies)
        try:
            await doomed.keeper.stop(MACHINE, force=True)
            more = False
        except Killed:
            more = True
        await stage.later(1000)
        await stage.process("second").keeper.sweep()
        assert await stage.clean(), dies
        seen.add(stage.provider.minimum)
        if not more:
            assert seen == {0, 1}
            assert stage.provider.minimum == 0
            return
    pytest.fail("it never ended")


Action = tuple[str, int, float]
"""What, how many (or which, or seconds of rest), and how long it lasts."""

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(1, 3), st.sampled_from([200.0, 1000.0])),
        st.tuples(st.sampled_from(["release", "renew", "sweep", "rest"]), st.integers(0, 30), st.just(300.0)),
    ),
    min_size=1,
    max_size=5,
)


class Worker:
    """Does what it is told, in a process of its own, and says which leases it counts on."""

    def __init__(self, process: Process, actions: Sequence[Action]) -> None:
        self.process = process
        self.actions = actions
        self.counted: dict[str, Lease] = {}

    async def run(self) -> None:
        for what, number, seconds in self.actions:
            try:
                await self._do(what, number, seconds)
            except EndpointConflictError:  # waited for its turn for too long
                pass

    async def _do(self, what: str, number: int, seconds: float) -> None:
        keeper, leases = self.process.keeper, list(self.counted.values())
        if what == "hold":
            lease = await self.process.hold(number, seconds)
            self.counted[lease.id] = lease
        elif what == "sweep":
            await keeper.sweep()
        elif what == "rest" or not leases:
            await self.process.runtime.sleep(number)
        elif what == "release":
            lease = leases[number % len(leases)]
            del self.counted[lease.id]
            await keeper.release(lease)
        else:
            lease = leases[number % len(leases)]
            later = await keeper.renew(lease, seconds)
            del self.counted[lease.id]
            if later is not None:
                self.counted[lease.id] = later


def met(
    flavour: str,
    plans: Sequence[Sequence[Action]],
    slow: Sequence[float],
    *,
    seed: int = 0,
    original: int = 0,
) -> None:
    """Workers side by side. At each change of the minimum it is at least what all of them count on; and in
    the end, when all leases are over and somebody has swept, it is that of before."""
    stages: list[Stage] = []
    taken: list[tuple[str, str, int]] = []

    def scenario(runtime: Runtime) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        stage = Stage(flavour, runtime=runtime, minimum=original)
        stages.append(stage)
        workers = [
            Worker(stage.process(str(number), slow=pace, seed=seed + number), actions)
            for number, (actions, pace) in enumerate(zip(plans, slow, strict=False))
        ]
        change = stage.provider.set

        def watched(replicas: int, now: float, who: str = "somebody") -> None:
            wall = runtime.wall().timestamp()
            for worker in workers:
                for lease in worker.counted.values():
                    if lease.live(wall) and replicas < lease.replicas:
                        taken.append((who, worker.process.name, replicas))
            change(replicas, now, who)

        stage.provider.set = watched  # type: ignore[method-assign] # looks on
        return [worker.run for worker in workers]

    play(flavour, scenario)
    assert taken == []
    minimum, store = stages[0].provider.minimum, stages[0].store

    def afterwards(runtime: Runtime) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        stage = Stage("sync", runtime=runtime, minimum=minimum)
        stage.store = store

        async def tidy() -> None:
            await stage.later(10_000.0)
            assert (await stage.process("last").keeper.sweep()).problems == ()
            assert (stage.provider.minimum, await stage.clean()) == (original, True)

        return [tidy]

    play("sync", afterwards)


@pytest.mark.parametrize("flavour", ["sync", "async"])
@settings(max_examples=60)
@given(
    plans=st.lists(ACTIONS, min_size=2, max_size=3),
    slow=st.lists(st.sampled_from([0.01, 5.0]), min_size=3, max_size=3),
    seed=st.integers(0, 10_000),
    original=st.integers(0, 2),
)
def test_no_process_stops_the_machine_of_another(
    flavour: str, plans: list[list[Action]], slow: list[float], seed: int, original: int
) -> None:
    """Whatever the order of their steps, each of which takes up to ten seconds."""
    met(flavour, plans, slow, seed=seed, original=original)


@pytest.mark.parametrize("flavour", ["sync", "async"])
@pytest.mark.parametrize("after", range(0, 100, 2))
def test_who_comes_while_another_one_lets_go_keeps_the_machine(flavour: str, after: int) -> None:
    """The one is slow to let go; the other one is quick to take, at every moment of it."""
    slow: list[Action] = [("hold", 1, 1000.0), ("release", 0, 0.0)]
    quick: list[Action] = [("rest", after, 0.0), ("hold", 1, 1000.0), ("rest", 200, 0.0)]
    met(flavour, [slow, quick], [5.0, 0.01])
