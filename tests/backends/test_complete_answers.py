"""A response with a status of success is an answer, or one clear error that says what came instead."""

from __future__ import annotations

from typing import Any

import pytest

from backends.wire_samples import KEY, answer, chat, compatible, modal, target, together
from hybrid_infer.calls.chat import ChatMessage
from hybrid_infer.calls.money import Usage
from hybrid_infer.errors import (
    APIError,
    APIResponseError,
    APIStatusError,
    BadRequestError,
    ColdError,
    RateLimitError,
)

HI = {
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}
    ]
}


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        ("<!doctype html><title>Sign in</title>", "text/html", ("web page", "text/html", "Sign in")),
        ("", "application/json", ("empty", "application/json")),
        ("OK", "text/plain", ("not JSON", "text/plain", "OK")),
        ('{"choices": [', "application/json", ("not JSON",)),
        ('{"status": "ok"}', "application/json", ("no choices", "status")),
        ('{"choices": []}', "application/json", ("no choices",)),
        ('{"choices": null}', "application/json", ("choices",)),
        ("[]", "application/json", ("chat completion",)),
        ("null", "application/json", ("chat completion",)),
        (
            '{"choices": [{"message": {"content": {"a": 1}}}]}',
            "application/json",
            ("choices.0.message.content",),
        ),
    ],
)
def test_a_success_that_is_no_answer(body: str, content_type: str, says: tuple[str, ...]) -> None:
    with pytest.raises(APIResponseError) as caught:
        together().decode(chat(), answer(body, content_type=content_type, x_request_id="r1"))
    error = caught.value
    for text in says:
        assert text in str(error)
    assert (error.status, error.request_id, error.body, error.billed) == (200, "r1", body, None)
    assert error.hint
    assert len(error.message) < 400
    assert error.__context__ is None


def test_what_came_is_shortened() -> None:
    with pytest.raises(APIResponseError) as caught:
        together().decode(chat(), answer("<html>" + "x" * 100_000, content_type="text/html"))
    assert len(caught.value.message) < 300
    assert len(caught.value.body or "") == 2_000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, RateLimitError),
        ({"error": {"message": "not running", "code": "dedicated_endpoint_not_running"}}, ColdError),
        ({"object": "error", "message": "bad", "code": 400}, BadRequestError),
        ({"error": "what"}, APIStatusError),
        ({"error": {"message": "what"}, "choices": []}, APIStatusError),
    ],
)
def test_an_error_inside_a_success_is_that_error(body: Any, kind: type[APIError]) -> None:
    with pytest.raises(APIError) as caught:
        together().decode(chat(), answer(body))
    assert type(caught.value) is kind
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("details", "cached", "reasoning"),
    [
        ({}, None, None),
        ({"cached_tokens": 4}, 4, None),
        ({"prompt_tokens_details": {"cached_tokens": 4}}, 4, None),
        ({"completion_tokens_details": {"reasoning_tokens": 1}}, None, 1),
        ({"prompt_tokens_details": None, "completion_tokens_details": {}}, None, None),
    ],
)
def test_cached_and_reasoning_tokens_in_both_places(
    details: dict[str, Any], cached: int | None, reasoning: int | None
) -> None:
    counted = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    _, facts = together().decode(chat(), answer({**HI, "usage": {**counted, **details}}))
    assert facts.usage == Usage(
        input_tokens=9, output_tokens=2, cached_tokens=cached, reasoning_tokens=reasoning
    )


@pytest.mark.parametrize("missing", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_is_missing_follows_from_the_total(missing: str) -> None:
    counted = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    del counted[missing]
    _, facts = together().decode(chat(), answer({**HI, "usage": counted}))
    assert facts.usage == Usage(input_tokens=9, output_tokens=2)


def test_missing_usage_is_estimated_beside_the_answer() -> None:
    """Four characters a token, rounded up: 9 characters asked, 11 answered."""
    messages = [
        ChatMessage(role="user", content="Say"),
        {"role": "user", "content": [{"type": "text", "text": "hello!"}]},
    ]
    completion, facts = compatible().decode(chat(messages=messages), answer(HI))
    assert facts.usage == Usage(input_tokens=3, output_tokens=3, estimated=True)
    assert completion.usage is None


def test_tool_calls_count_in_the_estimate() -> None:
    tool_calls = [{"id": "a", "type": "function", "function": {"name": "time", "arguments": '{"a":1}'}}]
    message = {"role": "assistant", "content": None, "tool_calls": tool_calls}
    _, facts = compatible().decode(chat(), answer({"choices": [{"message": message}]}))
    assert facts.usage == Usage(input_tokens=2, output_tokens=3, estimated=True)


def test_credentials_are_not_repeated() -> None:
    backend = together()
    backend.encode(chat(), target())
    with pytest.raises(APIResponseError) as caught:
        backend.decode(chat(), answer(f"<html>Bearer {KEY}</html>", content_type="text/html"))
    assert KEY not in f"{caught.value} {caught.value.body} {caught.value.message}"


@pytest.mark.parametrize(
    ("body", "first"),
    [
        ({"object": "list", "data": [{"id": "llm"}, {"id": "other"}]}, "llm"),
        ([{"id": "acme/one"}], "acme/one"),
        ({"data": []}, None),
        ({"data": [{}]}, None),
        ({"models": 1}, None),
        ("<html>", None),
    ],
)
def test_first_model_of_a_list(body: Any, first: str | None) -> None:
    assert modal().first_model(answer(body)) == first
