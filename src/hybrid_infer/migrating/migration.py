"""Migration: one move to another mode, from its first step to its last, or back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybrid_infer.calls.call import Mode, ModeChoice
from hybrid_infer.calls.shares import Shares
from hybrid_infer.core import Core
from hybrid_infer.endpoints.state import EndpointEvent
from hybrid_infer.errors import HybridInferError
from hybrid_infer.migrating.asking import asking
from hybrid_infer.migrating.errors import (
    MigrationBusyError,
    MigrationError,
    MigrationRefusedError,
    RolledBackError,
)
from hybrid_infer.migrating.ground import Ground
from hybrid_infer.migrating.journal import PHASES, Book, Phase
from hybrid_infer.migrating.plan import Options, modes_of
from hybrid_infer.migrating.prompts import Prompt
from hybrid_infer.migrating.report import MigrationReport, Progress, Result
from hybrid_infer.migrating.steps import Counted, StepReading, worse
from hybrid_infer.migrating.verify import Answered, Ask, Verification, compared, verify
from hybrid_infer.runtime.base import log
from hybrid_infer.warming.machine import Machine
from hybrid_infer.warming.machines import STOP_TIMEOUT

TICK = 5.0
"""Seconds between two looks while calls are watched, or waited for."""

_WITHOUT_SHIFT: tuple[Phase, ...] = ("warm", "verify", "keep", "stop")


class Migration:
    """One move, in one process."""

    def __init__(self, core: Core, options: Options, book: Book, *, resumed: bool) -> None:
        self._core = core
        self._runtime = core.runtime
        self._machines = core.machines
        self._turnout = core.machines.parts.turnout
        self._options = options
        self._book = book
        self._resumed = resumed
        self._shift = options.shift and book.record.shift
        self._began = core.runtime.now()
        self._verification: Verification | None = None
        self._readings: list[StepReading] = []
        self._warnings: list[str] = []
        self._shares = Shares(book.record.after)
        self._ground = Ground(
            core.machines,
            book,
            on_event=self._event,
            warm_timeout=options.warm_timeout,
            stop_timeout=STOP_TIMEOUT,
        )
        self._new = self._of(book.record.after)
        kept = {machine.name for machine in self._new}
        self._old = [machine for machine in self._of(book.record.before) if machine.name not in kept]

    async def run(self, *, undo: bool) -> MigrationReport:
        if self._turnout.shares is not None:
            raise MigrationBusyError("this client is being moved already")
        await self._book.change()  # whoever worked on it before finds out
        self._turnout.shares = self._shares
        try:
            if undo or self._book.record.undoing:
                await self._undo()
                return self._report("undone")
            return await self._forward()
        finally:
            self._turnout.shares = None

    async def _forward(self) -> MigrationReport:
        first = self._book.record.phase
        try:
            if self._resumed and first not in ("warm", "stop"):
                await self._warm()
            if self._shift and self._book.record.reached("drain"):
                await self._switch(self._book.record.after)  # the client of another process was
            for phase in self._phases():
                if phase == "stop" and not self._shift and not (self._resumed and first == "stop"):
                    return await self._hand_over()
                if phase != self._book.record.phase:
                    await self._book.change(phase=phase, step=0)
                await self._do(phase)
            await self._book.close()
            return self._report("done")
        except MigrationBusyError:
            raise  # another process goes on with it
        except HybridInferError as error:
            if self._book.record.reached("switch"):
                self._say("resume or undo it: what is left to do is in the journal")
                raise
            raise await self._back(error) from None

    def _phases(self) -> Sequence[Phase]:
        """What is left to do, in order."""
        left = PHASES[PHASES.index(self._book.record.phase) :]
        return [
            phase
            for phase in left
            if (self._shift or phase in _WITHOUT_SHIFT) and (phase != "verify" or self._options.verify)
        ]

    async def _do(self, phase: Phase) -> None:
        if phase == "warm":
            await self._warm()
        elif phase == "verify":
            await self._verify()
        elif phase == "shift":
            await self._shift_calls()
        elif phase == "switch":
            await self._switch(self._book.record.after)
        elif phase == "drain":
            self._shares.share = 1.0
            await self._drain(self._book.record.before, self._stopped(), surely=True)
        elif phase == "keep":
            await self._keep()
        else:
            await self._stop()

    async def _warm(self) -> None:
        for machine in self._new:
            self._say(f"{machine.name} is brought up")
            await self._ground.bring_up(machine, self._book.record.replicas or 1)
            self._say(f"{machine.name} answers")

    async def _verify(self) -> None:
        record, settings = self._book.record, self._core.assembly.settings
        old, new = modes_of(record.before, settings)[0], modes_of(record.after, settings)[0]
        rows: list[tuple[Prompt, Answered, Answered]] = []
        for model in record.models:
            prompts = [one for one in self._options.prompts if one.model in (None, model)]
            self._say(f"{old} and {new} are asked {len(prompts)} prompts each")
            found = await verify(
                prompts, self._renewing(old, model), self._renewing(new, model), self._options.limits
            )
            rows += [(row.prompt, row.old, row.new) for row in found.rows]
        self._verification = found = compared(rows, self._options.limits)
        if not found.passed:
            raise MigrationRefusedError(
                f"{record.after} does not answer as {record.before} does", reasons=found.reasons
            )
        self._say(f"{len(rows)} answers are alike enough" + _share(found.similarity))

    def _renewing(self, mode: Mode, model: str | None) -> Ask:
        ask = asking(self._core, mode, model)

        async def held(prompt: Prompt) -> Answered:
            await self._ground.renew()
            return await ask(prompt)

        return held

    async def _shift_calls(self) -> None:
        record = self._book.record
        old = Counted()
        for index in range(record.step, len(record.steps)):
            if index != record.step:
                await self._book.change(step=index)
            self._shares.share = record.steps[index] / 100
            self._say(f"{record.steps[index]:g} % of the calls go to {record.after}")
            await self._watch(record.steps[index], record.dwell, old)
        few = [f"{one.percent:g} %" for one in self._readings if one.new.calls < self._options.watch.least]
        if few:
            self._warn(f"too few calls to tell how the new mode does at {', '.join(few)}")

    async def _watch(self, percent: float, dwell: float, old: Counted) -> None:
        """Let it be so for a while, and look at what becomes of the calls.

        Args:
            old: what the old mode did since the first step.

        Raises:
            RolledBackError: the new mode does worse.
        """
        until, new = self._runtime.now() + dwell, Counted()
        self._shares.outcomes.clear()
        while True:
            left = until - self._runtime.now()
            if left > 0:
                await self._runtime.sleep(min(TICK, left))
            await self._ground.renew()
            while self._shares.outcomes:  # calls end meanwhile
                outcome = self._shares.outcomes.popleft()
                (new if outcome.moved else old).add(outcome)
            waiting = self._shares.waiting(self._runtime.now())
            read = StepReading(percent=percent, new=new.reading(waiting), old=old.reading())
            reasons = worse(read.new, read.old, self._options.watch)
            if reasons or left <= TICK:
                break
        read = replace(read, reasons=reasons)
        self._readings.append(read)
        self._say(str(read))
        if reasons:
            raise RolledBackError(f"with {percent:g} % of the calls the new mode did worse", reasons=reasons)

    async def _switch(self, mode: ModeChoice) -> None:
        if self._core.mode != mode:
            await self._core.switch(mode)
            self._say(f"all calls go to {mode}")

    async def _drain(self, choice: ModeChoice, machines: Sequence[Machine], *, surely: bool) -> None:
        """Wait until no call is left in a mode; where none of its machines is stopped, only for those that
        began before the switch, since others may name that mode for ever.

        Raises:
            MigrationError: `surely`, and some are left after all the time there is for it.
        """
        other = self._book.record.after if choice == self._book.record.before else self._book.record.before
        settings = self._core.assembly.settings
        modes = set(modes_of(choice, settings)) - set(modes_of(other, settings)) if machines else set[Mode]()
        until = self._runtime.now() + self._options.drain_timeout
        while left := self._left(modes, machines):
            if self._runtime.now() >= until:
                text = f"{left} calls are still in flight in {choice} after {self._options.drain_timeout:g} s"
                if surely:
                    raise MigrationError(text, hint="resume it when they have ended, or undo it")
                self._warn(text)
                return
            await self._runtime.sleep(min(TICK, max(0.0, until - self._runtime.now())))
            await self._ground.renew()

    def _left(self, modes: set[Mode], machines: Sequence[Machine]) -> int:
        known = [self._machines.finder.known(machine) for machine in machines]
        metered = sum(one.meter.in_flight for one in known if one is not None and one.meter is not None)
        return max(self._core.leaving, self._shares.in_flight(modes), metered)

    async def _keep(self) -> None:
        for machine in self._new:
            itself = self._book.record.replicas is None and machine.mode == "modal"
            await self._ground.keep(machine, starts_itself=itself)

    def _stopped(self) -> list[Machine]:
        """The machines that are stopped in the end."""
        return [] if self._book.record.keep_old else self._old

    async def _stop(self) -> None:
        for machine in self._stopped():
            self._say(f"{machine.name} is stopped")
            left = await self._ground.stop(machine)
            if left is not None:
                self._warn(left)

    async def _hand_over(self) -> MigrationReport:
        """All is ready, and somebody else moves the calls. Then the old machine can be stopped."""
        if self._stopped():
            await self._book.change(phase="stop", step=0)
        else:
            await self._book.close()
        return self._report("handed over")

    async def _undo(self) -> None:
        """Back to what was before, from wherever it is."""
        record = self._book.record
        self._shares.share = 0.0
        if not record.undoing:
            await self._book.change(undoing=True)
        if record.reached("stop"):
            for machine in self._old:
                await self._ground.bring_back(machine)
        if record.reached("switch") and self._core.mode == record.after:
            await self._switch(record.before)
        if record.reached("shift"):
            await self._drain(record.after, self._new, surely=False)
        for machine in self._new:
            left = await self._ground.let_go(machine)
            if left is not None:
                self._warn(left)
        await self._book.close()

    async def _back(self, error: HybridInferError) -> HybridInferError:
        """Undo it because of an error; the error to raise."""
        results: dict[type[HybridInferError], Result] = {
            MigrationRefusedError: "refused",
            RolledBackError: "rolled back",
        }
        self._say(f"it is undone: {error}")
        try:
            await self._undo()
        except MigrationBusyError:
            raise
        except HybridInferError as other:
            self._warn(f"it could not be undone yet (undo it later): {other}")
        report = self._report(results.get(type(error), "failed"), reasons=_reasons(error))
        if isinstance(error, MigrationError):
            error.report = report
        return error

    def _of(self, choice: ModeChoice) -> list[Machine]:
        """The machines of the models in a mode, of those that are started and stopped."""
        finder, found = self._machines.finder, dict[str, Machine]()
        for model in self._book.record.models:
            for mode in modes_of(choice, self._core.assembly.settings):
                machine = finder.find(model, mode)
                if machine is not None:
                    found.setdefault(machine.name, machine)
        return list(found.values())

    def _report(self, result: Result, *, reasons: tuple[str, ...] = ()) -> MigrationReport:
        record = self._book.record
        return MigrationReport(
            result=result,
            before=record.before,
            after=record.after,
            models=record.models,
            verification=self._verification,
            steps=tuple(self._readings),
            reasons=reasons,
            warnings=tuple(self._warnings),
            seconds=self._runtime.now() - self._began,
            unfinished=self._book.open,
        )

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        log.warning("migration: %s", text)
        self._tell(text, None)

    def _say(self, text: str) -> None:
        log.info("migration: %s", text)
        self._tell(text, None)

    def _event(self, event: EndpointEvent) -> None:
        self._tell(str(event), event)

    def _tell(self, text: str, event: EndpointEvent | None) -> None:
        told = self._options.on_progress
        if told is None:
            return
        phase = self._book.record.phase
        try:
            told(Progress(at=self._runtime.wall(), phase=phase, text=text, event=event))
        except Exception:
            log.warning("a listener to a migration failed", exc_info=True)


def _share(similarity: float | None) -> str:
    return "" if similarity is None else f" ({similarity:.2f} on average)"


def _reasons(error: HybridInferError) -> tuple[str, ...]:
    return error.reasons if isinstance(error, MigrationError) and error.reasons else (str(error),)
