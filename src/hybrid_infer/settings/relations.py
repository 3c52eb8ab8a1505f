"""What must hold between settings; looked at in what was given, so that all problems come at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hybrid_infer.calls.call import MODES
from hybrid_infer.settings.options import PREFIX
from hybrid_infer.settings.tree import Given, Tree, below
from hybrid_infer.settings.values import names_in
from hybrid_infer.settings.wording import assignment, did_you_mean, dotted, quoted


def contradictions(tree: Tree) -> Iterator[str]:
    """The problems of values that are right by themselves. Wrong ones are told by their own checks."""
    yield from _hybrid(tree)
    yield from _fallback(tree)
    yield from _prices(tree)
    yield from _budgets(tree)
    yield from _redis(tree)
    yield from _machines(tree)


def _hybrid(tree: Tree) -> Iterator[str]:
    """Whoever asks for mode hybrid needs two modes that differ."""
    asking = next((given for given in _choices(tree) if _is(given, "hybrid")), None)
    if asking is None:
        return
    table = below(tree, "hybrid")
    base, overflow = table.get("base"), table.get("overflow")
    if isinstance(base, Given) and isinstance(overflow, Given):
        if any(_is(base, mode) and _is(overflow, mode) for mode in MODES):
            yield (
                f"{assignment(overflow.where, overflow.value, overflow.option)}: the same as {base.where}; "
                "in mode hybrid calls overflow to another mode"
            )
        return
    missing = {
        "base": "the mode where calls go while there is room",
        "overflow": "the mode where they go when there is none",
    }
    told = "; and ".join(
        f"hybrid.{key}, {what} (or {PREFIX}HYBRID__{key.upper()})"
        for key, what in missing.items()
        if key not in table
    )
    yield f"{assignment(asking.where, asking.value, asking.option)}: needs {told}"


def _choices(tree: Tree) -> Iterator[Given]:
    """All that choose a mode: the client, its models, its purposes."""
    models = [node for node in below(tree, "models").values() if isinstance(node, dict)]
    nodes = [tree.get("mode"), *(model.get("mode") for model in models), *below(tree, "purposes").values()]
    yield from (node for node in nodes if isinstance(node, Given))


def _is(given: Given, text: str) -> bool:
    return isinstance(given.value, str) and given.value == text


def _fallback(tree: Tree) -> Iterator[str]:
    """Entries of `fallback` are modes or configured models."""
    given = tree.get("fallback")
    if not isinstance(given, Given):
        return
    try:
        names = names_in(given.value)
    except ValueError:
        return
    models = [*below(tree, "models")]
    known = [*MODES, *models]
    configured = f"a configured model ({', '.join(models) or 'there is none'})"
    for name in dict.fromkeys(names):
        if name not in known:
            near = did_you_mean(name, known)
            yield (
                f"{given.where}: {quoted(name)} is neither a mode ({', '.join(MODES)}) nor {configured}"
                + (f"; did you mean {near}?" if near else "")
            )


def _prices(tree: Tree) -> Iterator[str]:
    """A price by time has one unit, and one by tokens begins with the input."""
    for name, price in below(tree, "prices").items():
        if not isinstance(price, dict):
            continue
        second, hour = price.get("second"), price.get("hour")
        if isinstance(second, Given) and isinstance(hour, Given):
            yield f"{hour.where}: the same price as {second.where}; give one of them"
        by_token = price.get("output", price.get("cached"))
        if isinstance(by_token, Given) and "input" not in price:
            yield f"{by_token.where}: a price per token needs {dotted(('prices', name, 'input'))}, too"


def _budgets(tree: Tree) -> Iterator[str]:
    """A budget is in one unit."""
    for name, budget in below(tree, "budgets").items():
        if not isinstance(budget, dict):
            continue
        usd, tokens = budget.get("usd"), budget.get("tokens")
        if isinstance(usd, Given) and isinstance(tokens, Given):
            yield f"{tokens.where}: a budget is in USD or in tokens; make two of {quoted(name)}"
        other = next((given for given in budget.values() if isinstance(given, Given)), None)
        if usd is None and tokens is None and other is not None:
            keys = (dotted(("budgets", name, "usd")), dotted(("budgets", name, "tokens")))
            yield f"{other.where}: the budget says no amount; give {' or '.join(keys)}"


def _redis(tree: Tree) -> Iterator[str]:
    """What is kept in Redis needs one."""
    for key, what in (("cache", "the answers"), ("leases", "the leases")):
        kept = tree.get(key)
        if isinstance(kept, Given) and _is(kept, "redis") and "redis_url" not in tree:
            yield (
                f"{assignment(kept.where, kept.value, kept.option)}: needs redis_url, the Redis that keeps "
                f"{what} (or {PREFIX}REDIS_URL)"
            )


_DEDICATED, _MODAL = "together-dedicated", "modal"
_OF_MACHINES: Mapping[str, tuple[str, ...]] = {
    "warm": (_DEDICATED, _MODAL),
    "replicas": (_DEDICATED, _MODAL),
    "inactive_timeout": (_DEDICATED,),
    "base_model": (_DEDICATED,),
    "hardware": (_DEDICATED,),
    "server": (_MODAL,),
}
"""What is said of machines, and the modes that have such."""


def _machines(tree: Tree) -> Iterator[str]:
    """What is said of a machine stands in a mode that has one."""
    for name in below(tree, "models"):
        for mode in MODES:
            target = below(tree, "models", name, "targets", mode)
            for key, modes in _OF_MACHINES.items():
                given = target.get(key)
                if isinstance(given, Given) and mode not in modes:
                    yield f"{given.where}: is for mode {' and '.join(modes)}; in {mode} nothing is started"
        yield from _creation(name, below(tree, "models", name, "targets", _DEDICATED))


def _creation(name: str, target: Tree) -> Iterator[str]:
    """For a model of Together's the hardware is found by its GPUs, for one of the user's own it is named."""
    base, hardware = target.get("base_model"), target.get("hardware")
    keys = ("models", name, _DEDICATED)
    own = isinstance(base, Given) and str(base.value).strip().startswith("projects/")
    if isinstance(hardware, Given) and not own:
        whose = dotted((*keys, "base_model"))
        yield f"{hardware.where}: is for a {whose} of your own, projects/…/models/…; else gpu and gpus decide"
    if isinstance(base, Given) and own and hardware is None:
        needed = dotted((*keys, "hardware"))
        yield f"{base.where}: a model of your own needs {needed}, its config projects/…/configs/…, too"
