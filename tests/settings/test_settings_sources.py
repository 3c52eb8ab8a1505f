"""Where a setting comes from, and which source wins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from hybrid_infer.calls.call import MODES
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import HybridSettings, ModelTarget, Secret, Settings, reveal


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
    assert (settings.first_token_timeout, settings.between_tokens_timeout) == (None, 60)
    assert (settings.hybrid, settings.purposes, settings.fallback) == (HybridSettings(), {}, ())
    hybrid = settings.hybrid
    assert (hybrid.base, hybrid.overflow, hybrid.cap) == (None, None, None)
    assert (hybrid.max_wait, hybrid.return_below, hybrid.dwell) == (2, 0.5, 10)
    assert (settings.never_leave, settings.on_cold, settings.on_stream_break) == (False, "overflow", "error")
    assert (settings.retry_budget, settings.hedge, settings.breaker) == (0.2, False, True)
    assert (settings.max_in_flight, settings.adaptive, settings.max_queue) == (None, False, 1000)
    assert (settings.requests_per_minute, settings.tokens_per_minute, settings.max_wait) == (None, None, None)
    assert (settings.redis_url, settings.redis_prefix) == (None, "hybrid_infer")
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
