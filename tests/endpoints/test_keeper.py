"""A machine's minimum follows the leases of all processes, and is restored after the last one."""

from __future__ import annotations

import pickle

import pytest

from endpoints.machines import MACHINE, Stage
from hybrid_infer.endpoints.errors import (
    EndpointConflictError,
    EndpointNotFoundError,
    EndpointUnreachableError,
    LeaseStoreError,
    QuotaError,
)
from hybrid_infer.stores.leases.base import Note


async def test_a_hold_raises_the_minimum_and_a_release_restores_it(colour: str) -> None:
    stage = Stage(colour)
    a = stage.process()
    lease = await a.hold(2, 600.0)
    assert (lease.machine, lease.holder, lease.replicas, lease.kind) == (MACHINE, "a", 2, "asked")
    assert lease.expires == stage.runtime.wall().timestamp() + 600
    assert (stage.provider.minimum, a.keeper.held) == (2, (lease,))
    assert await stage.note() == Note(original=0, set_to=2, at=0.0)
    change = await a.keeper.release(lease)
    assert (change.before, change.after, change.warning) == (2, 0, None)
    assert change.state is not None
    assert change.state.life == "cold"
    assert (stage.provider.minimum, a.keeper.held) == (0, ())
    assert await stage.clean()
    assert (await a.keeper.release(lease)).before is None  # harmless when repeated
    assert len(stage.provider.changes) == 2


async def test_a_minimum_that_is_enough_is_left_as_it_is(colour: str) -> None:
    stage = Stage(colour, minimum=3)
    a = stage.process()
    lease = await a.hold(2)
    await a.keeper.release(lease)
    assert stage.provider.changes == []
    assert await stage.clean()


async def test_of_two_processes_the_one_that_needs_more_decides(colour: str) -> None:
    """And when it lets go, the minimum is what the other one needs; in the end that of before."""
    stage = Stage(colour, minimum=1)
    a, b = stage.process("a"), stage.process("b")
    two = await a.hold(2)
    three = await b.hold(3)
    assert stage.provider.minimum == 3
    assert (await b.keeper.release(three)).after == 2
    four = await b.hold(4)
    assert (await a.keeper.release(two)).after is None
    assert stage.provider.minimum == 4
    one = await a.hold(1)
    assert (await b.keeper.release(four)).after == 1
    assert (await a.keeper.release(one)).after is None
    assert [replicas for _, replicas, _ in stage.provider.changes] == [2, 3, 2, 4, 1]
    assert await stage.clean()


async def test_two_leases_of_one_process_are_two(colour: str) -> None:
    stage = Stage(colour)
    a = stage.process()
    first, second = await a.hold(1), await a.hold(1)
    await a.keeper.release(first)
    assert stage.provider.minimum == 1
    await a.keeper.release(second)
    assert stage.provider.minimum == 0


async def test_what_somebody_else_set_meanwhile_stays(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is forgotten that there was another one before, with a warning."""
    stage = Stage(colour)
    a = stage.process()
    lease = await a.hold(1)
    stage.change(3)
    change = await a.keeper.release(lease)
    assert (stage.provider.minimum, change.before, change.after) == (3, 3, None)
    words = "its minimum is 3, and not 1 as we set it: somebody else changed it, and it is left so"
    assert change.warning == words
    assert f"{MACHINE}: {words}" in caplog.text
    assert await stage.clean()


@pytest.mark.parametrize("theirs", [0, 3])
async def test_what_somebody_else_set_is_not_fought_over(colour: str, theirs: int) -> None:
    """While leases live, neither renewals nor the release of another lease nor sweeps change it back."""
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    one, two = await a.hold(1), await b.hold(2)
    stage.change(theirs)
    change = await b.keeper.release(two)
    assert change.warning is not None
    assert "somebody else changed it, and it is left so until somebody asks" in change.warning
    assert await a.keeper.renew(one, 600.0) is not None
    assert (await b.keeper.sweep()).changes == ()
    assert stage.provider.minimum == theirs
    assert (await a.keeper.release(one)).warning is None  # it was said before
    assert stage.provider.minimum == theirs
    assert await stage.clean()


async def test_who_asks_anew_raises_what_somebody_else_set_and_restores_that(colour: str) -> None:
    stage = Stage(colour, minimum=2)
    a, b = stage.process("a"), stage.process("b")
    one = await a.hold(3)
    stage.change(1)
    two = await b.hold(2)
    assert stage.provider.minimum == 3  # of the other lease
    await a.keeper.release(one)
    await b.keeper.release(two)
    assert stage.provider.minimum == 1
    assert await stage.clean()


async def test_a_provider_that_shows_the_past_is_looked_at_again(colour: str) -> None:
    """What it shows is not taken for the doing of somebody else."""
    stage = Stage(colour, lag=5.0)
    a, b = stage.process("a"), stage.process("b")
    one = await a.hold(1)
    two = await b.hold(2)
    assert stage.provider.minimum == 2
    await b.keeper.release(two)
    change = await a.keeper.release(one)
    assert (stage.provider.minimum, change.warning) == (0, None)
    assert 15 < stage.runtime.now() < 30
    assert await stage.clean()


async def test_a_renewed_lease_lasts(colour: str) -> None:
    """And the provider is not asked for it."""
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    lease = await a.hold(1, 100.0)
    asked = stage.provider.asked
    await stage.later(90)
    renewed = await a.keeper.renew(lease, 100.0)
    assert renewed is not None
    assert renewed.expires == lease.expires + 90
    assert (stage.provider.asked, a.keeper.held) == (asked, (renewed,))
    await stage.later(90)
    assert (await b.keeper.sweep()).dropped == ()
    await stage.later(11)
    assert (await b.keeper.sweep()).dropped == (renewed,)


@pytest.mark.parametrize("swept", [True, False])
async def test_a_lease_that_is_renewed_too_late_is_begun_anew(colour: str, swept: bool) -> None:
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    lease = await a.hold(1, 100.0)
    await stage.later(100)
    if swept:
        assert len((await b.keeper.sweep()).changes) == 1
        assert stage.provider.minimum == 0
    renewed = await a.keeper.renew(lease, 100.0)
    assert renewed is not None
    assert stage.provider.minimum == 1
    assert await b.keeper.leases(MACHINE) == (renewed,)


async def test_a_sweep_takes_down_what_ended(colour: str) -> None:
    """Of any process; what others still need stays."""
    stage = Stage(colour)
    a, b, c = (stage.process(name) for name in "abc")
    three, two = await a.hold(3, 60.0), await b.hold(2, 120.0)
    assert (await c.keeper.sweep()).dropped == ()
    await stage.later(60)
    swept = await c.keeper.sweep()
    assert (swept.dropped, swept.problems, stage.provider.minimum) == ((three,), (), 2)
    assert [(change.before, change.after) for change in swept.changes] == [(3, 2)]
    await stage.later(60)
    assert (await c.keeper.sweep()).dropped == (two,)
    assert stage.provider.minimum == 0
    assert await stage.clean()
    asked = stage.provider.asked
    assert await c.keeper.sweep() == await a.keeper.sweep()
    assert stage.provider.asked == asked  # nothing to do costs nothing


async def test_a_machine_that_a_process_does_not_know_is_left_to_one_that_does(colour: str) -> None:
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    await a.hold(1, 60.0)
    await stage.later(61)
    b.known = False
    swept = await b.keeper.sweep()
    assert (swept.dropped, swept.changes) == ((), ())
    assert swept.problems[0].startswith(f"{MACHINE}: this process does not know it")
    assert len((await a.keeper.sweep()).dropped) == 1
    assert stage.provider.minimum == 0
    with pytest.raises(EndpointNotFoundError, match="where the machine is configured"):
        await b.hold(1)


async def test_a_hold_that_fails_leaves_nothing(colour: str) -> None:
    stage = Stage(colour)
    a = stage.process()
    stage.provider.failing = QuotaError("no more GPUs", where=MACHINE)
    with pytest.raises(QuotaError):
        await a.hold(1)
    assert (stage.provider.minimum, a.keeper.held) == (0, ())
    assert await stage.clean()


async def test_a_hold_whose_outcome_is_unknown_is_undone(colour: str) -> None:
    """The provider did it, and the answer was lost."""
    stage = Stage(colour, fails_late=True)
    a = stage.process()
    stage.provider.failing = EndpointUnreachableError("no answer", where=MACHINE)
    with pytest.raises(EndpointUnreachableError):
        await a.hold(1)
    assert stage.provider.minimum == 0
    assert await stage.clean()


async def test_a_hold_that_fails_leaves_what_others_need(colour: str) -> None:
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    await a.hold(1)
    stage.provider.failing = QuotaError("no more GPUs", where=MACHINE)
    with pytest.raises(QuotaError):
        await b.hold(5)
    assert stage.provider.minimum == 1
    assert await stage.note() == Note(original=0, set_to=1, at=0.0)


async def test_a_release_that_fails_is_finished_by_the_next_sweep(colour: str) -> None:
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    lease = await a.hold(1)
    stage.provider.failing = EndpointUnreachableError("no answer", where=MACHINE)
    with pytest.raises(EndpointUnreachableError):
        await a.keeper.release(lease)
    assert stage.provider.minimum == 1
    assert a.keeper.held == ()
    assert [change.after for change in (await b.keeper.sweep()).changes] == [0]
    assert await stage.clean()


async def test_a_sweep_never_raises_and_says_what_it_could_not_do(colour: str) -> None:
    stage = Stage(colour)
    a = stage.process()
    await a.hold(1, 60.0)
    await stage.later(61)
    stage.provider.failing = RuntimeError("a bug")
    assert (await a.keeper.sweep()).problems == (f"{MACHINE}: a bug",)
    a.store_down = True
    assert (await a.keeper.sweep()).problems == ("down",)
    a.store_down = False
    assert (await a.keeper.sweep()).problems == ()
    assert stage.provider.minimum == 0


async def test_a_store_that_is_down_is_an_error_of_the_machine(colour: str) -> None:
    stage = Stage(colour)
    a = stage.process()
    lease = await a.hold(1)
    a.store_down = True
    for asked in (a.hold(1), a.keeper.renew(lease, 9.0), a.keeper.release(lease), a.keeper.leases()):
        with pytest.raises(LeaseStoreError, match="leases on machines: down") as caught:
            await asked
        assert caught.value.retryable
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert not await a.keeper.elected("owner", 60.0)
    await a.keeper.resign("owner")
    await a.keeper.measured(MACHINE, 9.0)
    assert await a.keeper.lead(MACHINE) == 600.0
    assert len((await a.keeper.release_all()).problems) == 1


async def test_everything_is_given_back_at_the_end(colour: str) -> None:
    """What is held by others stays."""
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    mine = [await a.hold(3), await a.hold(2)]
    await b.hold(1)
    given = await a.keeper.release_all()
    assert (list(given.dropped), [change.after for change in given.changes]) == (mine, [2, 1])
    assert (stage.provider.minimum, a.keeper.held) == (1, ())


async def test_a_stop_is_refused_while_others_need_the_machine(colour: str) -> None:
    stage = Stage(colour, minimum=1)
    a, b = stage.process("a"), stage.process("b")
    await a.hold(2)
    lease = await b.hold(1)
    with pytest.raises(EndpointConflictError, match=r"need it until 2026-11-02 08:10:00 UTC: b \(test\)"):
        await a.keeper.stop(MACHINE)
    assert stage.provider.minimum == 2
    change = await a.keeper.stop(MACHINE, force=True)
    assert (change.before, change.after, stage.provider.minimum, a.keeper.held) == (2, 0, 0, ())
    assert await b.keeper.renew(lease, 600.0) is None  # it is not fought over
    assert b.keeper.held == ()
    assert await stage.clean()


async def test_a_stop_ends_ones_own_leases(colour: str) -> None:
    stage = Stage(colour, minimum=1)
    a = stage.process()
    await a.hold(2)
    await a.keeper.stop(MACHINE)
    assert stage.provider.minimum == 0
    assert await stage.clean()


async def test_starts_are_measured_once_for_all(colour: str) -> None:
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    assert await a.keeper.lead(MACHINE) == 600.0
    for seconds in (100.0, 110.0, 200.0):
        await a.keeper.measured(MACHINE, seconds)
    assert await b.keeper.lead(MACHINE) == 220.0
    assert await b.keeper.lead("modal/llm") == 120.0


async def test_one_of_all_processes_is_elected(colour: str) -> None:
    stage = Stage(colour)
    a, b = stage.process("a"), stage.process("b")
    assert [await keeper.elected("owner", 60.0) for keeper in (a.keeper, b.keeper)] == [True, False]
    await stage.later(59)
    assert await a.keeper.elected("owner", 60.0)
    await stage.later(60)
    assert [await keeper.elected("owner", 60.0) for keeper in (b.keeper, a.keeper)] == [True, False]
    await b.keeper.resign("owner")
    assert await a.keeper.elected("owner", 60.0)
