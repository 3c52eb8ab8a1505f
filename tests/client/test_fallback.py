"""What one target cannot answer another may, where the call allows it, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from both import Making
from fakes import Answer, hello, refused, said
from hybrid_infer.errors import (
    APITimeoutError,
    BadRequestError,
    DeadlineExceededError,
    InternalServerError,
    InvalidCallError,
    NotAllowedError,
    PaymentRequiredError,
)
from hybrid_infer.transport.base import TransportError
from places import DEDICATED, MODAL, SERVERLESS, SETTINGS, Places

FALLBACK: dict[str, Any] = {**SETTINGS, "mode": "modal", "fallback": ["together-serverless"]}
BROKEN = refused(500, message="engine crashed")


@pytest.mark.parametrize(
    "failure",
    [
        BROKEN,
        refused(502),
        TransportError("reset", sent=True),
        TransportError("refused", sent=False),
        Answer(200, (b"<html>busy</html>",), (("content-type", "text/html"),)),
        refused(429),
        refused(401),
        refused(402),
        refused(404),
    ],
    ids=str,
)
async def test_the_first_try_of_another_target_comes_at_once(make: Making, failure: Any) -> None:
    places = Places(modal=[failure], serverless=[said()])
    reply = await make(transport=places.transport, **FALLBACK).create()
    assert reply.hybrid.target == SERVERLESS
    assert places.asked == [MODAL, SERVERLESS]
    assert reply.hybrid.latency == pytest.approx(0, abs=0.01)
    assert [tried.target for tried in reply.hybrid.history] == [MODAL, SERVERLESS]


async def test_it_is_free_where_no_retries_are_allowed(make: Making) -> None:
    places = Places(modal=[BROKEN], serverless=[said()])
    reply = await make(transport=places.transport, **FALLBACK).create(max_retries=0)
    assert reply.hybrid.target == SERVERLESS


async def test_a_mistake_of_the_caller_goes_nowhere_else(make: Making) -> None:
    places = Places(modal=[refused(400)], serverless=[said()])
    with pytest.raises(BadRequestError):
        await make(transport=places.transport, **FALLBACK).create()
    assert places.asked == [MODAL]


async def test_repeats_begin_when_every_target_had_its_try(make: Making) -> None:
    places = Places(modal=[BROKEN], serverless=[BROKEN])
    with pytest.raises(InternalServerError) as caught:
        await make(transport=places.transport, **FALLBACK).create(max_retries=2)
    assert places.asked == [MODAL, SERVERLESS, MODAL, SERVERLESS]
    assert caught.value.hybrid.attempts == 4


async def test_a_silent_target_is_not_asked_twice(make: Making) -> None:
    silent = said(after=1e6)
    places = Places(modal=[silent], serverless=[BROKEN, BROKEN, said()])
    api = make(transport=places.transport, attempt_timeout=10, **FALLBACK)
    reply = await api.create()
    assert reply.hybrid.target == SERVERLESS
    assert places.count(MODAL) == 1


async def test_a_silent_target_without_alternative_is_asked_again(make: Making) -> None:
    places = Places(modal=[said(after=1e6), said()])
    api = make(transport=places.transport, attempt_timeout=10, **{**FALLBACK, "fallback": []})
    reply = await api.create()
    assert reply.hybrid.attempts == 2
    assert reply.hybrid.history[0].error == "APITimeoutError"


async def test_a_wait_that_does_not_fit_goes_elsewhere_at_once(make: Making) -> None:
    places = Places(modal=[refused(429, headers=(("retry-after", "60"),))], serverless=[said()])
    reply = await make(transport=places.transport, **FALLBACK).create(timeout=5)
    assert reply.hybrid.target == SERVERLESS
    assert reply.hybrid.latency == pytest.approx(0, abs=0.01)


async def test_a_stream_falls_back_before_its_first_content(make: Making) -> None:
    places = Places(modal=[refused(503, "x")], serverless=[hello()])
    stream = await make(transport=places.transport, **FALLBACK).stream()
    assert await stream.text() == "Hello"
    assert stream.hybrid.target == SERVERLESS


async def test_a_call_names_its_own_fallback(make: Making) -> None:
    places = Places(serverless=[BROKEN], dedicated=[BROKEN], modal=[said()])
    api = make(transport=places.transport, **SETTINGS)
    reply = await api.create(fallback=["together-dedicated", "modal"])
    assert places.asked == [SERVERLESS, DEDICATED, MODAL]
    assert reply.hybrid.mode == "modal"


async def test_an_empty_fallback_of_a_call_is_none(make: Making) -> None:
    places = Places(modal=[BROKEN], serverless=[said()])
    with pytest.raises(InternalServerError):
        await make(transport=places.transport, **FALLBACK).create(fallback=[], max_retries=0)
    assert places.asked == [MODAL]


async def test_another_model_may_be_the_fallback(make: Making) -> None:
    models = {**SETTINGS["models"], "small": {"mode": "together-serverless", "together-serverless": "qwen"}}
    settings = {**FALLBACK, "models": models, "fallback": ["small"]}
    places = Places(modal=[BROKEN], serverless=[said()])
    reply = await make(transport=places.transport, **settings).create()
    assert reply.hybrid.target == SERVERLESS
    assert places.transport.sent[1].json["model"] == "qwen"


async def test_an_unknown_fallback_is_refused_before_anything_is_sent(make: Making) -> None:
    places = Places(modal=[said()])
    with pytest.raises(InvalidCallError, match="neither a mode"):
        await make(transport=places.transport, **FALLBACK).create(fallback=["together-serverles"])
    assert places.asked == []


@pytest.mark.parametrize("where", ["call", "client", "model"])
async def test_never_leave_keeps_a_call_in_its_mode(make: Making, where: str) -> None:
    places = Places(modal=[BROKEN], serverless=[said()])
    settings = dict(FALLBACK)
    if where == "client":
        settings["never_leave"] = True
    if where == "model":
        settings["models"] = {"assistant": {**settings["models"]["assistant"], "never_leave": True}}
    api = make(transport=places.transport, **settings)
    with pytest.raises(InternalServerError) as caught:
        await api.create(**({"never_leave": True} if where == "call" else {}))
    assert set(places.asked) == {MODAL}
    assert any("never_leave" in line for line in caught.value.hybrid.why)


async def test_the_target_itself_refuses_what_is_not_allowed(make: Making) -> None:
    places = Places(modal=[said()], serverless=[said()])
    api = make(transport=places.transport, **FALLBACK)
    from hybrid_infer.calls.call import Call

    assembly = api.client._core._current
    call = Call(operation="chat", model="assistant", body={})
    target = assembly._targets.target("together-serverless", "assistant", call)
    call = Call(operation="chat", model="assistant", body={"messages": []})
    with pytest.raises(NotAllowedError):
        await target.serve(call)
    assert places.asked == []


async def test_a_purpose_has_its_mode_unless_the_call_says_otherwise(make: Making) -> None:
    places = Places(modal=[said()], serverless=[said()])
    api = make(
        transport=places.transport,
        **{**SETTINGS, "mode": "modal", "purposes": {"batch": "together-serverless"}},
    )
    assert (await api.create()).hybrid.mode == "modal"
    reply = await api.create(purpose="batch")
    assert reply.hybrid.mode == "together-serverless"
    assert any('purpose "batch"' in line for line in reply.hybrid.why)
    assert (await api.create(purpose="batch", mode="modal")).hybrid.mode == "modal"


async def test_what_the_account_lacks_here_is_said_although_another_answered(make: Making) -> None:
    places = Places(modal=[refused(402)], serverless=[said()])
    reply = await make(transport=places.transport, **FALLBACK).create()
    assert any("PaymentRequiredError" in line for line in reply.hybrid.why)
    places = Places(modal=[refused(402)], serverless=[refused(402)])
    with pytest.raises(PaymentRequiredError):
        await make(transport=places.transport, **FALLBACK).create()
    assert len(places.asked) == 2


async def test_silence_everywhere_ends_at_the_deadline(make: Making) -> None:
    silent = said(after=1e6)
    places = Places(modal=[silent], serverless=[silent])
    api = make(transport=places.transport, attempt_timeout=4, **FALLBACK)
    with pytest.raises((APITimeoutError, DeadlineExceededError)) as caught:
        await api.create(timeout=9)
    assert caught.value.hybrid.latency <= 9
    assert places.asked[:2] == [MODAL, SERVERLESS]


@pytest.mark.parametrize("status", [401, 402, 403, 404])
async def test_what_would_refuse_again_is_not_asked_again(make: Making, status: int) -> None:
    places = Places(modal=[refused(status)], serverless=[BROKEN, said()])
    reply = await make(transport=places.transport, **FALLBACK).create()
    assert places.asked == [MODAL, SERVERLESS, SERVERLESS]
    assert reply.hybrid.target == SERVERLESS


async def test_a_fallback_without_a_key_does_not_cost_the_repeats(make: Making) -> None:
    """The last failure is one that would repeat itself, the one before it need not."""
    places = Places(modal=[BROKEN, said()], serverless=[refused(401)])
    await make(transport=places.transport, **FALLBACK).create()
    assert places.asked == [MODAL, SERVERLESS, MODAL]


async def test_each_target_is_given_the_time_that_it_asked_for(make: Making) -> None:
    """Also where another one failed after it, and asked for none."""
    places = Places(modal=[refused(429, headers=(("retry-after", "20"),))], serverless=[BROKEN])
    with pytest.raises(InternalServerError):
        await make(transport=places.transport, **FALLBACK).create(max_retries=2)
    assert places.asked == [MODAL, SERVERLESS, SERVERLESS, SERVERLESS]


async def test_the_wait_is_the_shorter_one_where_both_ask_for_one(make: Making) -> None:
    places = Places(
        modal=[refused(429, headers=(("retry-after", "20"),)), said()],
        serverless=[refused(429, headers=(("retry-after", "30"),))],
    )
    reply = await make(transport=places.transport, **FALLBACK).create()
    assert places.asked == [MODAL, SERVERLESS, MODAL]
    assert reply.hybrid.latency == pytest.approx(20, abs=0.01)


async def test_a_machine_that_did_not_come_up_in_time_is_not_waited_for_again(make: Making) -> None:
    cold = Answer(503, (b"no container is running",), (("content-type", "text/plain"),))
    places = Places(modal=[cold], serverless=[BROKEN, said()])
    reply = await make(transport=places.transport, cold_start_timeout=30, **FALLBACK).create()
    assert reply.hybrid.target == SERVERLESS
    assert reply.hybrid.cold_wait <= 30
