"""From the settings to what each layer needs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hybrid_infer.backends.registry import connect
from hybrid_infer.calls.call import Mode, ModeChoice, Target
from hybrid_infer.calls.money import NANO
from hybrid_infer.calls.operations import Operation
from hybrid_infer.calls.timeouts import Timeouts
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.layers.limits.policy import LimitPolicy
from hybrid_infer.layers.plan import PlanPolicy
from hybrid_infer.settings import BudgetSettings, ModelSettings, ModelTarget, Settings, reveal
from hybrid_infer.settings.wording import as_written, dotted
from hybrid_infer.simulator.defaults import DEFAULT_MODELS

if TYPE_CHECKING:
    from hybrid_infer.calls.cached import Kept
    from hybrid_infer.endpoints.schedule import Schedule
    from hybrid_infer.layers.budget import BudgetRule
    from hybrid_infer.layers.cache import CacheRules
    from hybrid_infer.prices.rates import Offer


def simulated(settings: Settings) -> Settings:
    """The settings with the simulator's default models and machines, where none are configured."""
    models = dict(settings.models)
    for name, targets in DEFAULT_MODELS.items():
        models.setdefault(
            name,
            ModelSettings(
                targets={
                    mode: ModelTarget(model=model, gpu=gpu, gpus=gpus)
                    for mode, (model, gpu, gpus) in targets.items()
                }
            ),
        )
    return settings.model_copy(
        update={"models": models, "model": settings.model or next(iter(DEFAULT_MODELS))}
    )


def timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        total=settings.timeout,
        attempt=settings.attempt_timeout,
        connect=settings.connect_timeout,
        first_token=settings.first_token_timeout,
        between_tokens=settings.between_tokens_timeout,
        cold_start=settings.cold_start_timeout,
    )


def plan_policy(settings: Settings, mode: ModeChoice) -> PlanPolicy:
    base, overflow = settings.hybrid.base, settings.hybrid.overflow
    return PlanPolicy(
        mode=mode,
        model=settings.model,
        models=settings.models,
        hybrid=(base, overflow) if base is not None and overflow is not None else None,
        purposes=settings.purposes,
        fallback=settings.fallback,
        never_leave=settings.never_leave,
    )


def limit_policy(settings: Settings, mode: Mode, name: str | None) -> LimitPolicy:
    """The limits of a target: its own, and where it has none those of the client."""
    entry = settings.models.get(name) if name is not None else None
    own = entry.target(mode) if entry is not None else None

    def of(setting: str) -> Any:
        mine = None if own is None else getattr(own, setting)
        return getattr(settings, setting) if mine is None else mine

    return LimitPolicy(
        in_flight=of("max_in_flight"),
        adaptive=of("adaptive"),
        requests_per_minute=of("requests_per_minute"),
        tokens_per_minute=of("tokens_per_minute"),
        max_queue=of("max_queue"),
        max_wait=of("max_wait"),
    )


def modal_token(settings: Settings) -> Callable[[], tuple[str, str]] | None:
    """Modal's account token, asked for when it is used; None leaves it to Modal's own configuration."""
    id, secret = settings.modal_token_id, settings.modal_token_secret
    return None if id is None or secret is None else lambda: (reveal(id), reveal(secret))


def cache_rules(settings: Settings) -> CacheRules:
    from hybrid_infer.layers.cache import CacheRules

    return CacheRules(
        ttl=settings.cache_ttl,
        namespace=settings.cache_namespace,
        stale_if_error=settings.cache_stale_if_error,
    )


def kept_answers() -> Mapping[Operation, Kept]:
    """How the answers of each operation are kept; those of others are not."""
    from hybrid_infer.backends.chat_answer import chunks_of
    from hybrid_infer.calls.chat_kept import kept_chat
    from hybrid_infer.calls.others_kept import others_kept

    return {"chat": kept_chat(chunks_of), **others_kept(_read)}


def _read(operation: Operation, data: bytes) -> Any:
    from hybrid_infer.backends.answers import MODELS  # loads the models of all other answers

    return MODELS[operation].model_validate_json(data)


def identity(settings: Settings, mode: Mode, name: str | None) -> str | None:
    """The weights behind a model in a mode, as far as the user declares them."""
    entry = settings.models.get(name) if name is not None else None
    own = entry.target(mode) if entry is not None else None
    return (own.identity if own is not None else None) or (entry.identity if entry is not None else None)


def budget_rules(settings: Settings) -> list[BudgetRule]:
    return [_rule(name, budget) for name, budget in settings.budgets.items()]


def _rule(name: str, budget: BudgetSettings) -> BudgetRule:
    most = round((budget.usd or 0) * NANO) if budget.tokens is None else budget.tokens
    unit: Literal["usd", "tokens"] = "usd" if budget.tokens is None else "tokens"
    from hybrid_infer.layers.budget import BudgetRule

    return BudgetRule(name=name, most=most, unit=unit, per=budget.per, purpose=budget.purpose)


def schedules(settings: Settings) -> Mapping[tuple[str, Mode], Schedule]:
    """When the machines of each model in each mode are kept warm, of those that have such times.

    Raises:
        ConfigurationError: naming all that are no times.
    """
    found: dict[tuple[str, Mode], Schedule] = {}
    problems: list[str] = []
    for name, entry in settings.models.items():
        for mode, target in entry.targets.items():
            if not target.warm:
                continue
            from hybrid_infer.endpoints.schedule import parse_schedule  # needed where there are some only

            try:
                found[name, mode] = parse_schedule(target.warm)
            except ValueError as error:
                setting = dotted(("models", name, mode, "warm"))
                problems.append(f"{as_written(setting, settings.sources[setting])}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return found


def elsewhere(settings: Settings) -> Callable[[Target], list[Offer]]:
    """Where the model of a target is served, in all modes that the settings have for it."""
    known = simulated(settings) if settings.simulate else settings

    def others(target: Target) -> list[Offer]:
        entry = known.models.get(target.logical) if target.logical is not None else None
        offers = [_offer(known, mode, str(target.logical)) for mode in (entry.targets if entry else ())]
        return [offer for offer in offers if offer is not None]

    return others


def _offer(settings: Settings, mode: Mode, name: str) -> Offer | None:
    """The price basis of a model in a mode; None where that mode cannot be used."""
    try:
        connection = connect(mode, settings, name)
    except ConfigurationError:
        return None
    from hybrid_infer.prices.rates import Offer

    return Offer(
        name=f"{mode}/{connection.model or connection.origin.place}",
        mode=mode,
        model=connection.model,
        basis=connection.basis,
        priced_as=connection.priced_as,
        gpu=connection.gpu,
        gpus=connection.gpus,
        cpu=connection.cpu,
        memory=connection.memory,
        logical=name,
    )
