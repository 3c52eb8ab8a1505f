"""Functions as users call them: through either client, on the simulated Modal."""

from __future__ import annotations

from typing import Any

import pytest

from both import Making, settled
from hybrid_infer import (
    Client,
    ConfigurationError,
    DeadlineExceededError,
    InvalidCallError,
    NotFoundError,
    RemoteFunctionError,
)
from hybrid_infer.streams import AsyncStream

MODAL: dict[str, Any] = {"simulate": True, "mode": "modal"}


async def drawn(held: Any) -> list[Any]:
    """All that a stream or a map of either colour gives."""
    if isinstance(held, AsyncStream) or hasattr(held, "__aiter__"):
        return [item async for item in held]
    return list(held)


async def test_a_call_gives_the_value_beside_what_it_took(make: Making) -> None:
    client = make(**MODAL).client
    reply = await settled(client.functions.call("faults/echo", 1, two=2))
    assert reply.value == {"args": [1], "kwargs": {"two": 2}}
    assert (reply.hybrid.mode, reply.hybrid.target) == ("modal", "modal/faults/echo")
    assert reply.hybrid.cost.basis in ("machine-time", "unknown")


async def test_arguments_are_the_functions_own_and_options_the_clients(make: Making) -> None:
    client = make(**MODAL).client
    reply = await settled(client.functions.call("faults/echo", timeout=3, model="m"))
    assert reply.value["kwargs"] == {"timeout": 3, "model": "m"}
    with pytest.raises(DeadlineExceededError):
        await settled(client.with_options(timeout=3).functions.call("faults/slow", 10))


async def test_a_generator_is_read_as_it_yields(make: Making) -> None:
    client = make(**MODAL).client
    stream = await settled(client.functions.stream("text/stream_words", "one two"))
    assert await drawn(stream) == ["one ", "two "]
    whole = await settled(stream.final())
    assert whole.value == ["one ", "two "]
    assert whole.hybrid.attempts == 1


async def test_a_map_is_a_call_for_each_input_in_their_order(make: Making) -> None:
    client = make(**MODAL).client
    replies = await drawn(client.functions.map("faults/echo", [1, 2, 3], ["abc"] * 9, kwargs={"k": 0}))
    assert [reply.value["args"][0] for reply in replies] == [1, 2, 3]
    assert [reply.value["kwargs"] for reply in replies] == [{"k": 0}] * 3
    for wrong, given in (((), {}), (("text",), {}), (([1],), {"concurrency": 0})):
        with pytest.raises(InvalidCallError):
            client.functions.map("faults/echo", *wrong, **given)


async def test_a_spawned_call_goes_on_and_is_found_again_by_its_id(make: Making) -> None:
    client = make(**MODAL).client
    handle = await settled(client.functions.spawn("faults/slow", 60))
    with pytest.raises(DeadlineExceededError):
        await settled(handle.get(timeout=5))
    again = client.functions.spawned("faults/slow", handle.id)
    assert (await settled(again.get(timeout=120))).value["args"] == [60]
    assert handle.hybrid.cost.amount is None  # what runs by itself is not known by who handed it over


async def test_what_the_function_raised_is_kept_and_not_repeated(make: Making) -> None:
    client = make(**MODAL).client
    with pytest.raises(RemoteFunctionError, match="ValueError: no") as caught:
        await settled(client.functions.call("faults/raises", "no"))
    assert isinstance(caught.value.remote, ValueError)
    assert caught.value.hybrid.attempts == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere/detect", "nowhere"),
        ("detect", "app/function"),
        ("", "function"),
        ("text/stream_words", "generator"),
    ],
)
async def test_what_cannot_be_called_is_one_clear_error(name: str, said: str, make: Making) -> None:
    client = make(**MODAL).client
    with pytest.raises((InvalidCallError, NotFoundError), match=said):
        await settled(client.functions.call(name))


async def test_a_model_of_the_configuration_may_be_a_function(make: Making) -> None:
    """For chat in the place of a server, and under its name for `functions`, with a price for its machine."""
    models = {
        "assistant": {"modal": {"function": "llm/chat", "gpu": "H100"}},
        "live": {"modal": {"function": "llm/stream_chat", "gpu": "H100"}},
        "detector": {"modal": {"function": "detector/detect", "gpu": "L4", "cpu": 1, "memory": 4}},
    }
    api = make(**MODAL, models=models, model="assistant")
    answer = await api.create()
    assert answer.choices[0].message.content
    assert answer.hybrid.target == "modal/llm/chat"
    assert await (await api.stream(model="live")).text()
    reply = await settled(api.client.functions.call("detector", b"picture"))
    assert reply.value["simulated"]
    cost = reply.hybrid.cost
    assert (cost.basis, cost.estimated) == ("machine-time", True)
    assert cost.amount is not None and cost.amount > 0
    with pytest.raises(InvalidCallError, match="as a form"):
        await settled(api.client.audio.transcriptions.create(file=b"RIFF"))


def test_a_client_for_functions_alone_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODAL_TOKEN_ID", raising=False)
    with pytest.raises(ConfigurationError, match="HYBRID_INFER_MODAL_URL"):
        Client(mode="modal")
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-1")
    Client(mode="modal").close()
