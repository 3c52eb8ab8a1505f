"""Plan: what a move to another mode would do, and what can be said of it before. Asks no provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypedDict

from hybrid_infer.assembly import Assembly
from hybrid_infer.calls.call import CHOICES, Mode, ModeChoice
from hybrid_infer.calls.money import usd
from hybrid_infer.core import Core
from hybrid_infer.endpoints.starts import lead_time
from hybrid_infer.errors import ConfigurationError, InvalidCallError
from hybrid_infer.migrating.prompts import Prompt, Prompts, prompts_of
from hybrid_infer.migrating.report import OnProgress
from hybrid_infer.migrating.steps import STEPS, Watch, steps_of
from hybrid_infer.migrating.verify import Limits
from hybrid_infer.settings import Settings
from hybrid_infer.warming.machine import STARTED
from hybrid_infer.warming.machines import WARM_TIMEOUT

DWELL = 300.0
DRAIN = 900.0


class MigrateOptions(TypedDict, total=False):
    """Keyword arguments of `migrate`.

    models: the models to move, as calls name them; None is all that go where the client's mode is.
    prompts: what both modes are asked, a JSONL file of ``{"messages": […]}`` or a list of such; None is a
        small set of ours.
    verify: False moves without comparing.
    limits: how far the new answers may be from the old.
    steps: percent of the calls that go to the new mode, one step after the other, e.g. ``"5,25,50,100"``.
    dwell: seconds of each step.
    watch: when the new mode does worse in a step.
    replicas: that stay up in the new mode; None is one at Together, and what was deployed at Modal.
    keep_old: do not stop the old machine.
    shift: False moves no calls of this client, but gets everything ready for others to be moved.
    warm_timeout, drain_timeout: seconds.
    on_progress: told of what happens.
    """

    models: Sequence[str] | None
    prompts: Prompts | None
    verify: bool
    limits: Limits | None
    steps: str | Sequence[float] | None
    dwell: float | None
    watch: Watch | None
    replicas: int | None
    keep_old: bool
    shift: bool
    warm_timeout: float
    drain_timeout: float
    on_progress: OnProgress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`MigrateOptions`, read and checked."""

    models: tuple[str, ...] | None
    prompts: tuple[Prompt, ...]
    verify: bool
    limits: Limits
    steps: tuple[float, ...]
    dwell: float
    watch: Watch
    replicas: int | None
    keep_old: bool
    shift: bool
    warm_timeout: float
    drain_timeout: float
    on_progress: OnProgress | None


def options_of(given: MigrateOptions) -> Options:
    """Raises InvalidCallError where one of them cannot be meant, or none of that name is known."""
    for name in given:
        if name not in MigrateOptions.__annotations__:
            raise InvalidCallError(f"migrate() has no option {name!r}")
    dwell, replicas = given.get("dwell"), given.get("replicas")
    dwell = DWELL if dwell is None else dwell
    limits = given.get("limits") or Limits()
    limits.check()
    if not dwell >= 0:
        raise InvalidCallError(f"dwell={dwell!r}: must be seconds, 0 or more")
    if replicas is not None and replicas < 1:
        raise InvalidCallError(f"replicas={replicas!r}: must be 1 or more")
    models = given.get("models")
    if isinstance(models, str):
        raise InvalidCallError(f"models={models!r}: must be a list of models")
    return Options(
        models=None if models is None else tuple(models),
        prompts=prompts_of(given.get("prompts")),
        verify=given.get("verify", True),
        limits=limits,
        steps=steps_of(STEPS if (steps := given.get("steps")) is None else steps),
        dwell=dwell,
        watch=given.get("watch") or Watch(),
        replicas=replicas,
        keep_old=given.get("keep_old", False),
        shift=given.get("shift", True),
        warm_timeout=given.get("warm_timeout", WARM_TIMEOUT),
        drain_timeout=given.get("drain_timeout", DRAIN),
        on_progress=given.get("on_progress"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model in one of the two modes.

    Attributes:
        target: as `reply.hybrid.target`, e.g. ``"modal/llm"``.
        started: its machine is started and stopped.
        usd_per_hour: of one replica; None where it is not paid by time, or the price is unknown.
    """

    model: str | None
    mode: Mode
    target: str
    started: bool
    by_time: bool
    usd_per_hour: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPlan:
    """What a move would do.

    Attributes:
        old, new: where the models are, and would be.
        todo: what would be done, a line for each step.
        unknown: what nobody can know before, a sentence each.
    """

    before: ModeChoice
    after: ModeChoice
    models: tuple[str | None, ...]
    old: tuple[Place, ...]
    new: tuple[Place, ...]
    todo: tuple[str, ...]
    unknown: tuple[str, ...]


def modes_of(choice: ModeChoice, settings: Settings) -> tuple[Mode, ...]:
    """The modes behind a choice; the first is where calls go first."""
    if choice != "hybrid":
        return (choice,)
    base, overflow = settings.hybrid.base, settings.hybrid.overflow
    if base is None or overflow is None:
        raise ConfigurationError("mode hybrid needs a base and an overflow: see [hybrid]")
    return base, overflow


def moved_models(assembly: Assembly, given: Sequence[str] | None, own: Settings) -> tuple[str | None, ...]:
    """The models that a move is about: those that go where the client's mode is.

    Args:
        own: the settings of the user, without the simulator's models.

    Raises:
        InvalidCallError: one that was named has a mode of its own.
    """
    settings = assembly.settings
    if given is None:
        follow = [name for name, entry in own.models.items() if entry.mode is None]
        default = settings.models.get(settings.model) if settings.model is not None else None
        first = [settings.model] if default is None or default.mode is None else []
        return tuple(dict.fromkeys([*first, *(name for name in follow if _reachable(assembly, name))]))
    for name in given:
        entry = settings.models.get(name)
        if entry is not None and entry.mode is not None:
            raise InvalidCallError(f'model "{name}" has a mode of its own ({entry.mode}): nothing moves it')
    return tuple(dict.fromkeys(given))


def _reachable(assembly: Assembly, name: str) -> bool:
    """Whether the model can be called as things are; one that cannot has nothing to be moved from."""
    try:
        assembly.target(name)
    except ConfigurationError:
        return False
    return True


def places_of(core: Core, models: Sequence[str | None], choice: ModeChoice) -> tuple[Place, ...]:
    """Raises ConfigurationError where one of the models has no place in one of the modes."""
    assembly, parts = core.assembly, core.machines.parts
    found: dict[tuple[Mode, str], Place] = {}
    for model in models:
        for mode in modes_of(choice, assembly.settings):
            target = assembly.target(model, mode)
            nano = parts.prices().hourly(target)
            by_time = target.basis == "machine-time"
            place = Place(
                model=model,
                mode=mode,
                target=target.name,
                started=mode in STARTED and by_time,
                by_time=by_time,
                usd_per_hour=None if nano is None else usd(nano),
            )
            found.setdefault((mode, target.name), place)
    return tuple(found.values())


def plan(core: Core, target: ModeChoice, options: Options) -> MigrationPlan:
    """What `migrate` would do.

    Raises:
        InvalidCallError: there is no such mode, it is the client's already, or a model cannot be moved.
        ConfigurationError: the new mode lacks an address, a credential or the entry of a model.
    """
    before = core.mode
    if target not in CHOICES:
        raise InvalidCallError(f"mode={target!r}: must be one of {', '.join(CHOICES)}")
    if target == before:
        raise InvalidCallError(f"the client's mode is {target} already")
    assembly = core.assembly
    models = moved_models(assembly, options.models, core.machines.settings)
    if not models:
        raise InvalidCallError("there is nothing to move: each model has a mode of its own")
    if options.verify:
        _check_prompts(options.prompts, models)
    old, new = places_of(core, models, before), places_of(core, models, target)
    stopped = [one for one in old if one.started and one.target not in {place.target for place in new}]
    return MigrationPlan(
        before=before,
        after=target,
        models=models,
        old=old,
        new=new,
        todo=tuple(_todo(options, before, target, new, stopped)),
        unknown=tuple(_unknown(options, old, new)),
    )


def _check_prompts(prompts: Sequence[Prompt], models: Sequence[str | None]) -> None:
    """Each of them is for a model that is moved, and each model has one."""
    named = {prompt.model for prompt in prompts}
    known = ", ".join(str(model) for model in models if model is not None) or "the only model"
    if strangers := named - {None, *models}:
        raise InvalidCallError(f"prompts: {strangers.pop()} is not moved; of what is moved, there is {known}")
    if None not in named and (without := set(models) - named):
        raise InvalidCallError(f"prompts: none is for {without.pop()}; give some, or name models= without it")


def _todo(
    options: Options, before: str, after: str, new: Sequence[Place], stopped: Sequence[Place]
) -> list[str]:
    up = [one for one in new if one.started]
    names = ", ".join(one.target for one in up)
    replicas = options.replicas or 1
    many = "replica" if replicas == 1 else "replicas"
    lines = [f"warm: {names}: {replicas} {many}, until it answers"] if up else []
    if options.verify:
        lines.append(
            f"verify: ask {before} and {after} {len(options.prompts)} prompts each, at temperature 0: "
            + _told(options.limits)
        )
    if options.shift:
        steps = ", ".join(f"{step:g} %" for step in options.steps)
        lines.append(f"shift: {steps} of the calls, {options.dwell:g} s each; back if it does worse")
        lines.append(f"switch: all calls go to {after}")
        lines.append("drain: wait until no call is left where it was")
    for one in up:
        itself = options.replicas is None and one.mode == "modal"
        how = "scales as it was deployed" if itself else "stays up until it is stopped"
        lines.append(f"keep: {one.target} {how}")
    if not options.shift:
        steps = ", ".join(f"{step:g} %" for step in options.steps)
        lines.append(
            f"then you move your processes, {steps} of them, {options.dwell:g} s each: "
            f"export HYBRID_INFER_MODE={after}"
        )
    if stopped and not options.keep_old:
        when = "" if options.shift else ", with --resume, once they are moved"
        lines.append(f"stop: {', '.join(one.target for one in stopped)}{when}")
    return lines


def _told(limits: Limits) -> str:
    parts = ["the schema fits"]
    if limits.similarity is not None:
        parts.append(f"{limits.similarity:g} alike")
    if limits.length is not None:
        parts.append(f"length within {limits.length:g} times")
    if limits.latency is not None:
        parts.append(f"at most {limits.latency:g} times the time")
    if limits.cost is not None:
        parts.append(f"at most {limits.cost:g} times the cost")
    return ", ".join(parts)


def _unknown(options: Options, old: Sequence[Place], new: Sequence[Place]) -> list[str]:
    lines: list[str] = []
    for one in dict.fromkeys((*old, *new)):
        if not one.by_time:
            lines.append(f"what {one.target} costs an hour: that depends on the calls")
        elif one.usd_per_hour is None:
            lines.append(f"what {one.target} costs an hour: its price is not known (see [prices])")
    for one in new:
        if one.started:
            usual = lead_time((), one.mode)
            lines.append(
                f"whether {one.target} is to be had now, and how long it takes: about {usual:.0f} s is usual"
            )
    if options.verify:
        lines.append(f"whether {len(options.prompts)} prompts stand for your calls")
    if not options.shift:
        lines.append("which other processes still use the old mode, but for those that hold leases on it")
    return lines
