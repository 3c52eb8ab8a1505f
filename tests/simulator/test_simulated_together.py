from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from hybrid_infer.simulator.dedicated import EndpointPlan
from hybrid_infer.simulator.serverless import ServerlessPlan
from hybrid_infer.simulator.world import World
from simulator.simulated import DEDICATED, SERVERLESS, ask, finish, get, post

RECORDINGS = Path(__file__).parent.parent / "recordings"


def recorded(name: str) -> str:
    body: str = json.loads((RECORDINGS / f"{name}.json").read_text())["body"]
    return body


def keys(value: Any) -> Any:
    """The shape of JSON: names and kinds, without values."""
    if isinstance(value, dict):
        return {key: keys(part) for key, part in value.items() if key != "system_fingerprint"}
    if isinstance(value, list):
        return [keys(part) for part in value[:1]]
    return None if value is None else type(value).__name__


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_an_answer_has_the_shape_of_a_recorded_one() -> None:
    got = ask(World(), "together", post())
    assert got.status == 200
    assert keys(got.json) == keys(json.loads(recorded("chat-2026-08")))
    assert got.header("x-simulated") == "hybrid-infer"
    assert got.json["system_fingerprint"] == "simulated"


def test_a_tool_call_has_the_shape_of_a_recorded_one() -> None:
    got = ask(World(), "together", post(text="What is the weather in Paris right now?", tools=[WEATHER]))
    assert keys(got.json) == keys(json.loads(recorded("chat-tools-2026-08")))
    call = got.json["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_current_weather", {"city": "Paris"})


def test_a_stream_has_the_shape_of_a_recorded_one() -> None:
    """Chunks alike, usage on the finish chunk without being asked for, and the end mark."""
    got = ask(World(), "together", post(stream=True))
    lines = [line.removeprefix("data: ") for line in recorded("chat-stream-2026-08").split("\n\n")]
    theirs = [json.loads(line) for line in lines if line.startswith("{")]
    ours = got.events
    assert keys(ours[-1]) == keys(theirs[-1])
    for chunk in (keys(chunk) for chunk in ours[:-1]):
        chunk["choices"][0]["delta"]["token_id"] = "int"  # Together sends null here too (recorded 2026)
        assert chunk == keys(theirs[0])
    assert got.header("content-type") == "text/event-stream;charset=utf-8"


def test_the_finish_reason_of_a_streamed_tool_call_comes_twice() -> None:
    got = ask(World(), "together", post(text="The weather in Paris?", tools=[WEATHER], stream=True))
    choices = [chunk["choices"][0] for chunk in got.events]
    assert [c["finish_reason"] for c in choices].count("tool_calls") == 2
    deltas = [call for c in choices for call in c["delta"].get("tool_calls") or []]
    assert deltas[0]["function"]["name"] == "get_current_weather"
    assert all(set(delta) == {"index", "function"} for delta in deltas[1:])
    arguments = "".join(delta["function"]["arguments"] for delta in deltas)
    assert json.loads(arguments) == {"city": "Paris"}


def test_stream_and_complete_answer_say_the_same() -> None:
    whole = ask(World(), "together", post())
    chunks = ask(World(), "together", post(stream=True)).events
    content = "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)
    assert content == whole.json["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole.json["usage"]


def test_a_stream_comes_token_by_token_in_time() -> None:
    exchange = World().receive("together", post(stream=True), 100.0)
    now, seen = 100.0, list[tuple[float, int]]()
    while True:
        step = exchange.poll(now)
        seen += [(now, len(step.pieces))] if step.pieces else []
        if step.done:
            break
        assert step.wake is not None
        assert step.wake > now or step.pieces
        now = step.wake
    assert len(seen) > 20
    assert all(count == 1 for _, count in seen[:-1])
    assert seen[0][0] > 100.1


@pytest.mark.parametrize(
    ("request_", "status", "code", "param"),
    [
        (post(headers={}), 401, "invalid_api_key", None),
        (post(headers={"authorization": "Bearer "}), 401, "invalid_api_key", None),
        (get("/v1/nothing"), 404, "not_found", None),
        (get("/v1/chat/completions"), 404, "not_found", None),
        (post(model=None), 400, "missing_required_parameter", "model"),
        (post(messages=[]), 400, None, "messages"),
        (post(messages="Hi"), 400, None, "messages"),
        (post(max_tokens=0), 400, None, "max_tokens"),
        (post(max_tokens=10**6), 400, "context_length_exceeded", "max_tokens"),
        (post(text="word " * 200_000), 400, "context_length_exceeded", "messages"),
        (post(tools=[WEATHER], tool_choice="other"), 400, None, "tool_choice"),
        (post(model="Qwen/Qwen3.7-Max"), 400, "streaming_required", "stream"),
    ],
)
def test_a_wrong_request_gets_an_error_in_togethers_shape(
    request_: Any, status: int, code: str | None, param: str | None
) -> None:
    got = ask(World(), "together", request_)
    assert got.status == status
    assert set(got.json) == {"id", "error"}
    assert set(got.json["error"]) == {"message", "type", "param", "code"}
    assert (got.json["error"]["code"], got.json["error"]["param"]) == (code, param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_a_wrong_request(body: bytes) -> None:
    request = post()
    broken = type(request)(method="POST", path=request.path, headers=request.headers, body=body)
    assert ask(World(), "together", broken).status == 400
    assert ask(World(), "modal", broken, mode="openai-compatible").status == 400


def test_a_model_that_only_streams_streams() -> None:
    assert ask(World(), "together", post(model="Qwen/Qwen3.7-Max", stream=True)).status == 200


def test_the_list_of_models_is_a_bare_array() -> None:
    models = ask(World(), "together", get("/v1/models")).json
    assert {SERVERLESS, DEDICATED} <= {row["id"] for row in models}


def test_too_many_requests_at_once_are_limited_for_as_long_as_the_header_says() -> None:
    """A burst of twice the rate passes; what is above it gets 429 and the seconds to wait."""
    world = World(serverless=ServerlessPlan(requests=5.0))
    burst = [ask(world, "together", post(), 0.0) for _ in range(11)]
    assert [got.status for got in burst[:10]] == [200] * 10
    # Together's remaining may be above its limit: the limit is per second, the burst twice that.
    assert int(burst[0].header("x-ratelimit-remaining") or 0) > int(burst[0].header("x-ratelimit-limit") or 0)


def test_the_request_limit_counts_arrivals() -> None:
    world = World(serverless=ServerlessPlan(requests=5.0))
    for _ in range(10):
        world.receive("together", post(), 0.0)
    refused = ask(world, "together", post(), 0.0)
    assert (refused.status, refused.json["error"]["type"]) == (429, "dynamic_request_limited")
    wait = float(refused.header("x-ratelimit-reset") or 0)
    assert wait == pytest.approx(0.2)
    assert ask(world, "together", post(), wait / 2).status == 429
    assert ask(world, "together", post(), wait).status == 200
    assert ask(world, "together", post(model="other"), wait).status == 200


def test_the_token_limit_counts_prompts() -> None:
    world = World(serverless=ServerlessPlan(tokens=1000.0))
    assert ask(world, "together", post(text="x" * 8000), 0.0).status == 200
    refused = ask(world, "together", post(text="x" * 8000), 0.0)
    assert (refused.status, refused.json["error"]["type"]) == (429, "dynamic_token_limited")
    assert refused.header("retry-after") is None


def test_successes_carry_retry_after_and_the_limits() -> None:
    """As recorded: a client that waits for it after a success is wrong."""
    got = ask(World(), "together", post())
    assert got.header("retry-after") == "2"
    assert got.header("x-ratelimit-limit") == "50"


def test_a_few_dozen_calls_at_a_time_meet_no_limit() -> None:
    world = World()
    exchanges = [world.receive("together", post(text="x" * 28_000), 0.0) for _ in range(64)]
    assert {finish(exchange, 0.0).status for exchange in exchanges} == {200}


def test_first_tokens_have_a_tail() -> None:
    world = World(serverless=ServerlessPlan(requests=1e6))
    waits = sorted(ask(world, "together", post(stream=True), 20.0 * n).first - 20.0 * n for n in range(1000))
    assert statistics.median(waits) == pytest.approx(0.35, rel=0.1)
    assert waits[990] > 4 * waits[500]


def test_the_invoice_counts_the_tokens_that_were_made() -> None:
    """Of a stream that is left half-way, too."""
    world = World()
    usage = ask(world, "together", post()).json["usage"]
    left = world.receive("together", post(stream=True), 50.0)
    while not left.poll(now := left.poll(50.0).wake or 50.0).pieces:
        pass
    left.cancel(now)
    ask(world, "together", post(headers={}), 60.0)
    invoice = world.invoice(100.0)
    assert invoice.serverless_requests == 3
    (use,) = invoice.serverless
    assert (use.model, use.requests) == (SERVERLESS, 2)
    assert use.input_tokens == 2 * usage["prompt_tokens"]
    assert usage["completion_tokens"] < use.output_tokens < 2 * usage["completion_tokens"]


# Dedicated endpoints


def state(world: World, now: float) -> str:
    (endpoint,) = world.machines(now).endpoints
    return endpoint.state


def test_the_name_of_the_model_decides_between_serverless_and_dedicated() -> None:
    world = World(dedicated="stopped")
    assert (
        ask(world, "together", post(model=DEDICATED)).json["error"]["code"]
        == "dedicated_endpoint_not_running"
    )
    assert ask(world, "together", post(model=SERVERLESS)).status == 200
    assert ask(world, "together", post(model=SERVERLESS), mode="together-dedicated").status == 400
    assert ask(world, "together", post(model=DEDICATED), mode="together-serverless").status == 200


def test_a_starting_endpoint_passes_its_states_and_is_routed_after_it_is_ready() -> None:
    world = World(dedicated="starting", endpoint=EndpointPlan(provisioning=60, scaling=240, routing=30))
    seen: list[tuple[str, int, str | None]] = []
    for now in range(0, 400, 5):
        got = ask(world, "together", post(model=DEDICATED, max_tokens=1), float(now))
        code = None if got.status == 200 else got.json["error"]["code"]
        if (step := (state(world, got.last), got.status, code)) not in seen:
            seen.append(step)
    assert seen == [
        ("PROVISIONING", 400, "dedicated_endpoint_not_running"),
        ("SCALING", 400, "dedicated_endpoint_not_running"),
        ("READY", 400, "endpoint_not_configured"),
        ("READY", 200, None),
    ]


def test_only_the_time_from_ready_to_stopped_is_billed() -> None:
    world = World(dedicated="stopped")
    world.stop_dedicated(0.0)
    world.start_dedicated(100.0)
    world.start_dedicated(110.0)
    assert world.invoice(140.0).dedicated[0].seconds == 0
    ready = next(now for now in range(100, 1000) if state(world, float(now)) == "READY")
    world.stop_dedicated(2000.0)
    assert state(world, 2000.0) == "STOPPED"
    assert world.invoice(9000.0).dedicated[0].seconds == pytest.approx(2000 - ready, abs=1)


def test_a_stopping_endpoint_finishes_its_requests_and_takes_no_more() -> None:
    world = World()
    exchange = world.receive("together", post(model=DEDICATED), 0.0)
    world.stop_dedicated(0.05)
    assert state(world, 0.05) == "STOPPING"
    assert ask(world, "together", post(model=DEDICATED), 0.05).status == 400
    got = finish(exchange, 0.05)
    assert got.status == 200
    assert state(world, got.last) == "STOPPED"
    assert world.invoice(1000.0).dedicated[0].seconds == pytest.approx(got.last)


def test_a_stop_can_be_taken_back_while_requests_are_finished() -> None:
    world = World()
    world.receive("together", post(model=DEDICATED), 0.0)
    world.stop_dedicated(0.05)
    world.start_dedicated(0.1)
    assert ask(world, "together", post(model=DEDICATED), 0.2).status == 200


@pytest.mark.parametrize("found", ["ready", "stopped", "starting"])
def test_an_endpoint_can_be_made_ready_at_once(found: Any) -> None:
    world = World(dedicated=found)
    assert ask(world, "together", post(model=DEDICATED), 0.0).status == (200 if found == "ready" else 400)
    world.ready_dedicated(10.0)
    assert ask(world, "together", post(model=DEDICATED), 10.0).status == 200


def test_requests_share_the_replica_of_an_endpoint() -> None:
    alone = ask(World(), "together", post(model=DEDICATED)).last
    world = World()
    crowd = [world.receive("together", post(model=DEDICATED), 0.0) for _ in range(200)]
    assert finish(crowd[0], 0.0).last > 1.05 * alone
    assert (
        ask(World(), "together", post(model=f"{DEDICATED}-70b"), mode="together-dedicated").last > 2 * alone
    )


def test_a_dedicated_answer_carries_no_rate_limit() -> None:
    got = ask(World(), "together", post(model=DEDICATED))
    assert not [name for name, _ in got.headers if name.startswith("x-ratelimit") or name == "retry-after"]
