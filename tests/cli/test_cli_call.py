"""`hybrid-infer call`: the answer on stdout, what it took on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from hybrid_infer import MODES, Cost, Hybrid
from hybrid_infer.cli.call import hybrid_json, summary

Cli = Callable[..., Any]

HYBRID = Hybrid(
    mode="modal",
    target="modal/llm",
    model="llm",
    attempts=2,
    history=(),
    restarts=0,
    latency=31.5,
    time_to_first_token=30.25,
    cold_start=True,
    cold_wait=30.0,
    queue_wait=0.0,
    cost=Cost(
        amount=Decimal("0.000123"),
        basis="machine-time",
        source="modal.com/pricing",
        priced_at=date(2026, 10, 4),
        estimated=True,
        reason="idle time is not in it",
    ),
    usage=None,
    cache="off",
    why=("modal: it is the client's mode",),
    warnings=(),
    request_id=None,
    raw=None,
)


@pytest.mark.parametrize("mode", MODES)
def test_the_answer_is_on_stdout_and_one_line_about_it_on_stderr(
    cli: Cli, simulated: None, mode: str
) -> None:
    result = cli("call", "--mode", mode, "Why", "is", "the", "sky", "blue?")
    assert result.exit_code == 0
    assert "Why is the sky blue?" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{mode}/")
    assert " attempt" in line
    assert "$" in line or "cost unknown: " in line


def test_streamed_and_whole_answers_are_the_same(cli: Cli, simulated: None) -> None:
    whole, streamed = cli("call", "--no-stream", "Hello"), cli("call", "--stream", "Hello")
    assert streamed.stdout == whole.stdout
    assert "first token" in streamed.stderr
    assert "first token" not in whole.stderr


def test_a_dash_stands_for_standard_input(cli: Cli, simulated: None) -> None:
    assert "Hello from a pipe" in cli("call", "-", stdin="Hello from a pipe\n").stdout
    assert "Say: Hello from a pipe" in cli("call", "Say:", "-", stdin="Hello from a pipe\n").stdout


def test_nothing_to_ask_is_a_usage_error(cli: Cli, simulated: None) -> None:
    for arguments in (["call"], ["call", " "], ["call", "-"]):
        assert cli(*arguments, stdin="\n").exit_code == 2


def test_a_mode_that_does_not_exist_is_a_usage_error_that_names_those_that_do(cli: Cli) -> None:
    result = cli("call", "--mode", "modl", "Hello")
    assert result.exit_code == 2
    assert all(mode in result.stderr for mode in MODES)


def test_a_missing_key_is_named_with_its_variable(cli: Cli) -> None:
    result = cli("call", "Hello")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "set TOGETHER_API_KEY" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_dead_host_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_INFER_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HYBRID_INFER_MAX_RETRIES", "0")
    result = cli("call", "--mode", "openai-compatible", "--model", "m", "Hello")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: openai-compatible (127.0.0.1): ")
    assert len(result.stderr.splitlines()) == 1


def test_an_answer_that_was_cut_off_says_so(cli: Cli, simulated: None) -> None:
    result = cli("call", "--max-tokens", "3", "Hello")
    assert "warning: the answer was cut off" in result.stderr


def test_the_system_message_is_sent(cli: Cli, simulated: None) -> None:
    short = json.loads(cli("call", "--json", "Hello").stdout)
    long = json.loads(cli("call", "--json", "--system", "You are terse." * 20, "Hello").stdout)
    assert long["usage"]["prompt_tokens"] > short["usage"]["prompt_tokens"]


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_json_holds_text_usage_and_hybrid(cli: Cli, simulated: None, stream: str) -> None:
    result = cli("call", "--json", stream, "Hello")
    shape = json.loads(result.stdout)
    assert set(shape) == {"text", "usage", "hybrid"}
    assert "Hello" in shape["text"]
    assert shape["usage"]["completion_tokens"] > 0
    hybrid = shape["hybrid"]
    assert set(hybrid) == {name for name in Hybrid.__slots__ if name != "raw"}
    assert isinstance(hybrid["cost"]["amount"], float)
    assert date.fromisoformat(hybrid["cost"]["priced_at"]) < date(2100, 1, 1)
    assert hybrid["usage"]["output_tokens"] == shape["usage"]["completion_tokens"]
    assert (hybrid["time_to_first_token"] is not None) == (stream == "--stream")
    assert result.stderr == ""


def test_the_line_tells_times_attempts_and_what_the_cost_is_from() -> None:
    assert summary(HYBRID) == (
        "modal/llm · 31.50 s · first token 30.25 s · cold start 30.0 s · 2 attempts · "
        "about $0.000123: idle time is not in it (modal.com/pricing, 2026-10-04)"
    )


def test_json_of_a_call_with_an_unknown_price_says_null_and_why() -> None:
    from dataclasses import replace

    shape = hybrid_json(replace(HYBRID, cost=Cost(amount=None, basis="unknown", reason="no price known")))
    assert shape["cost"]["amount"] is None
    assert shape["cost"]["reason"] == "no price known"
    assert json.loads(json.dumps(shape)) == shape | {"why": list(HYBRID.why), "warnings": [], "history": []}
