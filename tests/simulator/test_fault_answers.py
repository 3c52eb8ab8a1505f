"""Faults in front of the providers: errors in their own shape, hints, cold starts; what a world saw."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from garbage import ROUNDS, counted
from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.fault_rules import Faults
from hybrid_infer.simulator.faults import Fault
from hybrid_infer.simulator.world import EPOCH, World
from simulator.simulated import DEDICATED, MODAL, SERVERLESS, Got, ask, finish, get, post


def answered(faults: Faults, mode: Mode, now: float = 0.0, **fields: Any) -> Got:
    provider: Any = "together" if mode.startswith("together") else "modal"
    return ask(World(faults=faults), provider, post(**fields), now, mode=mode)


def test_statuses_have_the_shape_of_the_provider() -> None:
    fault = Fault("status", status=503, message="No room.")
    together = answered(fault, "together-serverless").json
    engine = answered(fault, "modal").json
    assert together["error"]["message"] == engine["error"]["message"] == "No room."
    assert (together["error"]["type"], together["error"]["code"]) == ("server_error", None)
    assert (engine["error"]["type"], engine["error"]["code"]) == ("ServiceUnavailableError", 503)
    assert together["id"].startswith("sim")


def test_a_status_may_have_code_headers_and_a_body_of_its_own() -> None:
    coded = answered(Fault("status", status=429, code="model_rate_limit"), "together-serverless")
    assert (coded.status, coded.json["error"]["code"]) == (429, "model_rate_limit")
    page = answered(
        Fault("status", status=502, body="<h1>Bad Gateway</h1>", headers={"Via": "1.1 x"}), "modal"
    )
    assert (page.status, page.body) == (502, b"<h1>Bad Gateway</h1>")
    assert (page.header("content-type"), page.header("via")) == ("text/html; charset=utf-8", "1.1 x")
    plain = answered(Fault("status", status=599, body="no"), "modal")
    assert (plain.status, plain.header("content-type")) == (599, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("hint", "name", "value"),
    [
        ("retry-after", "retry-after", "2.5"),
        ("retry-after-ms", "retry-after-ms", "2500"),
        ("x-ratelimit-reset", "x-ratelimit-reset", "2.5"),
    ],
)
@pytest.mark.parametrize("kind", ["status", "saturated"])
@pytest.mark.parametrize("mode", ["modal", "together-serverless", "openai-compatible"])
def test_hints_stand_where_they_are_looked_for(
    hint: Any, name: str, value: str, kind: Any, mode: Mode
) -> None:
    hinted = answered(Fault(kind, retry_after=2.5, hint=hint), mode)
    bare = answered(Fault(kind), mode)
    assert (hinted.header(name), bare.header(name)) == (value, None)


def test_a_date_is_told_by_the_clock_of_the_provider() -> None:
    world = World(
        faults=[
            Fault("status", retry_after=1.5, hint="retry-after-date").when(on=1),
            Fault("clock_skew", seconds=-3600, retry_after=5).when(on=2),
        ]
    )
    world.invoice(0.0)
    right, wrong = (ask(world, "together", post(), 100.9) for _ in range(2))
    for got, ahead, wait in ((right, 0, 2), (wrong, -3600, 5)):
        date, later = (parsedate_to_datetime(got.header(name) or "") for name in ("date", "retry-after"))
        assert (date - EPOCH).total_seconds() == 100 + ahead
        assert (later - date).total_seconds() == wait


def test_cold_is_said_in_the_way_of_the_provider() -> None:
    modal = answered(Fault("cold"), "modal")
    assert (modal.status, modal.body) == (503, b"modal-http: no container is ready")
    together = answered(Fault("cold"), "together-dedicated")
    assert (together.status, together.json["error"]["code"]) == (400, "dedicated_endpoint_not_running")
    assert answered(Fault("cold"), "openai-compatible").status == 503


@pytest.mark.parametrize("stream", [False, True])
def test_a_cold_start_may_be_a_redirect_to_the_result(stream: bool) -> None:
    """As at modal.run: after some seconds 303 to the same address, where the answer waits."""
    world = World(faults=Fault("cold", variant="redirect", seconds=150))
    first = ask(world, "modal", post(model=MODAL, stream=stream), 0.0)
    location = first.header("location") or ""
    assert (first.status, first.last, first.body) == (303, 150.0, b"")
    assert location.startswith("?__modal_function_call_id=")
    result = ask(world, "modal", get("/v1/chat/completions" + location), 150.0)
    assert result.status == 200
    assert (len(result.events) > 3) if stream else result.json["choices"]
    again = ask(world, "modal", get("/v1/chat/completions" + location), 151.0)
    assert again.status == 404
    assert (world.seen().calls, world.seen().gets) == (1, 2)


def test_saturation_is_429_in_the_way_of_the_provider() -> None:
    assert answered(Fault("saturated"), "modal").body.startswith(b"modal-http: every container")
    limited = answered(Fault("saturated"), "together-serverless")
    assert (limited.status, limited.json["error"]["type"]) == (429, "dynamic_request_limited")


def test_an_answer_is_spoiled_only_where_there_is_one() -> None:
    """The refusal of a cold container is no answer, and is not counted."""
    world = World(faults=Fault("truncate").when(on=1))
    assert ask(world, "modal", post(model=MODAL), 0.0).status == 503
    assert world.fired()[0].counted == 0
    spoiled, well = (ask(world, "modal", post(model=MODAL), at).body for at in (60.0, 70.0))
    assert len(spoiled) == len(well) // 2


def test_the_provider_sees_nothing_of_what_a_fault_took_in_front_of_it() -> None:
    world = World(faults=Fault("status"))
    ask(world, "together", post(), 0.0, mode="together-serverless")
    assert world.invoice(1.0).serverless_requests == 0
    assert world.seen(1.0).calls == 1


def test_what_is_cut_is_billed_until_the_cut() -> None:
    well, cut = World(), World(faults=Fault("reset_mid_body", events=3))
    for world in (well, cut):
        exchange, now = world.receive("together", post(stream=True), 0.0), 0.0
        while not (step := exchange.poll(now)).done:
            now = step.wake or now
    made = [world.invoice(20.0).serverless[0].output_tokens for world in (well, cut)]
    assert made[0] > 20 and 3 <= made[1] <= 4


def test_requests_are_logged_by_mode_and_model_where_they_arrive() -> None:
    world = World(faults=[Fault("refuse").when(on=2), Fault("status").when(on=3)])
    for request in (post(), post(), post(), post(model=DEDICATED), get("/v1/models")):
        exchange = world.receive("together", request, 0.0)
        exchange.cancel(0.0)
    ask(world, "modal", post(model=MODAL), 0.0)
    seen = world.seen(0.0)
    rows = [(t.mode, t.model, t.calls, t.gets, t.refused, t.faulted) for t in seen.targets]
    assert rows == [
        ("together-serverless", SERVERLESS, 2, 0, 1, 2),
        ("together-dedicated", DEDICATED, 1, 0, 0, 0),
        ("together-serverless", None, 0, 1, 0, 0),
        ("modal", MODAL, 1, 0, 0, 0),
    ]
    assert (seen.calls, seen.gets, seen.refused, seen.faulted) == (4, 1, 1, 2)
    assert seen.of("together-serverless").calls == 2
    assert seen.of("together-serverless", SERVERLESS).refused == 1


def test_open_exchanges_and_those_that_were_left_are_told() -> None:
    world = World()
    one, two, three = (world.receive("together", post(stream=True), 0.0) for _ in range(3))
    assert world.seen(0.0).open == 3
    one.cancel(0.1)
    world.dropped.append(two)
    assert (world.seen(0.2).open, world.seen(0.2).cancelled) == (1, 2)
    finish(three, 0.2)
    three.cancel(99.0)
    assert (world.seen(99.0).open, world.seen(99.0).cancelled) == (0, 2)


def test_an_exchange_that_ended_is_not_held() -> None:
    world = World()
    ask(world, "together", post())
    found: list[int] = []
    for round_ in range(ROUNDS):
        with counted(found):
            ask(world, "together", post(), 1.0 + round_)
    assert min(found) == 0


def test_other_faults_count_from_the_beginning() -> None:
    world = World(faults=Fault("status").when(on=1))
    assert [ask(world, "together", post()).status for _ in range(2)] == [500, 200]
    world.use_faults(Fault("status", status=502).when(on=1))
    assert [ask(world, "together", post()).status for _ in range(2)] == [502, 200]
    world.use_faults(None)
    assert world.fired() == ()


def test_a_request_that_is_not_json_meets_faults_too() -> None:
    request = post()
    world = World(faults=Fault("status", status=413))
    broken = type(request)(method="POST", path=request.path, headers=request.headers, body=b"{")
    assert ask(world, "together", broken).status == 413
