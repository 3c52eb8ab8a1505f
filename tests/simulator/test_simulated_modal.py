from __future__ import annotations

import json
from typing import Any

import pytest

from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.simulator.world import World
from simulator.simulated import BEARER, PROXY_TOKEN, ask, finish, get, post

SMALL_PLAN = ModalPlan(concurrency=2, max_containers=2)


def warm(world: World, now: float = 0.0) -> float:
    """Start a container; when it is up."""
    while ask(world, "modal", get("/health"), now).status == 503:
        now += 1.0
    return now


@pytest.mark.parametrize("request_", [post(), get("/v1/models"), get("/health"), post(messages=[])])
def test_the_first_request_is_refused_at_once_and_starts_a_container(request_: Any) -> None:
    world = World()
    got = ask(world, "modal", request_)
    assert (got.status, got.last, got.header("content-type")) == (503, 0.0, "text/plain; charset=utf-8")
    assert world.machines(0.0).containers_starting == 1
    assert ask(world, "modal", request_, 10.0).status == 503
    assert ask(world, "modal", request_, 25.0).status in (200, 400)
    assert world.machines(25.0).containers_started == 1


def test_a_request_without_credentials_is_refused_and_starts_nothing() -> None:
    world = World()
    for headers in ({}, {"modal-key": "wk-1"}, {"authorization": "Basic x"}):
        got = ask(world, "modal", post(headers=headers))
        assert (got.status, got.body) == (401, b"modal-http: missing credentials for proxy authorization")
    machines = world.machines(100.0)
    assert (machines.containers_started, world.invoice(100.0).modal.seconds) == (0, 0.0)


@pytest.mark.parametrize("headers", [BEARER, PROXY_TOKEN])
def test_either_form_of_the_proxy_token_opens(headers: Any) -> None:
    world = World()
    assert ask(world, "modal", post(headers=headers), warm(world)).status == 200


def test_a_large_model_starts_more_slowly() -> None:
    small, large = World(), World(modal=ModalPlan(model="llama-70b"))
    assert 16 <= warm(small) <= 25
    assert 48 <= warm(large) <= 73


def test_an_idle_container_stops_after_the_window_and_is_billed_until_then() -> None:
    world = World()
    up = warm(world)
    last = ask(world, "modal", post(), up).last
    assert world.machines(last + 59.9).containers_ready == 1
    assert world.machines(last + 60.1).containers_ready == 0
    assert world.invoice(last + 1000).modal.seconds == pytest.approx(last + 60.0)
    assert ask(world, "modal", post(), last + 1000).status == 503


def test_a_container_nobody_came_back_to_stops_too() -> None:
    world = World()
    ask(world, "modal", post())
    seconds = world.invoice(1000.0).modal.seconds
    assert 76 <= seconds <= 84  # the cold start and the window


def test_probes_keep_a_container() -> None:
    world = World()
    up = warm(world)
    for now in range(int(up), int(up) + 300, 50):
        assert ask(world, "modal", get("/v1/models"), float(now)).status == 200


def test_above_its_concurrency_the_answer_is_429_and_a_second_container_starts() -> None:
    world = World(modal=SMALL_PLAN)
    up = warm(world)
    running = [world.receive("modal", post(max_tokens=20), up) for _ in range(2)]
    assert world.machines(up).containers_starting == 1
    refused = ask(world, "modal", post(), up)
    assert refused.status == 429
    assert {finish(exchange, up).status for exchange in running} == {200}


def test_two_containers_take_twice_as_much_and_no_third_starts() -> None:
    world = World(modal=SMALL_PLAN)
    up = warm(world)
    for _ in range(2):
        world.receive("modal", post(), up)
    both = up + 25.0
    assert world.machines(both).containers_ready == 2
    running = [world.receive("modal", post(), both) for _ in range(4)]
    assert ask(world, "modal", post(), both).status == 429
    assert world.machines(both).containers_started == 2
    assert {finish(exchange, both).status for exchange in running} == {200}


def test_a_cancelled_request_gives_its_place_back() -> None:
    world = World(modal=ModalPlan(concurrency=1, max_containers=1))
    up = warm(world)
    running = world.receive("modal", post(), up)
    assert ask(world, "modal", post(), up + 0.01).status == 429
    running.cancel(up + 0.02)
    assert ask(world, "modal", post(), up + 0.02).status == 200


def test_an_engine_tells_its_usage_in_a_last_chunk_without_choices_if_asked() -> None:
    world = World()
    up = warm(world)
    plain = ask(world, "modal", post(stream=True), up).events
    assert all("usage" not in chunk for chunk in plain)
    assert plain[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    asked = ask(world, "modal", post(stream=True, stream_options={"include_usage": True}), up).events
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"]["completion_tokens"] == len(asked) - 3


def test_an_engine_writes_complete_answers_and_tool_calls_in_openais_shape() -> None:
    world = World()
    up = warm(world)
    whole = ask(world, "modal", post(), up).json
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["finish_reason"] == "stop"
    tool = {"type": "function", "function": {"name": "find_flights", "parameters": {}}}
    events = ask(world, "modal", post(text="Find flights", tools=[tool], stream=True), up).events
    calls = [call for chunk in events for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "find_flights"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_errors_of_the_engine_have_the_engines_shape() -> None:
    world = World()
    up = warm(world)
    assert ask(world, "modal", post(messages=[]), up).json["error"]["code"] == 400
    assert ask(world, "modal", get("/v1/nothing"), up).json == {"detail": "Not Found"}
    assert ask(world, "modal", get("/v1/models"), up).json["data"][0]["id"] == "llm"
    assert ask(world, "modal", get("/health"), up).body == b""


def test_a_plain_engine_is_always_there_and_asks_for_no_credential() -> None:
    world = World()
    got = ask(world, "modal", post(model=None, headers={}), mode="openai-compatible")
    assert (got.status, got.json["model"]) == (200, "llm")
    assert world.invoice(100.0).modal.seconds == 0
