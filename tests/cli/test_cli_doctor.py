"""`hybrid-infer doctor`: findings and fixes; exit code 1 if the current mode cannot work."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer import MODES
from hybrid_infer.cli.checks import EXTRAS

Cli = Callable[..., Any]

SECRET = "sk-do-not-show-this"


def checked(cli: Cli, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = cli("doctor", "--json", *arguments)
    shape = json.loads(result.stdout)
    assert shape["works"] == (result.exit_code == 0)
    return result.exit_code, {check["subject"]: check for check in shape["checks"]}


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_simulated_providers_always_work(cli: Cli, simulated: None) -> None:
    code, checks = checked(cli)
    assert code == 0
    assert checks["simulate"]["finding"].startswith("on")
    assert all(checks[f"mode {mode}"]["state"] == "ok" for mode in MODES)


def test_without_a_key_the_current_mode_cannot_work_and_the_others_are_not_configured(cli: Cli) -> None:
    code, checks = checked(cli)
    assert code == 1
    assert checks["mode together-serverless"]["state"] == "problem"
    assert "set TOGETHER_API_KEY" in checks["mode together-serverless"]["fix"]
    assert checks["mode modal"]["state"] == "missing"
    assert "HYBRID_INFER_MODAL_URL" in checks["mode modal"]["fix"]


def test_a_credential_is_named_by_its_variable_and_never_shown(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", SECRET)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:3128")
    monkeypatch.setenv("HTTP_PROXY", f"user:{SECRET}@127.0.0.1:3128")
    (folder / "hybrid_infer.toml").write_text(
        f'[models.m.openai-compatible]\nurl = "https://own.example"\napi_key = "{SECRET}"\n'
    )
    code, checks = checked(cli)
    assert code == 0
    assert (
        "together_api_key from environment TOGETHER_API_KEY" in checks["mode together-serverless"]["finding"]
    )
    assert "api_key from file hybrid_infer.toml" in checks["mode openai-compatible"]["finding"]
    assert checks["proxy HTTPS_PROXY"]["finding"] == "http://…@127.0.0.1:3128"
    for arguments in (["doctor"], ["doctor", "--json"]):
        assert SECRET not in cli(*arguments).output


def test_each_wrong_setting_is_a_problem_of_its_own(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODE", "modl")
    monkeypatch.setenv("HYBRID_INFER_TIMEOUTT", "5")
    result = cli("doctor")
    assert result.exit_code == 1
    assert "did you mean modal?" in result.stdout
    assert "did you mean HYBRID_INFER_TIMEOUT?" in result.stdout
    assert "2 to mend" in result.stdout


def test_certificates_that_cannot_be_read_are_a_problem(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", SECRET)
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    code, checks = checked(cli)
    assert code == 1
    assert "SSL_CERT_FILE=nowhere.pem" in checks["network"]["finding"]


def test_extras_are_those_of_the_package_and_have_their_line_for_pip(cli: Cli) -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    not_used_yet = {"advice", "ray"}
    assert set(EXTRAS) == set(declared) - {"all"} - not_used_yet
    _, checks = checked(cli)
    assert checks["extra cli"]["state"] == "ok"
    for name in EXTRAS:
        check = checks[f"extra {name}"]
        assert check["fix"] == (
            f'pip install "hybrid-infer[{name}]"' if check["state"] == "missing" else None
        )


def test_online_connects_to_what_is_configured(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, listening: int
) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODE", "openai-compatible")
    monkeypatch.setenv("HYBRID_INFER_BASE_URL", f"http://127.0.0.1:{listening}")
    code, checks = checked(cli, "--online")
    assert code == 0
    assert checks[f"reach http://127.0.0.1:{listening}"]["finding"] == "connected"
    _, offline = checked(cli)
    assert not any(subject.startswith("reach") for subject in offline)


@pytest.mark.parametrize(
    ("address", "finding"),
    [
        ("http://127.0.0.1:9", "connection refused"),
        ("http://nowhere.invalid", "the name nowhere.invalid does not resolve"),
    ],
)
def test_an_address_that_cannot_be_reached_is_a_problem_of_the_current_mode_only(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, address: str, finding: str
) -> None:
    monkeypatch.setenv("HYBRID_INFER_BASE_URL", address)
    monkeypatch.setenv("HYBRID_INFER_MODE", "openai-compatible")
    code, checks = checked(cli, "--online")
    (check,) = (check for subject, check in checks.items() if subject.startswith("reach"))
    assert (code, check["state"]) == (1, "problem")
    assert finding in check["finding"]
    monkeypatch.setenv("HYBRID_INFER_MODE", "modal")
    monkeypatch.setenv("HYBRID_INFER_MODAL_URL", "http://127.0.0.1:9")
    _, checks = checked(cli, "--online")
    if address != "http://127.0.0.1:9":
        assert next(check["state"] for name, check in checks.items() if "invalid" in name) == "missing"


def test_a_server_without_tls_behind_https_is_told(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, listening: int
) -> None:
    monkeypatch.setenv("HYBRID_INFER_MODE", "openai-compatible")
    monkeypatch.setenv("HYBRID_INFER_CONNECT_TIMEOUT", "0.2")
    monkeypatch.setenv("HYBRID_INFER_BASE_URL", f"https://127.0.0.1:{listening}")
    code, checks = checked(cli, "--online")
    assert code == 1
    assert f"no connection to 127.0.0.1:{listening}: no answer in time" in str(checks)


def test_behind_a_proxy_the_proxy_is_what_is_tried(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, listening: int
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", SECRET)
    monkeypatch.setenv("https_proxy", f"http://user:{SECRET}@127.0.0.1:{listening}")
    code, checks = checked(cli, "--online")
    assert code == 0
    finding = checks["reach https://api-inference.together.ai"]["finding"]
    assert finding == f"its proxy http://127.0.0.1:{listening} (from https_proxy): connected"


def test_a_proxy_that_cannot_be_used_is_a_problem_before_any_call(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", SECRET)
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:70")
    code, checks = checked(cli)
    assert code == 1
    assert checks["network"]["finding"].startswith("HTTPS_PROXY: ")
