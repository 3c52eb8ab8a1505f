"""File, environment and arguments say the same, whichever of them is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import CHOICES, MODES
from hybrid_infer.hooks import HOOKS
from hybrid_infer.settings import Settings


def _word() -> st.SearchStrategy[str]:
    return st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_./-]{0,20}", fullmatch=True)


def _key() -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


def _address() -> st.SearchStrategy[str]:
    return st.from_regex(
        r"https?://[a-z0-9.-]{1,12}(:[1-9][0-9]{1,3})?(/[a-z0-9]{1,4}){0,2}(/v1)?/?", fullmatch=True
    )


def _number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, exclude_min=low == 0, allow_subnormal=False)


TARGET = st.fixed_dictionaries(
    {},
    optional={
        "model": _word(),
        "url": _address(),
        "gpu": _word(),
        "gpus": st.integers(1, 64),
        "api_key": _key(),
        "key": _key(),
        "secret": _key(),
        "priced_as": _word(),
        "cpu": _number(0, 1e3),
        "memory": _number(0, 1e4),
        "max_in_flight": st.integers(1, 10_000),
        "adaptive": st.booleans(),
        "requests_per_minute": _number(0, 1e9),
        "tokens_per_minute": _number(0, 1e9),
        "max_queue": st.integers(0, 10_000),
        "max_wait": _number(0, 86_400),
    },
).filter(bool)
_SCHEDULES = st.lists(st.sampled_from(["Mon-Fri 08:00-19:00", "daily 07:00-22:00"]), max_size=1)
MACHINE = {"warm": _SCHEDULES, "replicas": st.integers(1, 100)}
OF_MODE: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "together-dedicated": {**MACHINE, "inactive_timeout": st.integers(30, 1440), "base_model": _word()},
    "modal": {**MACHINE, "server": _word()},
}


def _target(mode: str) -> st.SearchStrategy[dict[str, object]]:
    machine = st.fixed_dictionaries({}, optional=OF_MODE.get(mode, {}))
    return st.builds(lambda one, other: {**one, **other}, TARGET, machine)


MODEL_KEYS: dict[str, st.SearchStrategy[object]] = {mode: _target(mode) | _word() for mode in MODES}
MODEL = st.fixed_dictionaries(
    {}, optional={"mode": st.sampled_from(CHOICES), "never_leave": st.booleans(), **MODEL_KEYS}
).filter(bool)
NAME = st.from_regex(r"[a-z0-9]+(_[a-z0-9]+)*", fullmatch=True)
# Both modes are always there, since something may ask for mode hybrid.
HYBRID = st.permutations(MODES).flatmap(
    lambda modes: st.fixed_dictionaries(
        {"base": st.just(modes[0]), "overflow": st.just(modes[1])},
        optional={
            "max_wait": _number(0, 86_400),
            "return_below": st.floats(0, 1),
            "dwell": _number(0, 86_400),
            "cap": _number(0, 1e6),
        },
    )
)
PRICE = st.fixed_dictionaries(
    {"input": st.floats(0, 1e6)},
    optional={key: st.floats(0, 1e6) for key in ("output", "cached", "hour", "request")},
)
FUNCTION = st.from_regex(r"[a-z]{1,4}(\.[a-z]{1,4})?:[a-z]{1,4}", fullmatch=True)
SETTINGS = st.fixed_dictionaries(
    {"hybrid": HYBRID},
    optional={
        "mode": st.sampled_from(CHOICES),
        "model": _word(),
        **dict.fromkeys(("base_url", "together_base_url", "modal_url"), _address()),
        **dict.fromkeys(("api_key", "together_api_key", "modal_key", "modal_token_id"), _key()),
        **dict.fromkeys(
            ("timeout", "attempt_timeout", "connect_timeout", "keepalive_expiry"), _number(0, 86_400)
        ),
        "max_retries": st.integers(0, 20),
        "max_connections": st.integers(1, 100_000),
        "simulate": st.booleans(),
        "simulate_seed": st.integers(0, 2**63 - 1),
        "simulate_speed": _number(0, 1e300),
        "simulate_dedicated": st.sampled_from(["ready", "stopped", "starting"]),
        "models": st.dictionaries(NAME, MODEL, max_size=3),
        "prices": st.dictionaries(NAME, PRICE, max_size=3),
        "prices_cache": _word(),
        "modal_region_multiplier": st.floats(0.1, 10),
        "modal_nonpreemptible": st.booleans(),
        "modal_scaledown_window": _number(0, 86_400),
        "modal_concurrency": st.integers(1, 10_000),
        "purposes": st.dictionaries(NAME, st.sampled_from(CHOICES), max_size=3),
        "fallback": st.lists(st.sampled_from(MODES), max_size=3),
        **dict.fromkeys(("never_leave", "hedge", "breaker", "adaptive"), st.booleans()),
        "hooks": st.dictionaries(
            st.sampled_from(HOOKS), st.lists(FUNCTION, min_size=1, max_size=3), max_size=3
        ),
        "upkeep": st.booleans(),
        "warm_at_start": st.booleans(),
        **dict.fromkeys(("keep_alive", "idle_stop", "idle_budget"), _number(0, 86_400)),
        "lease_seconds": st.floats(15, 86_400),
        "leases": st.sampled_from(["sqlite", "memory"]),
        "leases_path": _word(),
        "on_cold": st.sampled_from(["wait", "overflow"]),
        "on_stream_break": st.sampled_from(["error", "restart"]),
        "retry_budget": st.floats(0, 1),
        **dict.fromkeys(("first_token_timeout", "between_tokens_timeout", "max_wait"), _number(0, 86_400)),
        **dict.fromkeys(("requests_per_minute", "tokens_per_minute"), _number(0, 1e9)),
        "max_in_flight": st.integers(1, 10_000),
        "max_queue": st.integers(0, 10_000),
        "redis_url": st.from_regex(
            r"rediss?://(:[a-z]{1,9}@)?[a-z]{1,9}(:[1-9][0-9]{3})?/[0-9]", fullmatch=True
        ),
        "redis_prefix": _word(),
    },
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value)
        return "{" + ", ".join(f"{json.dumps(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value) if isinstance(value, str | bool | list) else repr(value)


def from_file(text: str, folder: Path) -> Settings:
    file = folder / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return Settings.load(environ={}, config=file)


def as_variables(tree: Mapping[str, Any], prefix: str = "HYBRID_INFER_") -> dict[str, str]:
    variables: dict[str, str] = {}
    for key, value in tree.items():
        name = prefix + key.upper().replace("-", "_")
        if isinstance(value, dict):
            variables |= as_variables(cast("dict[str, Any]", value), f"{name}__")
        else:
            variables[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return variables


@given(SETTINGS)
def test_file_environment_and_arguments_give_the_same_settings(tree: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        text = "\n".join(f"{key} = {as_toml(value)}" for key, value in tree.items())
        by_file = from_file(text, Path(folder))
    by_variables = Settings.load(environ=as_variables(tree))
    assert by_file == by_variables
    assert set(by_file.sources) == set(by_variables.sources)
    # Of the arguments these two move to the mode of the client.
    by_arguments = Settings.load(
        {k: v for k, v in tree.items() if k not in ("base_url", "api_key")}, environ={}
    )
    assert by_arguments == by_variables.model_copy(update={"base_url": None, "api_key": None})
