"""Moving between modes: per call, per model, per client, and live."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from both import ASK, Making
from fakes import ScriptedTransport, delta, said, streamed
from hybrid_infer.errors import ClientClosedError, ConfigurationError, InvalidCallError
from hybrid_infer.runtime.step import step

ALL: dict[str, Any] = {
    "together_api_key": "k",
    "modal_url": "https://acme--llm.us-east.modal.direct",
    "base_url": "http://localhost:11434",
    "mode": "openai-compatible",
    "model": "m",
}
HOSTS = {
    "together-serverless": "api-inference.together.ai",
    "together-dedicated": "api-inference.together.ai",
    "modal": "acme--llm.us-east.modal.direct",
    "openai-compatible": "localhost",
}


@pytest.mark.parametrize("mode", HOSTS)
async def test_the_mode_of_a_call_decides_where_it_goes(make: Making, mode: str) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **ALL)
    reply = await api.create(mode=mode)
    assert transport.sent[0].request.origin.host == HOSTS[mode]
    assert reply.hybrid.mode == mode
    assert reply.hybrid.why == (f"{mode}: this call asks for it",)


async def test_the_mode_of_a_model_stands_between_call_and_client(make: Making) -> None:
    transport = ScriptedTransport([said()])
    models = {"assistant": {"mode": "modal", "modal": {"model": "llm"}, "together-serverless": "org/big"}}
    api = make(transport=transport, models=models, **ALL)
    assert (await api.create(model="assistant")).hybrid.target == "modal/llm"
    assert (await api.create(model="assistant", mode="together-serverless")).hybrid.target == (
        "together-serverless/org/big"
    )
    assert (await api.create(model="other")).hybrid.target == "openai-compatible/other"
    assert [sent.json["model"] for sent in transport.sent] == ["llm", "org/big", "other"]


async def test_a_model_without_an_entry_for_the_mode_says_which_variable_would_help(make: Making) -> None:
    api = make(transport=ScriptedTransport([said()]), models={"a-1": {"modal": {"model": "llm"}}}, **ALL)
    with pytest.raises(ConfigurationError, match="HYBRID_INFER_MODELS__A_1__TOGETHER_SERVERLESS"):
        await api.create(model="a-1", mode="together-serverless")


async def test_with_options_gives_other_defaults_on_the_same_connections(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **ALL)
    api.client = api.client.with_options(mode="modal", model="llm", extra_headers={"x-team": "a"}, timeout=5)
    reply = await api.create()
    assert reply.hybrid.target == "modal/llm"
    assert ("x-team", "a") in transport.sent[0].request.headers
    with pytest.raises(InvalidCallError, match="mode"):
        api.client.with_options(mode="moon")


async def test_the_server_names_its_model_where_none_is_given(make: Making) -> None:
    transport = ScriptedTransport([said({"data": [{"id": "qwen3:8b"}]}), said(), said()])
    settings = {**ALL, "model": None}
    api = make(transport=transport, **{k: v for k, v in settings.items() if v is not None})
    await api.create()
    await api.create()
    assert [sent.request.method for sent in transport.sent] == ["GET", "POST", "POST"]
    assert transport.sent[1].json["model"] == "qwen3:8b"


async def test_a_switch_lacking_something_changes_nothing(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, mode="openai-compatible", base_url="http://localhost:1", model="m")
    with pytest.raises(ConfigurationError, match="TOGETHER_API_KEY"):
        await api.switch("together-serverless")
    with pytest.raises(InvalidCallError):
        await api.switch("nowhere")
    assert (await api.create()).hybrid.mode == "openai-compatible"


async def test_a_thousand_calls_in_flight_end_where_they_began(make: Making) -> None:
    old = ScriptedTransport([streamed(delta("Hel"), 5.0, delta("lo"), delta(finish="stop"))])
    new = ScriptedTransport([said()])
    api = make(transports=[old, new], **ALL)
    streams = [await api.stream(timeout=86_400) for _ in range(1000)]
    await api.switch("modal")
    assert (await api.create()).hybrid.mode == "modal"
    assert len(new.sent) == 1
    assert not old.closed
    texts = [await stream.text() for stream in streams[:-1]]
    assert not old.closed, "one call is still in flight"
    texts.append(await streams[-1].text())
    assert texts == ["Hello"] * 1000
    assert len(old.sent) == 1000, "nothing was sent twice"
    assert all(stream.hybrid.mode == "openai-compatible" for stream in streams)
    assert old.closed, "the last one out closes the old"
    assert not new.closed


async def test_calls_of_many_threads_and_tasks_survive_a_switch(colour: str, make: Making) -> None:
    old, new = ScriptedTransport([said(after=5)]), ScriptedTransport([said()])
    api = make(transports=[old, new], **ALL)
    if colour == "async":
        tasks = [asyncio.ensure_future(api.create()) for _ in range(1000)]
        await asyncio.sleep(1)
        await api.switch("modal")
        replies: list[Any] = await asyncio.gather(*tasks)
    else:

        def one() -> Any:
            return api.client.chat.completions.create(messages=ASK)

        def switch() -> Any:
            step(api.runtime.sleep(1))
            api.client.switch("modal")

        replies = api.runtime.run(*[one] * 100, switch)[:-1]  # type: ignore[attr-defined]
    assert {reply.hybrid.mode for reply in replies} == {"openai-compatible"}
    assert (await api.create()).hybrid.mode == "modal"
    assert old.closed
    assert old.open == new.open == 0


async def test_an_abandoned_stream_does_not_keep_the_old_mode_open(make: Making) -> None:
    old, new = ScriptedTransport([streamed(delta("a"), 5.0, delta("b"))]), ScriptedTransport([said()])
    api = make(transports=[old, new], **ALL)
    stream = await api.stream()
    await api.switch("modal")
    del stream
    await api.create()
    assert old.closed


async def test_a_closed_client_says_so_and_closing_again_is_harmless(make: Making) -> None:
    transport = ScriptedTransport([said()])
    api = make(transport=transport, **ALL)
    await api.create()
    await api.close()
    await api.close()
    assert transport.closed
    with pytest.raises(ClientClosedError):
        await api.create()
    with pytest.raises(ClientClosedError):
        await api.switch("modal")
