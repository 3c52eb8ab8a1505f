"""A process that moves may be killed at any step: another one finishes what it began, or takes it back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from both import Api
from crowd import together
from endpoints.machines import Killed, Stepping
from hybrid_infer.endpoints.errors import CapacityError
from hybrid_infer.migrating.errors import MigrationError
from hybrid_infer.migrating.journal import Journal
from hybrid_infer.warming.machines import Machines
from migrating.moving import DEDICATED, MODAL, Scene, machines_of

MOST_STEPS = 400
SHORT: dict[str, Any] = {
    "prompts": [{"messages": [{"role": "user", "content": "Why?"}]}],
    "steps": "50,100",
    "dwell": 10.0,
    "replicas": 1,
}
LONG_AFTER = 4000.0


class Doomed:
    """A process that is killed before its step number `dies` (from 0): of the store, of a machine, of what
    it says."""

    def __init__(self, scene: Scene, api: Api, dies: int | None) -> None:
        self.steps, self.dies, self.store_down = 0, dies, False
        self.scene, self.api = scene, api
        core, store = api.client._core, machines_of(api).keeper.store
        stepping: Any = Stepping(self, store)  # type: ignore[arg-type] # has the one method it needs
        self.machines = core._machines = Machines(
            core._parts, core._assembly, stepping, blocking=scene.colour == "sync"
        )
        self.machines.upkeep.wake = lambda: None  # type: ignore[method-assign] # a thread of its own dies loudly
        for mode in ("together-dedicated", "modal"):
            machine = self.machines.finder.find(None, mode)
            assert machine is not None
            machine.endpoint = SteppingEndpoint(self, machine.endpoint)

    async def step(self, work: Any) -> Any:
        self.count()
        return await work()

    def count(self) -> None:
        if self.dies is not None and self.steps >= self.dies:
            raise Killed
        self.steps += 1

    async def move(self, target: str | None, **options: Any) -> bool:
        """Whether it lived to the end."""
        try:
            answer = self.api.client.migrate(target, on_progress=lambda _: self.count(), **options)
            if self.scene.colour == "async":
                await answer
        except Killed:
            return False
        return True


class SteppingEndpoint:
    """A machine whose operations are steps of a process."""

    def __init__(self, process: Doomed, endpoint: Any) -> None:
        self.name = endpoint.name
        self._process, self._endpoint = process, endpoint

    def __getattr__(self, name: str) -> Any:
        async def operation(*values: Any, **named: Any) -> Any:
            return await self._process.step(partial(getattr(self._endpoint, name), *values, **named))

        return operation


async def killed(scene: Scene, dies: int) -> bool:
    """Whether a move from Together's machine to Modal's was killed before that step."""
    return not await Doomed(scene, scene.client("together-dedicated"), dies).move("modal", **SHORT)


async def clean(scene: Scene) -> bool:
    """Whether nothing is left of anybody in the store."""
    store = await scene.store()
    journal = await store.journal(Journal(store, "assistant").name)
    return await store.leases() == () and await store.noted() == () and journal is None


async def begun(scene: Scene) -> Any:
    return await Journal(await scene.store(), "assistant").read()


async def test_after_a_kill_another_process_finishes_it(colour: str) -> None:
    for dies in range(MOST_STEPS):
        scene = Scene(colour)
        more = await killed(scene, dies)
        heir = scene.client("together-dedicated")
        if await begun(scene) is not None:
            report = await scene.move(heir, resume=True, prompts=SHORT["prompts"])
            assert report.result == "done", dies
            assert (await heir.create()).hybrid.mode == "modal", dies
        await scene.runtime.sleep(LONG_AFTER)  # a lease that the journal did not know of
        await scene_swept(scene, heir)
        state = (await scene.minimum(DEDICATED), await scene.minimum(MODAL))
        assert state in ([(0, 1)] if dies > 10 or not more else [(0, 1), (1, 0)]), dies
        assert await clean(scene), dies
        await heir.close()
        if not more:
            return
    pytest.fail("it never ended")


async def test_after_a_kill_another_process_takes_it_back(colour: str) -> None:
    for dies in range(MOST_STEPS):
        scene = Scene(colour)
        more = await killed(scene, dies)
        if not more:
            return
        heir = scene.client("together-dedicated")
        over = await begun(scene) is None
        if not over:
            report = await scene.move(heir, undo=True)
            assert (report.result, report.warnings) == ("undone", ()), dies
            assert (await heir.create()).hybrid.mode == "together-dedicated", dies
        await scene.runtime.sleep(LONG_AFTER)  # a lease that the journal did not know of
        await scene_swept(scene, heir)
        state = (await scene.minimum(DEDICATED), await scene.minimum(MODAL))
        assert state == ((0, 1) if over and dies > 10 else (1, 0)), dies
        assert await clean(scene), dies
        await heir.close()
    pytest.fail("it never ended")


async def test_after_a_kill_nothing_stays_up_beyond_its_lease(colour: str) -> None:
    """Where nobody finishes it or takes it back, the new machine stays only once it was to stay for good."""
    for dies in range(MOST_STEPS):
        scene = Scene(colour)
        more = await killed(scene, dies)
        record = await begun(scene)
        await scene.runtime.sleep(LONG_AFTER)
        other = scene.client("together-dedicated")
        await scene_swept(scene, other)
        if record is not None and not record.reached("keep"):
            assert await scene.minimum(MODAL) == 0, dies
            assert await scene.minimum(DEDICATED) == 1, dies
        elif record is not None:
            assert await scene.minimum(MODAL) + await scene.minimum(DEDICATED) >= 1, dies
        assert await (await scene.store()).leases() == (), dies
        await other.close()
        if not more:
            return
    pytest.fail("it never ended")


async def scene_swept(scene: Scene, api: Api) -> None:
    swept = await machines_of(api).sweep()
    assert swept.problems == ()


@pytest.mark.parametrize("undo", [False, True])
async def test_who_finishes_or_takes_it_back_may_be_killed_too(colour: str, undo: bool) -> None:
    for dies in range(3, MOST_STEPS, 17):
        for again in range(1, MOST_STEPS, 9):
            scene = Scene(colour)
            if not await killed(scene, dies):
                return
            if await begun(scene) is None:
                break
            options = {"undo": True} if undo else {"resume": True, "prompts": SHORT["prompts"]}
            second = Doomed(scene, scene.client("together-dedicated"), again)
            lived = await second.move(None, **options)
            heir = scene.client("together-dedicated")
            if not lived and await begun(scene) is not None:
                report = await scene.move(heir, resume=True, prompts=SHORT["prompts"])
                assert report.result in ("undone", "done")
            await scene.runtime.sleep(LONG_AFTER)
            await scene_swept(scene, heir)
            state = (await scene.minimum(DEDICATED), await scene.minimum(MODAL))
            assert state in ((1, 0), (0, 1)), (dies, again)
            if undo and again > 3:
                assert state == (1, 0), (dies, again)
            assert await clean(scene), (dies, again)
            await heir.close()
            if lived:
                break
    pytest.fail("it never ended")


async def test_a_move_that_others_are_to_make_is_finished_or_taken_back_too(colour: str) -> None:
    """Killed while it got the new mode ready for other processes (from serverless to a stopped machine)."""
    for dies in range(0, MOST_STEPS, 3):
        scene = Scene(colour, dedicated="stopped")
        doomed = Doomed(scene, scene.client("together-serverless"), dies)
        more = not await doomed.move("together-dedicated", shift=False, **SHORT)
        heir = scene.client("together-serverless")
        unfinished = await begun(scene) is not None
        if unfinished:
            undo = dies % 2 == 1
            options = {"undo": True} if undo else {"resume": True, "prompts": SHORT["prompts"]}
            report = await scene.move(heir, **options)
            assert report.result == ("undone" if undo else "handed over"), dies
        await scene.runtime.sleep(LONG_AFTER)
        await scene_swept(scene, heir)
        if unfinished:
            assert await scene.minimum(DEDICATED) == (0 if undo else 1), dies
        assert await clean(scene), dies
        await heir.close()
        if not more:
            return
    pytest.fail("it never ended")


async def test_a_machine_that_does_not_come_up_leaves_nothing_behind(colour: str) -> None:
    scene = Scene(colour)
    api = scene.client("together-dedicated")
    machine = machines_of(api).finder.find(None, "modal")
    assert machine is not None

    class Full(SteppingEndpoint):
        async def warm(self, *values: Any, **named: Any) -> Any:
            raise CapacityError("no room", where=MODAL)

    machine.endpoint = Full(Doomed(scene, scene.client("modal"), None), machine.endpoint)
    with pytest.raises(CapacityError):
        await scene.move(api, "modal", **SHORT)
    assert (await api.create()).hybrid.mode == "together-dedicated"
    assert await scene.minimum(MODAL) == 0
    assert await clean(scene)
    await api.close()


async def test_who_was_thought_dead_does_nothing_once_another_has_gone_on(colour: str) -> None:
    """Both live: the first finds out before its next step, and leaves all to the second."""
    scene = Scene(colour)
    slow, quick = scene.client("together-dedicated"), scene.client("together-dedicated")
    taken: list[Any] = []

    async def first() -> None:
        with pytest.raises(MigrationError, match="another process"):
            await scene.move(slow, "modal", steps="50,100", dwell=500.0, prompts=SHORT["prompts"])

    async def second() -> None:
        await scene.runtime.sleep(100)
        taken.append(await scene.move(quick, resume=True, prompts=SHORT["prompts"]))

    found = await together(slow, first, second)
    assert [one for one in found if isinstance(one, Exception)] == []
    assert taken[0].result == "done"
    assert "together-dedicated" in repr(slow.client), "its own mode, which nobody else sets"
    await slow.close()
    await quick.close()
