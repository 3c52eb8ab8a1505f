"""Servers on Modal: warmed by asking them, kept up by their autoscaler, in both colours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from endpoints.modal_support import PROXY, Flaky, Workspace, settings
from fakes import Answer, ScriptedTransport, said
from hybrid_infer.endpoints.errors import (
    EndpointError,
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from hybrid_infer.endpoints.modal import modal_endpoint
from hybrid_infer.endpoints.modal_autoscaler import server_name
from hybrid_infer.endpoints.modal_server import SharedEndpoint
from hybrid_infer.endpoints.state import EndpointAction, EndpointEvent
from hybrid_infer.errors import ConfigurationError, InvalidCallError
from hybrid_infer.simulator.modal import ModalPlan
from hybrid_infer.transport.base import TransportError, TransportTimeout

MODELS = {"object": "list", "data": [{"id": "llm"}]}
COLD = Answer(503, (b"modal-http: no container is ready",), ())


def scripted(workspace: Workspace, *script: Any) -> ScriptedTransport:
    transport = ScriptedTransport(list(script))
    transport.runtime = workspace.runtime
    return transport


async def test_a_look_starts_no_container(colour: str) -> None:
    """Not even the second one."""
    workspace = Workspace(colour)
    endpoint = workspace.endpoint("server")
    for _ in range(2):
        state = await endpoint.state()
        assert (state.life, state.minimum, state.maximum) == ("cold", 0, 2)
    assert state.price is not None
    assert state.price.usd == Decimal("3.9492")
    assert workspace.world.machines(workspace.runtime.now()).containers_started == 0


async def test_warm_asks_until_it_answers_and_sets_no_minimum(colour: str) -> None:
    workspace = Workspace(colour)
    endpoint, events = workspace.endpoint("server"), list[EndpointEvent]()
    state = await endpoint.warm(on_event=events.append)
    lives = [event.state.life for event in events if not isinstance(event, EndpointAction)]
    assert (lives, state.minimum) == (["warming", "warm"], 0)
    assert 16 <= workspace.runtime.now() <= 25
    assert workspace.ask() == 200
    await workspace.runtime.sleep(61.0)
    assert (await endpoint.state()).life == "cold"
    assert workspace.ask() == 503


async def test_a_minimum_keeps_a_container_for_as_long_as_it_stands(colour: str) -> None:
    """It is billed from its start to the moment at which the minimum is taken back."""
    workspace = Workspace(colour)
    endpoint = workspace.endpoint("server")
    assert (await endpoint.set_minimum(1)).life == "warming"
    await workspace.runtime.sleep(3600.0)
    assert workspace.ask() == 200
    state = await endpoint.state()
    assert (state.life, state.minimum, await endpoint.minimum()) == ("warm", 1, 1)
    await workspace.runtime.sleep(100.0)
    assert (await endpoint.set_minimum(0)).minimum == 0
    await workspace.runtime.sleep(3600.0)
    assert (await endpoint.state()).life == "cold"
    assert workspace.billed() == 3700.0


async def test_more_than_one_replica_is_set_as_minimum(colour: str) -> None:
    workspace = Workspace(colour)
    endpoint, events = workspace.endpoint("server"), list[EndpointEvent]()
    state = await endpoint.warm(3, on_event=events.append)
    assert (state.life, state.minimum, state.maximum) == ("warm", 3, 3)
    assert [event.what for event in events if isinstance(event, EndpointAction)] == [
        "keep at least 3, and at most 3"
    ]
    assert workspace.world.machines(workspace.runtime.now()).containers_started == 3


async def test_without_the_name_of_the_server_no_minimum_can_be_set(colour: str) -> None:
    """It says what to set; 0 is what it is, and one replica can be warmed all the same."""
    endpoint = Workspace(colour).endpoint("unnamed")
    assert await endpoint.minimum() == 0
    assert (await endpoint.set_minimum(0)).minimum is None
    with pytest.raises(EndpointError, match="cannot be set") as caught:
        await endpoint.set_minimum(1)
    assert 'server = "app/Server"' in str(caught.value)
    with pytest.raises(EndpointError, match="cannot be set"):
        await endpoint.warm(2)
    assert (await endpoint.warm()).life == "warm"


async def test_without_an_account_token_neither(colour: str) -> None:
    """A proxy token, which it has, is none."""
    endpoint = Workspace(colour).endpoint("server", scaled=False)
    assert await endpoint.minimum() == 0
    with pytest.raises(EndpointError, match="MODAL_TOKEN_ID"):
        await endpoint.set_minimum(1)


async def test_stop_lets_the_window_pass(colour: str) -> None:
    """Nobody can be asked without starting a container; so it asks nobody."""
    workspace = Workspace(colour)
    endpoint = workspace.endpoint("server")
    await endpoint.warm()
    warm_at = workspace.runtime.now()
    state = await endpoint.stop(wait=False)
    assert (state.life, state.said) == ("draining", "stops 60 s after its last request")
    assert (await endpoint.stop()).life == "cold"
    assert workspace.runtime.now() == pytest.approx(warm_at + 60.0, abs=0.2)
    assert workspace.world.machines(workspace.runtime.now()).containers_ready == 0
    with pytest.raises(EndpointTimeoutError):
        await endpoint.warm()
        await endpoint.stop(timeout=10.0)


async def test_stop_takes_back_a_minimum_that_somebody_else_set(colour: str) -> None:
    """What it kept is taken to have been used until now."""
    workspace = Workspace(colour)
    await workspace.endpoint("server").set_minimum(1)
    other = workspace.endpoint("server")
    state = await other.stop(wait=False)
    assert (state.life, state.minimum) == ("draining", 0)
    assert (await other.stop()).life == "cold"
    assert 60 <= workspace.runtime.now() < 61


async def test_a_call_that_was_answered_is_as_good_as_a_question(colour: str) -> None:
    workspace = Workspace(colour)
    endpoint = workspace.endpoint("server")
    endpoint.answered()
    assert (await endpoint.state()).life == "warm"
    await workspace.runtime.sleep(60.0)
    assert (await endpoint.state()).life == "cold"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_proxy_token_is_never_polled(colour: str, status: int) -> None:
    workspace = Workspace(colour)
    transport = scripted(workspace, Answer(status, (b"modal-http: no",), ()))
    with pytest.raises(EndpointForbiddenError, match="proxy token") as caught:
        await workspace.endpoint("server", transport=transport).warm()
    assert (len(transport.sent), caught.value.status) == (1, status)
    assert dict(transport.sent[0].request.headers).items() >= PROXY.items()


async def test_an_address_without_a_server(colour: str) -> None:
    workspace = Workspace(colour)
    gone = Answer(404, (b"modal-http: app for invoked web endpoint is stopped",), ())
    with pytest.raises(EndpointNotFoundError, match="nothing is served"):
        await workspace.endpoint("server", transport=scripted(workspace, gone)).warm()


WAITS = {
    "cold": COLD,
    "redirect": Answer(303, (), (("location", "/v1/models?__modal_function_call_id=fc-1"),)),
    "held": TransportTimeout("time is over", sent=True),
    "bad gateway": Answer(502, (), ()),
    "unreachable": TransportError("no route", sent=False),
}


@pytest.mark.parametrize("answer", WAITS.values(), ids=WAITS.keys())
async def test_what_is_no_engine_s_answer_is_waited_out(colour: str, answer: Any) -> None:
    workspace = Workspace(colour)
    transport = scripted(workspace, answer, answer, said(MODELS))
    assert (await workspace.endpoint("server", transport=transport).warm()).life == "warm"
    assert (len(transport.sent), workspace.runtime.now(), transport.open) == (3, 2.0, 0)


ANSWERS = {
    "full": Answer(429, (b"modal-http: full",), ()),
    "busy": said({"error": {"message": "queue is full"}}, status=503),
    "no such path": said({"detail": "Not Found"}, status=404),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_whatever_an_engine_answers_there_is_one(colour: str, answer: Answer) -> None:
    workspace = Workspace(colour)
    state = await workspace.endpoint("server", transport=scripted(workspace, answer)).warm()
    assert (state.life, workspace.runtime.now()) == ("warm", 0.0)


async def test_what_cannot_be_reached_for_a_minute_is_given_up(colour: str) -> None:
    workspace = Workspace(colour)
    transport = scripted(workspace, TransportError("no route", sent=False))
    with pytest.raises(EndpointUnreachableError, match="no route"):
        await workspace.endpoint("server", transport=transport).warm()
    assert workspace.runtime.now() == 60.0


async def test_a_slow_start_ends_with_its_last_words(colour: str) -> None:
    workspace = Workspace(colour, modal=ModalPlan(cold_start=1e6))
    with pytest.raises(EndpointTimeoutError, match="no container is ready"):
        await workspace.endpoint("server").warm(timeout=300.0)
    assert workspace.runtime.now() == 300.0


async def test_one_replica_comes_up_while_the_control_plane_is_out(colour: str) -> None:
    """More cannot; and where there is no way to set a minimum, that is said."""
    workspace = Workspace(colour)
    flaky = Flaky(workspace, until=1e6)
    endpoint = workspace.endpoint("server", connect=flaky)
    state = await endpoint.warm()
    assert (state.life, state.minimum, flaky.open) == ("warm", None, 0)
    with pytest.raises(EndpointUnreachableError, match="Service unavailable"):
        await endpoint.warm(2)
    with pytest.raises(EndpointUnreachableError):
        await endpoint.set_minimum(1)
    assert flaky.open == 0


async def test_a_shared_endpoint_is_always_warm_and_costs_nothing_by_time(colour: str) -> None:
    workspace = Workspace(colour)
    endpoint = workspace.endpoint("shared")
    assert isinstance(endpoint, SharedEndpoint)
    for state in (await endpoint.warm(3), await endpoint.set_minimum(2), await endpoint.stop()):
        assert (state.life, state.minimum) == ("warm", 0)
        assert state.price is not None
        assert state.price.nano == 0
    assert await endpoint.minimum() == 0


@pytest.mark.parametrize("text", ["Server", "app/", "app/a.b", "a/b/c", "a b/c"])
def test_what_names_no_server_is_told_so(text: str) -> None:
    with pytest.raises(InvalidCallError, match="write 'app/Server'"):
        server_name(text)


def test_a_model_without_a_machine_on_modal_is_told_so() -> None:
    workspace = Workspace("sync")

    def made(name: str) -> Any:
        return modal_endpoint(settings(), name, runtime=workspace.runtime, blocking=True)

    with pytest.raises(ConfigurationError, match="has no machine on Modal"):
        made("elsewhere")
    with pytest.raises(ConfigurationError, match="give knock="):
        made("server")
    with pytest.raises(InvalidCallError, match="does not name a Modal function"):
        made("a.b/c.d")
