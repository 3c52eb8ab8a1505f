"""kill -9 at every step of warm, stop and close: whoever comes next leaves nothing up beyond its lease."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from both import Api
from hybrid_infer.simulator.dedicated import EndpointPlan
from warming.fleet import DEDICATED, Fleet, settled

MODE = "together-dedicated"
QUICK = EndpointPlan(provisioning=5, scaling=5, routing=2)
GONE = 120.0 + 180.0 + 30.0
"""Seconds until the lease of a process that died has ended, and the turn that it may have held."""


class Killed(BaseException):
    """What a process that was killed does next: nothing."""


class Life:
    """A process that is killed after so many steps."""

    def __init__(self, steps: float) -> None:
        self.left = steps
        self.taken = 0

    def step(self) -> None:
        if self.taken >= self.left:
            raise Killed
        self.taken += 1


class Mortal:
    """Something outside of the process, as seen from it: each operation begins and ends with a step."""

    def __init__(self, thing: Any, life: Life) -> None:
        self._thing = thing
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def lived(*args: Any, **options: Any) -> Any:
            self._life.step()
            result = await found(*args, **options)
            self._life.step()
            return result

        return lived


def mortal(api: Api, life: Life) -> None:
    """From now on the client dies with `life`."""
    machines = api.client._core.machines
    machine = machines.finder.find("assistant")
    machine.endpoint = Mortal(machine.endpoint, life)
    keeper = machines.keeper
    keeper.store = keeper._account._store = keeper._minimum._store = Mortal(keeper.store, life)
    machines.upkeep.asked = False
    machines.upkeep.wake = lambda: None


async def lived(fleet: Fleet, what: str, life: Life) -> bool:
    """A process that does one thing, and whether it lived to its end."""
    api = fleet.client(mode=MODE)
    if what != "warm":
        await settled(api.client.warm())
        api.client._core.machines.upkeep.end()
    mortal(api, life)
    try:
        await settled(getattr(api.client, what)())
    except Killed:
        return False
    return True


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", ["warm", "stop", "close"])
async def test_killed_at_any_step(colour: str, what: str) -> None:
    """The next process finds it cold or takes it down, with no note and no lease left; and can warm it."""
    whole = Life(float("inf"))
    assert await lived(Fleet(colour, endpoint=QUICK), what, whole)
    assert whole.taken > 10
    for steps in range(whole.taken):
        fleet = Fleet(colour, endpoint=QUICK)
        assert not await lived(fleet, what, Life(steps)), steps
        await fleet.runtime.sleep(GONE)
        other = fleet.client(mode=MODE)
        swept = await settled(other.client.sweep())
        assert not swept.problems, steps
        await fleet.runtime.sleep(60)
        keeper = other.client._core.machines.keeper
        assert (fleet.ready(), await keeper.leases(), await keeper.store.noted()) == (0, (), ()), steps
        state = await settled(other.client.state())
        assert (state.life, state.minimum) == ("cold", 0), steps
        if steps % 10 == 0:
            assert (await settled(other.client.warm())).name == DEDICATED
        await other.close()
