"""What is said of machines that cost money while idle, and of the functions that are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hybrid_infer import Client, ConfigurationError
from hybrid_infer.policies import schedules
from settings.test_settings_tables import from_file, load, problems


def of(mode: str, **keys: Any) -> dict[str, Any]:
    return {"models": {"a": {mode: keys}}}


def test_a_machine_is_described_in_the_file(tmp_path: Path) -> None:
    settings = from_file(
        'warm_at_start = true\nkeep_alive = 240\nidle_stop = 900\nidle_budget = 20\nleases = "memory"\n'
        "[models.a.together-dedicated]\n"
        'model = "acme/a"\ngpu = "H100"\nbase_model = "Qwen/Qwen3.5-9B"\n'
        'warm = ["Mon-Fri 08:00-19:00 Europe/Berlin", "Sat,Sun 10:00-14:00"]\n'
        "replicas = 2\ninactive_timeout = 45\n"
        '[models.a.modal]\nurl = "http://h"\nserver = "llm/Server"\n'
        'warm = "Mon,Tue 08:00-19:00; Sat 10:00-14:00;"\n',
        tmp_path,
    )
    assert (settings.warm_at_start, settings.keep_alive, settings.idle_stop) == (True, 240, 900)
    assert (settings.idle_budget, settings.leases, settings.lease_seconds) == (20, "memory", 120)
    dedicated, modal = settings.models["a"].target("together-dedicated"), settings.models["a"].target("modal")
    assert dedicated is not None and modal is not None
    assert dedicated.warm == ("Mon-Fri 08:00-19:00 Europe/Berlin", "Sat,Sun 10:00-14:00")
    assert (dedicated.replicas, dedicated.inactive_timeout) == (2, 45)
    assert (dedicated.base_model, dedicated.hardware) == ("Qwen/Qwen3.5-9B", None)
    assert modal.warm == ("Mon,Tue 08:00-19:00", "Sat 10:00-14:00"), "commas belong to a line"
    assert (modal.server, modal.replicas, modal.inactive_timeout) == ("llm/Server", 1, None)
    assert set(schedules(settings)) == {("a", "together-dedicated"), ("a", "modal")}


def test_nothing_is_warmed_or_stopped_unless_it_is_said() -> None:
    settings = load({"models": {"a": {"modal": "llm"}}})
    assert (settings.warm_at_start, settings.keep_alive, settings.idle_stop) == (False, None, None)
    assert (settings.leases, settings.leases_path, settings.idle_budget) == ("sqlite", None, None)
    assert schedules(settings) == {}


def test_an_empty_text_takes_away_the_times_of_the_file(tmp_path: Path) -> None:
    text = '[models.a.modal]\nwarm = "daily 07:00-22:00"\n'
    assert schedules(from_file(text, tmp_path)) != {}
    assert schedules(from_file(text, tmp_path, MODELS__A__MODAL__WARM="")) == {}


def test_numbers_have_ranges() -> None:
    assert problems(
        {
            "keep_alive": 0,
            "idle_stop": 0,
            "lease_seconds": 10,
            "idle_budget": 0,
            "leases": "sqllite",
            **of("together-dedicated", replicas=0, inactive_timeout=29),
        }
    ) == (
        "argument models.a.together-dedicated.replicas=0: must be a whole number of at least 1",
        "argument models.a.together-dedicated.inactive_timeout=29: must be a whole number from 30 to 1440",
        "argument keep_alive=0: must be a number above 0, at most 86400",
        "argument idle_stop=0: must be a number above 0",
        "argument lease_seconds=10: must be a number from 15 to 86400",
        'argument leases="sqllite": not known; use one of sqlite, redis, memory; did you mean sqlite?',
        "argument idle_budget=0: must be a number above 0",
    )
    assert problems(of("modal", warm=3))[0].startswith(
        "argument models.a.modal.warm=3: must be times such as"
    )


@pytest.mark.parametrize(
    ("mode", "keys"),
    [
        ("together-serverless", {"warm": "daily 07:00-22:00"}),
        ("openai-compatible", {"replicas": 2}),
        ("modal", {"inactive_timeout": 30}),
        ("modal", {"base_model": "org/m"}),
        ("together-dedicated", {"server": "llm/Server"}),
    ],
)
def test_what_is_said_of_a_machine_in_a_mode_without_such_is_an_error(
    mode: str, keys: dict[str, Any]
) -> None:
    (told,) = problems(of(mode, **keys))
    assert told.startswith(f"argument models.a.{mode}.{next(iter(keys))}: is for mode ")
    assert told.endswith(f"in {mode} nothing is started")


def test_a_model_of_your_own_needs_its_config_and_one_of_togethers_none() -> None:
    own, config = "projects/p/models/m", "projects/p/configs/c"
    of_models = "models.a.together-dedicated"
    assert problems(of("together-dedicated", base_model=own)) == (
        f"argument {of_models}.base_model: a model of your own needs {of_models}.hardware, its config "
        "projects/…/configs/…, too",
    )
    for keys in ({"hardware": config}, {"hardware": config, "base_model": "Qwen/Qwen3.5-9B"}):
        (told,) = problems(of("together-dedicated", **keys))
        assert told.startswith(f"argument {of_models}.hardware: is for a {of_models}.base_model of your own")
    assert load(of("together-dedicated", base_model=own, hardware=config)).models["a"].targets


def test_leases_in_redis_need_one() -> None:
    assert problems(LEASES="redis") == (
        'HYBRID_INFER_LEASES="redis": needs redis_url, the Redis that keeps the leases '
        "(or HYBRID_INFER_REDIS_URL)",
    )
    assert load(LEASES="redis", REDIS_URL="redis://h").leases == "redis"


def test_times_that_are_none_are_told_when_a_client_is_made(tmp_path: Path) -> None:
    settings = from_file(
        '[models.a.modal]\nwarm = "Mon-Fri 8-late"\n',
        tmp_path,
        MODELS__B_1__TOGETHER_DEDICATED__WARM="weekdays",
    )
    with pytest.raises(ConfigurationError) as caught:
        schedules(settings)
    first, second = sorted(caught.value.problems)
    assert first.startswith(f"{tmp_path / 'settings.toml'}: models.a.modal.warm: ")
    assert second.startswith("HYBRID_INFER_MODELS__B_1__TOGETHER_DEDICATED__WARM: ")
    with pytest.raises(ConfigurationError, match="late"):
        Client(simulate=True, **of("modal", warm="Mon-Fri 8-late"))


# Hooks


def test_a_hook_is_a_function_or_several(tmp_path: Path) -> None:
    settings = from_file(
        '[hooks]\non_ready = "app.hooks:ready"\non_idle = ["a:b", "c.d:E.f"]\n',
        tmp_path,
        HOOKS__BEFORE_STOP="a:b, app.hooks:stopping",
    )
    assert settings.hooks.on_ready == ("app.hooks:ready",)
    assert settings.hooks.on_idle == ("a:b", "c.d:E.f")
    assert settings.hooks.before_stop == ("a:b", "app.hooks:stopping")
    assert settings.hooks.on_switch == ()
    assert settings.sources["hooks.before_stop"] == "environment HYBRID_INFER_HOOKS__BEFORE_STOP"


@pytest.mark.parametrize(
    "written", ["app", "app:", ":f", "app.hooks.f", "a b:c", "a:b:c", "app:f()", "1a:b", ".a:b"]
)
def test_what_is_no_name_of_a_function_is_refused_unimported(written: str) -> None:
    (told,) = problems(HOOKS__ON_READY=written)
    assert told == (
        f'HYBRID_INFER_HOOKS__ON_READY="{written}": must be package.module:function, or several in a list or '
        "in a text with commas"
    )


def test_a_misspelt_hook_names_the_right_one() -> None:
    assert problems({"hooks": {"on_redy": "a:b"}}) == (
        "argument hooks.on_redy: no such setting; did you mean hooks.on_ready?",
    )
    assert problems(HOOKS__ON_REDY="a:b")[0].endswith("did you mean HYBRID_INFER_HOOKS__ON_READY?")
