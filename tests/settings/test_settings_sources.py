"""Where a setting comes from, and which source wins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from hybrid_infer.calls.call import MODES
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import ModelTarget, Secret, Settings, reveal


def load(arguments: Mapping[str, object] | None = None, /, **environ: str) -> Settings:
    return Settings.load(arguments or {}, environ=environ)


def from_file(text: str, path: Path, **environ: str) -> Settings:
    file = path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return Settings.load(environ=environ, config=file)


def text_of(secret: Secret | None) -> str | None:
    return None if secret is None else reveal(secret)


def test_without_anything_every_setting_has_its_default() -> None:
    settings = load()
    assert settings.mode == "together-serverless"
    assert (settings.timeout, settings.attempt_timeout, settings.connect_timeout) == (600, 300, 5)
    assert (settings.cold_start_timeout, settings.max_retries) == (600, 2)
    assert (settings.max_connections, settings.max_keepalive, settings.keepalive_expiry) == (1000, 100, 30)
    assert (settings.simulate, settings.simulate_seed, settings.simulate_speed) == (False, 0, 1)
    assert set(settings.sources.values()) == {"default"}


def test_argument_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("max_retries = 3\ntimeout = 30\nattempt_timeout = 20\n")
    environ = {"HYBRID_INFER_MAX_RETRIES": "4", "HYBRID_INFER_TIMEOUT": "40"}
    settings = Settings.load({"max_retries": 5}, environ=environ, config=file)
    assert (settings.max_retries, settings.timeout, settings.attempt_timeout) == (5, 40, 20)
    assert settings.connect_timeout == 5
    assert settings.sources["max_retries"] == "argument"
    assert settings.sources["timeout"] == "environment HYBRID_INFER_TIMEOUT"
    assert settings.sources["attempt_timeout"] == f"file {file}"
    assert settings.sources["connect_timeout"] == "default"


def test_none_as_an_argument_counts_as_not_given() -> None:
    settings = load({"mode": None, "models": {"a": {"modal": {"model": "m", "url": None}}}})
    assert settings.sources["mode"] == "default"
    assert settings.models["a"].target("modal") == ModelTarget(model="m")


def test_the_variables_of_the_process_are_read_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_MAX_RETRIES", "7")
    assert Settings.load().max_retries == 7


def test_the_file_is_the_one_named_by_the_argument_else_by_the_variable(tmp_path: Path) -> None:
    named, by_variable = tmp_path / "named.toml", tmp_path / "variable.toml"
    named.write_text("max_retries = 3")
    by_variable.write_text("max_retries = 4")
    environ = {"HYBRID_INFER_CONFIG": str(by_variable)}
    assert Settings.load(environ=environ).max_retries == 4
    assert Settings.load(environ=environ, config=named).max_retries == 3
    assert Settings.load(environ={"HYBRID_INFER_CONFIG": ""}).max_retries == 2


def test_no_file_is_picked_up_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".env", "hybrid_infer.toml", "pyproject.toml"):
        (tmp_path / name).write_text("HYBRID_INFER_MODE=modal\n" if name == ".env" else 'mode = "modal"\n')
    monkeypatch.chdir(tmp_path)
    assert load() == Settings()


def test_import_opens_no_file_but_modules_and_no_socket() -> None:
    program = """
import sys
import pydantic, pydantic.fields, pydantic_core, tomllib, urllib.parse
import typing, json, dataclasses
class A(pydantic.BaseModel): x: int = 1   # what pydantic loads at its first model is its own
import hybrid_infer.calls.call, hybrid_infer.errors
seen = []
def hook(event, arguments):
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc")) or event.startswith("socket"):
        seen.append((event, str(arguments[0])))
sys.addaudithook(hook)
import hybrid_infer.settings
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Providers' own variables, and whom a credential belongs to


@pytest.mark.parametrize(
    ("name", "own", "value"),
    [
        ("together_api_key", "TOGETHER_API_KEY", "k"),
        ("together_base_url", "TOGETHER_BASE_URL", "http://h"),
        ("modal_token_id", "MODAL_TOKEN_ID", "ak-1"),
        ("modal_token_secret", "MODAL_TOKEN_SECRET", "as-1"),
    ],
)
def test_the_providers_variable_is_read_and_ours_wins(name: str, own: str, value: str) -> None:
    ours = f"HYBRID_INFER_{name.upper()}"
    assert load(**{own: value}).sources[name] == f"environment {own}"
    assert load(**{own: "wrong", ours: value}).sources[name] == f"environment {ours}"
    assert load(**{own: value, ours: " "}).sources[name] == f"environment {own}"


@pytest.mark.parametrize(
    ("mode", "url", "key"),
    [
        ("together-serverless", "together_base_url", "together_api_key"),
        ("together-dedicated", "together_base_url", "together_api_key"),
        ("modal", "modal_url", "modal_api_key"),
        ("openai-compatible", "base_url", "api_key"),
    ],
)
@pytest.mark.parametrize("mode_from", ["argument", "environment"])
def test_address_and_key_as_arguments_belong_to_the_mode_of_the_client(
    mode: str, url: str, key: str, mode_from: str
) -> None:
    given: dict[str, object] = {"base_url": "http://h/v1", "api_key": "k"}
    if mode_from == "argument":
        settings = load({**given, "mode": mode}, HYBRID_INFER_MODE="modal")
    else:
        settings = load(given, HYBRID_INFER_MODE=mode)
    set_ones = {name for name, source in settings.sources.items() if source == "argument"} - {"mode"}
    assert set_ones == {url, key}
    assert getattr(settings, url) == "http://h"
    assert text_of(getattr(settings, key)) == "k"


@pytest.mark.parametrize("mode", MODES)
def test_address_and_key_from_environment_and_file_are_those_of_openai_compatible(
    mode: str, tmp_path: Path
) -> None:
    by_variable = load(HYBRID_INFER_MODE=mode, HYBRID_INFER_BASE_URL="http://h", HYBRID_INFER_API_KEY="k")
    by_file = from_file(f'mode = "{mode}"\nbase_url = "http://h"\napi_key = "k"', tmp_path)
    for settings in (by_variable, by_file):
        assert (settings.base_url, text_of(settings.api_key)) == ("http://h", "k")
        assert (settings.together_base_url, settings.together_api_key) == (None, None)
        assert (settings.modal_url, settings.modal_api_key) == (None, None)


def test_both_names_of_one_setting_as_arguments_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="in mode modal this is modal_url, given too"):
        load({"mode": "modal", "base_url": "http://a", "modal_url": "http://b"})


# Models

MODELS = """
[models.assistant]
mode = "modal"
together-serverless = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
together-dedicated  = { model = "acme/assistant", gpu = "H100", gpus = 2 }
modal               = { url = "https://acme--llm.us-east.modal.direct/v1", model = "llm", key = "wk-1" }

[models."llama-3.3"]
openai-compatible = {}
"""


def test_a_model_is_a_name_or_a_table_in_each_mode(tmp_path: Path) -> None:
    settings = from_file(MODELS, tmp_path)
    assistant = settings.models["assistant"]
    assert assistant.mode == "modal"
    assert assistant.target("together-serverless") == ModelTarget(
        model="meta-llama/Llama-3.3-70B-Instruct-Turbo"
    )
    assert assistant.target("together-dedicated") == ModelTarget(model="acme/assistant", gpu="H100", gpus=2)
    assert assistant.target("modal") == ModelTarget(
        url="https://acme--llm.us-east.modal.direct", model="llm", key=SecretStr("wk-1")
    )
    assert assistant.target("openai-compatible") is None
    assert settings.models["llama-3.3"].target("openai-compatible") == ModelTarget()
    assert settings.models["llama-3.3"].mode is None


def test_variables_reach_into_the_models_of_the_file(tmp_path: Path) -> None:
    settings = from_file(
        MODELS,
        tmp_path,
        HYBRID_INFER_MODELS__ASSISTANT__MODAL__URL="http://localhost:8000",
        HYBRID_INFER_MODELS__ASSISTANT__TOGETHER_DEDICATED="acme/other",
        HYBRID_INFER_MODELS__ASSISTANT__MODE="together-dedicated",
        HYBRID_INFER_MODELS__LLAMA_3_3__OPENAI_COMPATIBLE__MODEL="llama",
        HYBRID_INFER_MODELS__New_One__MODAL__PRICED_AS="zai-org/GLM-5.3",
    )
    assert set(settings.models) == {"assistant", "llama-3.3", "new_one"}
    assistant = settings.models["assistant"]
    assert assistant.mode == "together-dedicated"
    assert assistant.target("modal") == ModelTarget(
        url="http://localhost:8000", model="llm", key=SecretStr("wk-1")
    )
    assert assistant.target("together-dedicated") == ModelTarget(model="acme/other", gpu="H100", gpus=2)
    assert settings.models["llama-3.3"].target("openai-compatible") == ModelTarget(model="llama")
    assert settings.models["new_one"].target("modal") == ModelTarget(priced_as="zai-org/GLM-5.3")
    sources = settings.sources
    assert sources["models.assistant.modal.url"] == "environment HYBRID_INFER_MODELS__ASSISTANT__MODAL__URL"
    assert sources["models.assistant.modal.model"] == f"file {tmp_path / 'settings.toml'}"
    assert sources['models."llama-3.3".openai-compatible.model'].startswith("environment ")


@pytest.mark.parametrize(
    "name", ["My.Model", "a__b", "meta-llama/Llama-3", "llama3.1:8b", "straße", "a-", "modal"]
)
def test_a_model_of_any_name_can_be_reached_by_a_variable(name: str) -> None:
    folded = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper())
    settings = load(
        {"models": {name: {"modal": "x"}}}, **{f"HYBRID_INFER_MODELS__{folded}__MODAL__GPU": "L4"}
    )
    assert {name: m.target("modal") for name, m in settings.models.items()} == {
        name: ModelTarget(model="x", gpu="L4")
    }


def test_of_models_whose_names_begin_alike_the_longer_is_meant() -> None:
    models = {"a": {"modal": "x"}, "a__b": {"modal": "x"}}
    settings = load({"models": models}, HYBRID_INFER_MODELS__A__B__MODAL__GPU="L4")
    assert settings.models["a__b"].target("modal") == ModelTarget(model="x", gpu="L4")


def test_arguments_may_give_models_too_and_win() -> None:
    settings = load(
        {"models": {"a": {"modal": {"model": "mine", "api_key": lambda: "rotated"}}}},
        HYBRID_INFER_MODELS__A__MODAL="theirs",
        HYBRID_INFER_MODELS__A__MODAL__GPU="H100",
    )
    target = settings.models["a"].target("modal")
    assert target is not None
    assert (target.model, target.gpu, text_of(target.api_key)) == ("mine", "H100", "rotated")


# File and environment say the same


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
    },
).filter(bool)
MODEL_KEYS: dict[str, st.SearchStrategy[object]] = dict.fromkeys(MODES, TARGET | _word())
MODEL = st.fixed_dictionaries({}, optional={"mode": st.sampled_from(MODES), **MODEL_KEYS}).filter(bool)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(MODES),
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
        "models": st.dictionaries(
            st.from_regex(r"[a-z0-9]+(_[a-z0-9]+)*", fullmatch=True), MODEL, max_size=3
        ),
    },
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value)
        return "{" + ", ".join(f"{json.dumps(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def as_variables(tree: Mapping[str, Any], prefix: str = "HYBRID_INFER_") -> dict[str, str]:
    variables: dict[str, str] = {}
    for key, value in tree.items():
        name = prefix + key.upper().replace("-", "_")
        if isinstance(value, dict):
            variables |= as_variables(cast("dict[str, Any]", value), f"{name}__")
        else:
            variables[name] = str(value)
    return variables


@given(SETTINGS)
def test_file_environment_and_arguments_give_the_same_settings(tree: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        text = "\n".join(f"{key} = {as_toml(value)}" for key, value in tree.items())
        by_file = from_file(text, Path(folder))
    by_variables = load(**as_variables(tree))
    assert by_file == by_variables
    assert set(by_file.sources) == set(by_variables.sources)
    # Of the arguments these two move to the mode of the client.
    by_arguments = load({k: v for k, v in tree.items() if k not in ("base_url", "api_key")})
    assert by_arguments == by_variables.model_copy(update={"base_url": None, "api_key": None})
