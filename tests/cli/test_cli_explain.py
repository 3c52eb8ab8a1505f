"""`hybrid-infer explain`: settings, places, stack; no secrets, no network."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer import MODES, Client

Cli = Callable[..., Any]

SECRET = "sk-do-not-show-this"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def explained(cli: Cli, *arguments: str) -> Any:
    result = cli("explain", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_each_setting_stands_with_its_source(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hybrid_infer.toml").write_text('[models.assistant]\nmodal = "llm"\n')
    monkeypatch.setenv("HYBRID_INFER_TIMEOUT", "30")
    rows = {row["name"]: (row["value"], row["source"]) for row in explained(cli)["settings"]}
    assert rows == {
        "timeout": ("30.0", "environment HYBRID_INFER_TIMEOUT"),
        "models.assistant.modal.model": ("llm", "file hybrid_infer.toml"),
    }


def test_all_shows_the_defaults_too(cli: Cli) -> None:
    assert explained(cli)["settings"] == []
    every = {row["name"]: row["source"] for row in explained(cli, "--all")["settings"]}
    assert every["mode"] == every["max_retries"] == "default"


def test_no_secret_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "TOGETHER_API_KEY",
        "HYBRID_INFER_MODAL_KEY",
        "HYBRID_INFER_MODAL_SECRET",
        "HYBRID_INFER_API_KEY",
    ):
        monkeypatch.setenv(name, SECRET)
    for arguments in (["explain"], ["explain", "--all"], ["explain", "--json"]):
        result = cli(*arguments)
        assert "together_api_key" in result.stdout
        assert SECRET not in result.output


def test_every_mode_has_its_place_or_the_reason_why_not(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODAL_URL", "https://acme--llm.us-east.modal.direct/v1")
    models = {row["mode"]: row for row in explained(cli)["models"]}
    assert list(models) == list(MODES)
    assert models["modal"]["address"] == "https://acme--llm.us-east.modal.direct"
    assert models["modal"]["problem"] is None
    assert "TOGETHER_API_KEY" in models["together-serverless"]["problem"]
    assert "HYBRID_INFER_BASE_URL" in models["openai-compatible"]["problem"]


@pytest.mark.parametrize("mode", MODES)
def test_what_the_client_says_of_itself_is_shown(
    cli: Cli, simulated: None, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODE", mode)
    found = explained(cli)
    with Client() as client:
        assert found["description"] == client.describe()
    assert (found["mode"], found["simulate"], found["problem"]) == (mode, True, None)
    assert client.describe() in cli("explain").stdout


def test_a_mode_that_cannot_be_used_is_explained_all_the_same(cli: Cli) -> None:
    found = explained(cli)
    assert found["description"] is None
    assert "TOGETHER_API_KEY" in found["problem"]
    assert f"cannot be used yet: {found['problem']}" in cli("explain").stdout
