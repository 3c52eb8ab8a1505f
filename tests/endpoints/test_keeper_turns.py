"""One process at a time changes a minimum, also where one is killed, held up, cancelled or forked."""

from __future__ import annotations

import asyncio
import os

import pytest

from endpoints.machines import MACHINE, Process, Provider, Stage
from hybrid_infer.endpoints.errors import EndpointConflictError
from hybrid_infer.runtime.step import step
from hybrid_infer.stores.leases.base import Note


async def test_a_process_that_was_killed_in_its_turn_is_waited_for(colour: str) -> None:
    """Three minutes; who does not want to wait is told."""
    stage = Stage(colour)
    await stage.store.claim(f"minimum of {MACHINE}", "dead", 180.0, stage.runtime.wall().timestamp())
    with pytest.raises(EndpointConflictError, match="another process is changing its minimum"):
        await stage.process("hasty", patience=10.0).hold(1)
    assert 10 <= stage.runtime.now() < 15
    assert await stage.clean()
    await stage.process("a").hold(1)
    assert 180 <= stage.runtime.now() < 185
    assert stage.provider.minimum == 1


async def test_a_process_that_was_held_up_beyond_its_turn_mends_what_it_did(colour: str) -> None:
    """Its stop arrives after the other one's start. The machine is up again at once."""
    stage = Stage(colour)
    a = stage.process("a")
    lease = await a.hold(1)
    b = stage.process("b")

    async def late(replicas: int) -> object:
        """Asleep for longer than a turn, the other one begins meanwhile."""
        a.endpoint.set_minimum = original  # type: ignore[method-assign] # once
        await stage.later(200)
        await b.hold(1)
        return await original(replicas)

    original = a.endpoint.set_minimum
    a.endpoint.set_minimum = late  # type: ignore[method-assign, assignment] # a test's own fake
    await a.keeper.release(lease)
    assert [replicas for _, replicas, _ in stage.provider.changes] == [1, 1, 0, 1]
    assert await stage.note() == Note(original=0, set_to=1, at=0.0)


async def test_a_hold_that_is_cancelled_leaves_no_lease_and_nobody_waiting() -> None:
    """The minimum it may have set is restored by the next sweep."""
    for after in range(0, 60, 5):
        stage = Stage("async")
        slow = stage.process("slow", slow=5.0, seed=after)
        task = asyncio.create_task(slow.hold(2))
        await asyncio.sleep(after)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        else:
            await slow.keeper.release_all()
        assert await stage.store.leases() == ()
        other, began = stage.process("other"), stage.runtime.now()
        await other.keeper.sweep()
        assert stage.runtime.now() - began < 60  # less than a turn, which was given back
        assert (stage.provider.minimum, await stage.clean()) == (0, True)


def test_a_forked_child_holds_nothing_of_its_parent() -> None:
    """It would give back at its end what the parent needs."""
    stage = Stage("sync")
    keeper = stage.process().keeper
    step(keeper.hold(MACHINE, 1, 60.0, why="test"))
    child = os.fork()
    if not child:
        os._exit(0 if keeper.held == () and keeper.holder != "a" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (len(keeper.held), keeper.holder) == (1, "a")


def test_keepers_are_told_apart() -> None:
    stage = Stage("sync")
    one, other = (Process(name, stage.runtime, Provider(), stage.store).keeper for name in ("", ""))
    assert one.holder != other.holder
