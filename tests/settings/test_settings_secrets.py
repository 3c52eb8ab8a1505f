"""A secret is never shown."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.settings import Settings

CANARY = "c4n4ry-s3cr3t"
SECRETS = [option.name for option in Settings.options() if option.secret and "<" not in option.name]
VALUES = {name: f"redis://:{CANARY}@host" if name == "redis_url" else CANARY for name in SECRETS}
TARGET_SECRETS = ("api_key", "key", "secret")


def everything_shown(settings: Settings) -> str:
    target = settings.models["a"].target("modal")
    return "\n".join(
        [
            repr(settings), str(settings), f"{settings:}", repr(settings.models), repr(target), str(target),
            repr(settings.explain()), repr(settings.sources), repr(settings.model_dump()),
        ]
    )  # fmt: skip


def test_every_setting_that_is_a_credential_is_marked_secret() -> None:
    assert set(SECRETS) == {
        "api_key", "together_api_key", "modal_key", "modal_secret", "modal_api_key", "modal_token_id",
        "modal_token_secret", "redis_url",
    }  # fmt: skip


def test_secrets_show_nowhere_and_explain_says_that_they_are_set(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    table = "".join(f'{name} = "{CANARY}"\n' for name in TARGET_SECRETS)
    file.write_text(
        "".join(f'{name} = "{value}"\n' for name, value in VALUES.items()) + f"[models.a.modal]\n{table}"
    )
    by_variable = {f"HYBRID_INFER_{name.upper()}": value for name, value in VALUES.items()}
    by_variable |= {f"HYBRID_INFER_MODELS__A__MODAL__{name.upper()}": CANARY for name in TARGET_SECRETS}
    arguments = {name: value for name, value in VALUES.items() if name != "api_key"}
    models = {"a": {"modal": dict.fromkeys(TARGET_SECRETS, CANARY)}}
    for settings in (
        Settings.load(environ={}, config=file),
        Settings.load(environ=by_variable),
        Settings.load({**arguments, "models": models}, environ={}),
    ):
        assert CANARY not in everything_shown(settings)
        shown = {row.name: row.value for row in settings.explain()}
        assert shown["modal_key"] == shown["models.a.modal.secret"] == shown["redis_url"] == "set"
    assert {row.name: row.value for row in Settings.load(environ={}).explain()}["modal_key"] == "not set"


def test_a_function_that_holds_a_secret_is_not_shown_either() -> None:
    key = functools.partial(str, CANARY)
    settings = Settings.load(
        {"mode": "modal", "api_key": key, "models": {"a": {"modal": {"key": key}}}}, environ={}
    )
    target = settings.models["a"].target("modal")
    assert CANARY not in repr(settings) + str(settings) + repr(settings.explain()) + repr(target) + str(
        target
    )


WRONG: list[Mapping[str, object]] = [
    *(
        {name: value}
        for name in SECRETS
        for value in (f"{CANARY} x", f"{CANARY}\n{CANARY}", [CANARY], {CANARY: 1})
    ),
    *({name: CANARY.encode()} for name in SECRETS),
    {"models": {"a": {"modal": {"api_key": f"{CANARY} x"}}}},
    {"models": {"a": {"modal": {"api_ky": CANARY}}}},
    {"models": {"a": {"modal": [CANARY]}}},
    {"models": {"a": CANARY}},
    {"models": CANARY},
    {"together_api_ky": CANARY},
    {"together_api_key": CANARY, "timeout": -1},
    {"base_url": {"api_key": CANARY}},
    {"base_url": f"http://me:{CANARY}@host/v1"},
    {"base_url": f"http://{CANARY}@host:port"},
    {"base_url": f"me:{CANARY}@host"},
    {"base_url": f"http://me:a/?#{CANARY}@host/"},
    {"base_url": f"ftp://host/?key={CANARY}"},
    {"mode": f"http://me:{CANARY}@host"},
    {"fallback": f"http://me:{CANARY}@host"},
    {"fallback": [f"http://me:{CANARY}@host"]},
    {"redis_url": f"http://:{CANARY}@host"},
    {"redis_url": f"redis://:{CANARY}@"},
    {"redis_url": f"redis://:{CANARY}@host:port"},
    {"hybrid": CANARY},
    {"hybrid": {"base": {"a": CANARY}}},
    {"purposes": {"a": [CANARY]}},
]


@pytest.mark.parametrize("arguments", WRONG, ids=range(len(WRONG)))
def test_errors_do_not_show_secrets(arguments: Mapping[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(arguments, environ={})
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    if all(isinstance(value, str) for value in arguments.values()):
        environ = {f"HYBRID_INFER_{name.upper()}": str(value) for name, value in arguments.items()}
        with pytest.raises(ConfigurationError) as caught:
            Settings.load(environ=environ)
        assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_an_address_is_shown_without_user_name_and_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ={"HYBRID_INFER_BASE_URL": "http://me:pass@host/v1"})
    assert str(caught.value).startswith(
        'HYBRID_INFER_BASE_URL="http://host/v1": an address must not hold a user name'
    )


def test_a_broken_file_does_not_show_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    for text in (
        f'api_key = "{CANARY}',
        f"api_key = {CANARY}",
        f'api_key = "{CANARY}"\napi_key = "{CANARY}"',
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            Settings.load(environ={}, config=file)
        assert CANARY not in "".join(traceback.format_exception(caught.value))
