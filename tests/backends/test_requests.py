"""What each mode sends, byte for byte, and what it refuses to send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from backends.wire_samples import BACKENDS, HELLO, KEY, chat, compatible, modal, target, together
from hybrid_infer.backends.base import USER_AGENT, address_of
from hybrid_infer.backends.compatible import CompatibleBackend
from hybrid_infer.backends.modal import ModalBackend
from hybrid_infer.backends.openai_wire import OpenAIBackend
from hybrid_infer.calls.call import Call, Mode
from hybrid_infer.calls.chat import ChatCompletion, ChatMessage
from hybrid_infer.errors import ConfigurationError, InvalidCallError
from hybrid_infer.transport.base import Origin

AGENT = ("user-agent", USER_AGENT)
JSON_HEADERS = (("content-type", "application/json"), ("accept", "application/json"), AGENT)
STREAM_HEADERS = (("content-type", "application/json"), ("accept", "text/event-stream"), AGENT)
BEARER = ("authorization", f"Bearer {KEY}")


def body(call: Call, backend: OpenAIBackend | None = None, mode: Mode = "together-serverless") -> Any:
    return json.loads((backend or together()).encode(call, target(mode)).content())


def headers(call: Call, backend: OpenAIBackend | None = None) -> dict[str, str]:
    return dict((backend or together()).encode(call, target()).headers)


def test_together_serverless_byte_for_byte() -> None:
    request = together().encode(chat(temperature=0.5, stop=["\n"], max_tokens=None), target())
    assert (request.method, str(request.origin), request.path) == (
        "POST",
        "https://api-inference.together.ai",
        "/v1/chat/completions",
    )
    assert request.headers == (*JSON_HEADERS, BEARER)
    assert request.body == (
        b'{"model":"acme/model","messages":[{"role":"user","content":"Hello"}],'
        b'"temperature":0.5,"stop":["\\n"],"max_tokens":null}'
    )


def test_together_dedicated_byte_for_byte() -> None:
    request = together().encode(
        chat(session="s1", stream=True), target("together-dedicated", "acme/assistant")
    )
    assert request.headers == (*STREAM_HEADERS, BEARER)
    assert request.body == (
        b'{"model":"acme/assistant","messages":[{"role":"user","content":"Hello"}],'
        b'"stream":true,"prompt_cache_key":"s1"}'
    )


def test_modal_byte_for_byte() -> None:
    request = modal().encode(chat(session="s1", stream=True, seed=2**64 - 1), target("modal", None))
    assert str(request.origin) == "https://acme--llm.us-east.modal.direct"
    assert request.headers == (
        *STREAM_HEADERS,
        ("modal-key", "wk-canary1"),
        ("modal-secret", "ws-canary2"),
        ("modal-routing-affinity-key", "s1"),
    )
    assert request.body == (
        b'{"messages":[{"role":"user","content":"Hello"}],"seed":18446744073709551615,"stream":true}'
    )


def test_compatible_byte_for_byte() -> None:
    call = chat(messages=[{"role": "user", "content": "Grüße 🙂"}])
    request = compatible(None).encode(call, target("openai-compatible", "llama3"))
    assert request.origin == Origin(scheme="http", host="localhost", port=11434)
    assert request.headers == JSON_HEADERS
    assert request.body == '{"model":"llama3","messages":[{"role":"user","content":"Grüße 🙂"}]}'.encode()


def test_modal_shared_gateway_takes_one_bearer_token() -> None:
    assert (
        headers(chat(), modal("https://inference.us-west.modal.direct"))["authorization"]
        == "Bearer wk-canary1.ws-canary2"
    )
    assert "authorization" not in headers(chat(), modal("https://inference.us-west.modal.direct.example.com"))


def test_modal_with_the_key_of_the_engine() -> None:
    address = address_of("https://acme--llm.modal.run")
    alone = headers(chat(), ModalBackend(address=address, api_key=lambda: "engine"))
    assert alone["authorization"] == "Bearer engine"
    assert "modal-key" not in alone
    both = ModalBackend(address=address, key=lambda: "wk-1", secret=lambda: "ws-1", api_key=lambda: "engine")
    assert headers(chat(), both).items() >= {
        ("modal-key", "wk-1"),
        ("modal-secret", "ws-1"),
        ("authorization", "Bearer engine"),
    }
    assert "authorization" not in headers(chat(), ModalBackend(address=address))
    with pytest.raises(ConfigurationError, match="two halves"):
        ModalBackend(address=address, key=lambda: "wk-1")


def test_extra_body_wins_and_unknown_options_pass_through() -> None:
    call = chat(temperature=0.5, brand_new={"a": 1}, extra_body={"temperature": 0, "top_a": 0.1})
    assert body(call) == {
        "model": "acme/model",
        "messages": HELLO,
        "temperature": 0,
        "brand_new": {"a": 1},
        "top_a": 0.1,
    }


def test_the_call_is_left_as_it_was() -> None:
    call = chat(True, session="s1", extra_body={"a": 1}, temperature=1)
    together().encode(call, target())
    assert call.body == {"messages": HELLO, "temperature": 1}
    assert call.extra_body == {"a": 1}


@pytest.mark.parametrize("stream", [True, False])
def test_stream_is_said_in_the_call_alone(stream: bool) -> None:
    with pytest.raises(InvalidCallError, match="stream="):
        together().encode(chat(stream, extra_body={"stream": not stream}), target())
    assert body(chat(stream, extra_body={"stream": stream}))["stream"] is stream


@pytest.mark.parametrize(
    "given", [{"prompt_cache_key": "mine"}, {"extra_body": {"prompt_cache_key": "mine"}}]
)
def test_session_does_not_replace_a_prompt_cache_key(given: Mapping[str, Any]) -> None:
    assert body(chat(session="s1", **given))["prompt_cache_key"] == "mine"


def test_session_that_cannot_be_sent_is_a_warning_once() -> None:
    call, backend = chat(session="s1"), compatible()
    first, again = (backend.encode(call, target()) for _ in range(2))
    assert (first.headers, first.body) == (again.headers, again.body)
    assert b"s1" not in first.content()
    assert len(call.tally.warnings) == 1
    assert "session" in call.tally.warnings[0]


def test_together_needs_a_model() -> None:
    with pytest.raises(InvalidCallError, match="model"):
        together().encode(chat(), target(model=None))
    assert "model" not in json.loads(compatible().encode(chat(), target("openai-compatible", None)).content())


def test_extra_headers_are_added_in_lower_case_and_replace_ours() -> None:
    sent = headers(chat(extra_headers={"X-Team": "a", "Accept": "*/*", "AUTHORIZATION": "Bearer own"}))
    assert sent["x-team"] == "a"
    assert sent["accept"] == "*/*"
    assert sent["authorization"] == "Bearer own"
    assert [name for name in sent if name.lower() != name] == []
    assert headers(chat(extra_headers={"Modal-Key": "wk-own"}), modal())["modal-key"] == "wk-own"


@pytest.mark.parametrize(
    "extra",
    [
        {"x-a": "b\r\nhost: evil"},
        {"x-a": "b\nc"},
        {"x-a\r\nx-b": "c"},
        {"x a": "b"},
        {"": "b"},
        {"x-a": "\x00"},
        {"x-a": "é"},
        {"Host": "evil"},
        {"Content-Length": "0"},
        {"transfer-encoding": "chunked"},
    ],
)
def test_headers_that_would_change_the_request_are_refused(extra: dict[str, str]) -> None:
    with pytest.raises(InvalidCallError, match="extra_headers"):
        together().encode(chat(extra_headers=extra), target())


def test_a_session_that_is_no_header_is_refused() -> None:
    with pytest.raises(InvalidCallError, match="session"):
        modal().encode(chat(session="a\r\nb"), target("modal"))


@pytest.mark.parametrize("key", ["", "two words", "line\n", "é"])
def test_a_key_that_is_no_header_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compatible(key).encode(chat(), target())
    assert not key or key not in str(caught.value)


class Opaque:
    pass


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"temperature": float("nan")}, ("temperature", "nan")),
        ({"logit_bias": {"7": float("inf")}}, ("logit_bias.7", "inf")),
        ({"messages": [{"role": "user", "content": Opaque()}]}, ("messages[0].content", "Opaque")),
        (
            {"messages": [{"role": "user", "content": [{"type": "x", "image": b"\xff"}]}]},
            ("messages[0].content[0].image", "bytes"),
        ),
        ({"extra_body": {"a": {"b": [1, Opaque()]}}}, ("a.b[1]", "Opaque")),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, ("messages[0].content", "str")),
        ({"tools": CIRCLE}, ("tools", "list")),
        ({"metadata": {Opaque(): 1}}, ("metadata", "dict")),
    ],
)
def test_a_value_without_a_form_in_json_is_named(given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidCallError) as caught:
        together().encode(chat(**given), target())
    for name in names:
        assert name in str(caught.value)
    assert caught.value.__context__ is None


def test_nan_and_infinity_are_fine_as_words() -> None:
    assert (
        body(chat(messages=[{"role": "user", "content": "NaN, Infinity"}]))["messages"][0]["content"]
        == "NaN, Infinity"
    )


def test_pydantic_messages_are_sent_without_the_fields_nobody_set() -> None:
    answer = ChatCompletion.model_validate({"choices": [{"message": {"content": "Hi", "custom": 1}}]})
    messages = [
        ChatMessage(role="user", content="Hello"),
        answer.choices[0].message,
        {"role": "user", "content": None},
    ]
    assert body(chat(messages=messages))["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi", "custom": 1},
        {"role": "user", "content": None},
    ]


def test_times_are_sent_as_text() -> None:
    assert body(chat(metadata={"at": datetime(2026, 11, 1, tzinfo=UTC)}))["metadata"] == {
        "at": "2026-11-01T00:00:00Z"
    }


def test_probes() -> None:
    assert together().probe(target("together-serverless")) is None
    dedicated = together().probe(target("together-dedicated", "acme/assistant"))
    assert dedicated is not None
    assert (dedicated.method, dedicated.path) == ("POST", "/v1/chat/completions")
    assert dedicated.headers == (*JSON_HEADERS, BEARER)
    assert json.loads(dedicated.content()) == {
        "model": "acme/assistant",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
    }
    for backend, credentials in ((modal(), ("modal-key", "wk-canary1")), (compatible(), BEARER)):
        request = backend.probe(target("modal"))
        assert request is not None
        assert (request.method, request.path, request.body) == ("GET", "/v1/models", b"")
        assert credentials in request.headers


@pytest.mark.parametrize("mode", BACKENDS)
def test_no_secret_in_any_repr(mode: Mode) -> None:
    backend = BACKENDS[mode]
    request = backend.encode(chat(), target(mode))
    assert "canary" not in repr((backend, request)) + repr(vars(backend))
    assert str(request.origin) in repr(backend)


@pytest.mark.parametrize(
    ("url", "origin", "prefix"),
    [
        ("https://host.example", "https://host.example", ""),
        ("https://host.example/", "https://host.example", ""),
        ("https://host.example/v1", "https://host.example", ""),
        ("https://host.example/v1/", "https://host.example", ""),
        (" https://HOST.example:8443/api/v1 ", "https://host.example:8443", "/api"),
        ("http://[::1]:8000/v1", "http://[::1]:8000", ""),
        ("http://localhost:80/openai", "http://localhost", "/openai"),
        ("https://host.example/v1beta", "https://host.example", "/v1beta"),
    ],
)
def test_a_base_url_means_the_same_with_and_without_v1(url: str, origin: str, prefix: str) -> None:
    address = address_of(url)
    assert (str(address.origin), address.prefix) == (origin, prefix)
    request = CompatibleBackend(address=address).encode(chat(), target())
    assert request.path == f"{prefix}/v1/chat/completions"


@pytest.mark.parametrize(
    "url",
    ["", "host.example", "ftp://host", "https://", "https://user:canary@host", "https://canary@host", "https://h/?a=b",
     "https://h/#x", "https://h:99999", "https://h/a b", "https://h\u00e9", "https://[::1"],
)  # fmt: skip
def test_what_is_no_base_url_is_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        address_of(url)
    assert "canary" not in str(caught.value)
