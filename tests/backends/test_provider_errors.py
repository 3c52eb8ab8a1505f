"""Error responses become one error of the tree, by code before status, and never repeat a credential."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire_samples import (
    BACKENDS,
    KEY,
    answer,
    chat,
    compatible,
    modal,
    recorded_errors,
    sse,
    target,
    together,
)
from hybrid_infer.backends.base import address_of
from hybrid_infer.backends.together import CHAT_URL, TogetherBackend
from hybrid_infer.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ColdError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    StreamError,
    StreamingRequiredError,
    UnprocessableEntityError,
)

RECORDED = recorded_errors()
RECORDED_KINDS = [
    NotFoundError,
    ColdError,
    StreamingRequiredError,
    PaymentRequiredError,
    RateLimitError,
    RateLimitError,
    RateLimitError,
    PermissionDeniedError,
    ColdError,
    ColdError,
    RateLimitError,
    BadRequestError,
    BadRequestError,
    BadRequestError,
]


@pytest.mark.parametrize(("row", "kind"), list(zip(RECORDED, RECORDED_KINDS, strict=True)))
def test_recorded_errors(row: Any, kind: type[APIStatusError]) -> None:
    error = together().error(answer(row["body"], row["status"]))
    assert type(error) is kind
    said = row["body"]["error"]
    assert error.message == said["message"]
    assert error.code == (said.get("code") or said.get("type"))
    assert error.status == row["status"]
    assert error.request_id == row["body"].get("id")
    assert error.retryable is kind.retryable
    assert error.billed is False


def coded(code: str | None, type: str | None = None) -> dict[str, Any]:
    return {"error": {"message": "no", "code": code, "type": type}}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (coded("model_not_available"), 404, NotFoundError),
        (coded("endpoint_not_configured"), 503, ColdError),
        (coded(None, "routing_error"), 400, ColdError),
        (coded("insufficient_quota", "insufficient_quota"), 429, PaymentRequiredError),
        (coded("invalid_api_key", "invalid_request_error"), 400, AuthenticationError),
        (coded("context_length_exceeded"), 500, BadRequestError),
        (coded("rate_limit_exceeded"), 503, RateLimitError),
        (coded(None, "dynamic_token_limited"), 503, RateLimitError),
        ({"error": {"message": "no"}, "error_type": "dynamic_request_limited"}, 503, RateLimitError),
        (coded(None, "credit_limit"), 402, PaymentRequiredError),
        (coded(None, "credit_limit"), 429, RateLimitError),
        (coded(None, "invalid_request_error"), 401, AuthenticationError),
        (coded(None, "server_error"), 400, BadRequestError),
    ],
)
def test_the_code_is_asked_before_the_status(body: Any, status: int, kind: type[APIStatusError]) -> None:
    assert type(together().error(answer(body, status))) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, PaymentRequiredError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIStatusError),
        (408, APIStatusError),
        (409, ConflictError),
        (413, APIStatusError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (502, InternalServerError),
        (503, OverloadedError),
        (504, InternalServerError),
        (524, InternalServerError),
        (301, RedirectError),
        (307, RedirectError),
    ],
)
def test_without_a_known_code_the_status_decides(status: int, kind: type[APIStatusError]) -> None:
    error = together().error(answer({"error": {"message": "no"}}, status))
    assert type(error) is kind
    assert error.retryable is (status in (408, 429) or status >= 500)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "m", "type": "t", "code": None, "param": None}}, "m", "t"),
        ({"error": {"message": "m", "type": "t", "code": "c"}}, "m", "c"),
        ({"error": {"message": "m", "error_type": "e"}}, "m", "e"),
        ({"error": {"message": "m", "code": 404}}, "m", "404"),
        ({"error": {"message": "m", "code": 400}}, "m", None),
        ({"error": "m"}, "m", None),
        ({"message": "m"}, "m", None),
        ({"detail": "m"}, "m", None),
        ({"detail": {"message": "m", "code": "c"}}, "m", "c"),
        (
            {
                "detail": [
                    {"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"},
                    {"msg": "x"},
                ]
            },
            "body.messages.0: field required; x",
            None,
        ),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
            "m",
            "BadRequestError",
        ),
        ([{"error": {"message": "m", "code": "c"}}], "m", "c"),
        ("upstream connect error", "upstream connect error", None),
        ('"quoted"', "quoted", None),
        (
            "<html><head><title>502  Bad &amp; Gateway</title></head></html>",
            "a web page: 502 Bad & Gateway",
            None,
        ),
        ("<html></html>", "a web page", None),
        ("", "the provider answered 400 Bad Request and does not say why", None),
        ("{}", "the provider answered 400 Bad Request and does not say why", None),
        ("[]", "the provider answered 400 Bad Request and does not say why", None),
        (
            {"error": {"message": {"odd": 1}, "code": []}},
            "the provider answered 400 Bad Request and does not say why",
            None,
        ),
    ],
)
def test_every_shape_of_body_gives_its_message(body: Any, message: str, code: str | None) -> None:
    error = compatible().error(answer(body, 400))
    assert (error.message, error.code) == (message, code)
    assert error.body == (body if isinstance(body, str) else json.dumps(body))


def test_a_status_without_a_name() -> None:
    assert together().error(answer("", 529)).message == "the provider answered 529 and does not say why"


NAMES = st.sampled_from(["error", "message", "code", "type", "detail", "loc", "msg", "id", "object"])
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.just("error")
JSON = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), st.integers(300, 599))
def test_any_body_gives_an_error_of_the_tree(body: bytes, status: int) -> None:
    for backend in BACKENDS.values():
        error = backend.error(answer(body, status))
        assert isinstance(error, APIStatusError)
        assert error.message
        assert error.status == status


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry_after": "7"}, 7.0),
        (429, {"retry_after_ms": "250", "retry_after": "7"}, 0.25),
        (429, {"x_ratelimit_reset": "2"}, 2.0),
        (429, {"retry_after": "7", "x_ratelimit_reset": "2"}, 7.0),
        (503, {"retry_after": "1.5"}, 1.5),
        (503, {"x_ratelimit_reset": "2"}, None),
        (500, {"retry_after": "7"}, None),
        (400, {"retry_after": "7", "x_ratelimit_reset": "2"}, None),
        (
            429,
            {"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            30.0,
        ),
        (429, {"retry_after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        (429, {"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        (429, {"retry_after": "Wed, 21 Oct 2026 07:28:30", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        (429, {"retry_after": "soon", "date": "now", "x_ratelimit_reset": "3"}, 3.0),
        (429, {"retry_after": "-1"}, None),
        (429, {"retry_after": "nan"}, None),
        (429, {"retry_after": "inf"}, None),
        (429, {"x_ratelimit_reset": "1786077872"}, None),
        (429, {}, None),
    ],
)
def test_retry_after(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert together().error(answer(coded(None), status, **headers)).retry_after == seconds


def test_request_id_is_that_of_the_headers_before_that_of_the_body() -> None:
    body = {"id": "body", **coded(None)}
    headers = {"cf_ray": "ray", "x_together_traceid": "trace", "x_request_id": "request"}
    for expected in ("request", "trace", "ray", "body"):
        assert together().error(answer(body, 400, **headers)).request_id == expected
        if headers:
            headers.popitem()


@pytest.mark.parametrize("body", ["", "no healthy upstream", "<html></html>", {"message": "unavailable"}])
def test_modal_503_without_an_error_object_is_a_machine_that_starts(body: Any) -> None:
    error = modal().error(answer(body, 503))
    assert type(error) is ColdError
    assert error.retryable


@pytest.mark.parametrize(
    "body",
    [
        coded(None, "service_unavailable"),
        {"object": "error", "message": "busy", "code": 503},
        {"detail": "engine is overloaded"},
    ],
)
def test_modal_503_of_the_engine_is_overload(body: Any) -> None:
    assert type(modal().error(answer(body, 503))) is OverloadedError


def test_llama_cpp_that_loads_its_model_is_cold() -> None:
    loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    assert type(compatible().error(answer(loading, 503))) is ColdError
    assert type(compatible().error(answer(coded(None), 503))) is OverloadedError
    assert type(compatible().error(answer("busy", 503))) is OverloadedError


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (together().error(answer(coded("invalid_api_key"), 401)), ("TOGETHER_API_KEY",)),
        (
            together().error(answer(coded("model_not_available"), 400)),
            ("dedicated endpoint", "another model"),
        ),
        (together().error(answer(coded("routing_error"), 503)), ("traffic split",)),
        (together().error(answer(coded("dedicated_endpoint_not_running"), 400)), ("replica",)),
        (together().error(answer(coded(None), 402)), ("credit",)),
        (together().error(answer(coded(None), 404)), ("name of the model",)),
        (modal().error(answer("", 401)), ("HYBRID_INFER_MODAL_KEY", "wk-", "ws-", "ak-")),
        (modal().error(answer("", 403)), ("environment",)),
        (modal().error(answer("", 404)), ("address",)),
        (compatible().error(answer("", 401)), ("HYBRID_INFER_API_KEY",)),
    ],
)
def test_hints_say_what_to_do(error: APIStatusError, names: tuple[str, ...]) -> None:
    for name in names:
        assert name in (error.hint or "")
        assert name in str(error)


def test_a_redirect_says_where_to() -> None:
    error = together().error(answer("", 308, location="https://elsewhere.example/v1"))
    assert "https://elsewhere.example/v1" in error.message


def test_long_bodies_and_messages_are_shortened() -> None:
    error = together().error(answer({"error": {"message": "x" * 100_000}}, 400))
    assert len(error.message) == 500
    assert len(error.body or "") == 2_000


# Credentials.

ECHOES = [
    f"invalid key {KEY} in Bearer {KEY}",
    f"<html><title>{KEY}</title></html>",
    json.dumps({"error": {"message": f"key {KEY}", "code": KEY, "type": KEY}}),
    json.dumps({"detail": [{"loc": ["header", KEY], "msg": KEY}]}),
    json.dumps({"error": {"message": "x" * 490 + KEY}}),
    "y" * 1_990 + KEY,
]


def shown(error: Exception) -> str:
    return f"{error} {error!r} {vars(error)}"


@pytest.mark.parametrize("echo", ECHOES)
def test_an_echoed_credential_is_in_no_part_of_the_error(echo: str) -> None:
    for backend in (together(), compatible()):
        backend.encode(chat(), target())
        error = backend.error(answer(echo, 401, location=f"https://x/{KEY}"))
        assert KEY[:8] not in shown(error)
        assert "canary" not in shown(backend.error(answer("", 302, location=f"https://x/{KEY}")))


def test_both_halves_of_a_proxy_token_are_taken_out() -> None:
    for backend in (modal(), modal("https://inference.us-west.modal.direct")):
        backend.encode(chat(), target("modal"))
        assert "canary" not in shown(
            backend.error(answer("bad wk-canary1 ws-canary2 wk-canary1.ws-canary2", 401))
        )


def test_a_credential_of_the_caller_is_taken_out() -> None:
    backend = modal()
    backend.encode(chat(extra_headers={"Authorization": "Bearer canary-own"}), target("modal"))
    assert "canary" not in shown(backend.error(answer({"error": "canary-own is wrong"}, 401)))


def test_a_credential_that_changed_since_is_taken_out() -> None:
    keys = iter(["canary-old", "canary-new"])
    backend = TogetherBackend(
        chat=address_of(CHAT_URL), other=address_of(CHAT_URL), api_key=lambda: next(keys)
    )
    first, second = (dict(backend.encode(chat(), target()).headers)["authorization"] for _ in range(2))
    assert (first, second) == ("Bearer canary-old", "Bearer canary-new")
    assert "canary" not in shown(backend.error(answer("canary-old canary-new", 401)))


def test_an_echo_inside_a_stream_is_taken_out() -> None:
    backend = together()
    backend.encode(chat(stream=True), target())
    for event in (f'data: {{"error": {{"message": "key {KEY}"}}}}\n\n', f"data: {KEY}\n\n", f"{KEY}\n\n"):
        decoder = backend.decoder(chat(stream=True))
        with pytest.raises(StreamError) as caught:
            for item in decoder.feed(sse(event)):
                decoder.read(item)
            decoder.finish()
        assert KEY not in shown(caught.value)
