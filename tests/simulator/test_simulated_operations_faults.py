"""Faults happen to every operation as they happen to chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.world import World
from simulator.operated import form, posted, recording
from simulator.simulated import Got, ask

EMBED = posted("/v1/embeddings", model="m", input="Hello")
OTHERS = (
    posted("/v1/images/generations", model="m", prompt="A cat", width=16, height=16),
    form("/v1/audio/transcriptions", recording(0.5), model="m"),
)
ANSWERED = (EMBED, *OTHERS)


def answered(fault: Any, request: Request, mode: Any = "together-serverless") -> Got:
    return ask(World(faults=fault), "together", request, mode=mode)


@pytest.mark.parametrize("request_", OTHERS, ids=["images", "transcriptions"])
def test_a_rule_for_a_path_leaves_other_operations_alone(request_: Request) -> None:
    rule = Fault("status", status=503).when(path="/v1/embeddings")
    assert answered(rule, EMBED).status == 503
    assert answered(rule, request_).status == 200


def test_a_rule_for_a_model_finds_it_in_a_form() -> None:
    """So do the mode that a model decides, and what was seen of it."""
    rule = Fault("status", status=503).when(model="whisper")
    world = World(faults=rule, endpoint_names=("whisper",))
    request = form("/v1/audio/transcriptions", recording(0.5), model="whisper")
    assert ask(world, "together", request).status == 503
    assert world.seen().of("together-dedicated", "whisper").calls == 1


def test_a_form_that_asks_for_a_stream_counts_as_one() -> None:
    rule = Fault("status", status=503).when(requests="streams")
    for stream, status in (("true", 503), ("false", 200)):
        request = form("/v1/audio/transcriptions", recording(0.5), model="m", stream=stream)
        assert answered(rule, request).status == status


@pytest.mark.parametrize("request_", ANSWERED, ids=["embeddings", "images", "transcriptions"])
def test_an_answer_that_breaks_off_lacks_its_end(request_: Request) -> None:
    whole = answered(None, request_).body
    assert answered(Fault("truncate"), request_).body == whole[: len(whole) // 2]


@pytest.mark.parametrize("request_", ANSWERED, ids=["embeddings", "images", "transcriptions"])
def test_an_answer_can_be_late_dripping_or_garbled(request_: Request) -> None:
    usual = answered(None, request_)
    late = answered(Fault("slow_first_token", seconds=30.0), request_)
    assert late.body == usual.body
    assert late.first == pytest.approx(30.0, abs=1.0)
    dripping = answered(Fault("drip", seconds=0.5), request_)
    assert dripping.body == usual.body
    assert dripping.last - dripping.first == pytest.approx(0.5 * (len(usual.body) - 1), rel=0.01)
    error = answered(Fault("error_event", message="No."), request_)
    assert (error.status, error.json["error"]["message"]) == (200, "No.")
    with pytest.raises(json.JSONDecodeError):
        answered(Fault("malformed_event"), request_).json  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("mode", ["together-serverless", "openai-compatible"])
def test_the_first_token_of_a_streamed_completion_can_be_late(mode: Any) -> None:
    """After the head, which comes when it always does."""
    request = posted("/v1/completions", model="m", prompt="Why?", stream=True)
    usual = answered(None, request, mode)
    late = answered(Fault("slow_first_token", seconds=30.0, variant="content"), request, mode)
    assert late.events[1:2] == usual.events[1:2]
    assert (late.first, late.last >= 30.0) == (0.0, True)
    exchange = World(faults=Fault("slow_first_token", seconds=30.0, variant="content")).receive(
        "together", request, 0.0, mode=mode
    )
    assert b"".join(exchange.poll(29.0).pieces) == b""


def test_a_streamed_completion_can_end_before_it_is_finished() -> None:
    request = posted("/v1/completions", model="m", prompt="Why?", stream=True)
    for mode in ("together-serverless", "openai-compatible"):
        body = answered(Fault("truncate", events=3), request, mode).body
        assert body.count(b"data: ") == 3
        assert b"[DONE]" not in body


def test_a_redirect_leads_to_the_answer_of_an_operation() -> None:
    world = World(faults=Fault("cold", variant="redirect", seconds=20.0))
    request = posted("/v1/embeddings", input="Hello")
    moved = ask(world, "modal", request)
    assert (moved.status, moved.last) == (303, 20.0)
    headers = {"authorization": "Bearer x"}
    path = f"/v1/embeddings{moved.header('location')}"
    got = ask(world, "modal", Request(method="GET", path=path, headers=headers), 20.0)
    assert (got.status, got.json["object"]) == (200, "list")
