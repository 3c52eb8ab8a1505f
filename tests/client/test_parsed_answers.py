"""`completion.parsed` is what `response_format` asked for, whoever answers and however it comes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from both import Making
from fakes import DONE, USAGE, ScriptedTransport, completion, delta, said, streamed
from hybrid_infer import AnswerFormatError, InvalidCallError

KEY: dict[str, Any] = {"api_key": "k", "model": "m"}


@dataclass
class Task:
    what: str


TASK = said(completion('{"what": "go"}'))


async def test_the_schema_is_sent_and_the_answer_is_an_instance(make: Making) -> None:
    transport = ScriptedTransport([TASK])
    answer = await make(transport=transport, **KEY).create(response_format=Task)
    assert answer.parsed == Task("go")
    assert answer.parsed is answer.parsed
    sent = transport.sent[0].json["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Task", True)
    assert pickle.loads(pickle.dumps(answer)).parsed == Task("go")


async def test_the_whole_answer_of_a_stream_has_it_too(make: Making) -> None:
    events = streamed(delta('{"what"'), delta(': "go"}'), delta(finish="stop", usage=USAGE), DONE)
    stream = await make(transport=ScriptedTransport([events]), **KEY).stream(response_format=Task)
    assert (await stream.final()).parsed == Task("go")


async def test_a_stored_answer_is_read_into_what_this_call_asks_for(make: Making) -> None:
    """The cache knows requests, not classes: the same schema given as a dict is the same request."""
    transport = ScriptedTransport([TASK])
    api = make(transport=transport, cache="memory", **KEY)
    first = await api.create(response_format=Task, temperature=0)
    same = transport.sent[0].json["response_format"]
    assert first.parsed == Task("go")
    assert (await api.create(response_format=Task, temperature=0)).parsed == Task("go")
    assert (await api.create(response_format=same, temperature=0)).parsed == {"what": "go"}
    assert len(transport.sent) == 1


async def test_an_answer_that_does_not_fit_is_one_error_that_holds_it(make: Making) -> None:
    api = make(transport=ScriptedTransport([said(completion("Sorry."))]), **KEY)
    with pytest.raises(AnswerFormatError, match="not JSON") as caught:
        await api.create(response_format=Task)
    error = caught.value
    assert error.text == "Sorry."
    assert error.completion.choices[0].message.content == "Sorry."
    assert error.hybrid.attempts == 1
    assert error.hybrid.cost == error.completion.hybrid.cost


async def test_the_reasons_name_each_field(make: Making) -> None:
    api = make(transport=ScriptedTransport([said(completion('{"what": 1}'))]), **KEY)
    with pytest.raises(AnswerFormatError) as caught:
        await api.create(response_format=Task)
    assert [reason for reason in caught.value.reasons if "what" in reason]


async def test_what_a_provider_calls_its_own_format_is_handed_over_as_it_is(make: Making) -> None:
    api = make(transport=ScriptedTransport([said(completion("Sorry."))]), **KEY)
    answer = await api.create(response_format={"type": "json_object"})
    assert answer.choices[0].message.content == "Sorry."
    with pytest.raises(AnswerFormatError):
        _ = answer.parsed


async def test_what_was_not_asked_for_is_not_there(make: Making) -> None:
    api = make(transport=ScriptedTransport([TASK]), **KEY)
    for given in ({}, {"response_format": None}, {"response_format": {"type": "text"}}):
        with pytest.raises(AttributeError, match="no response_format was asked for"):
            _ = (await api.create(**given)).parsed


async def test_nothing_is_sent_for_what_has_no_schema(make: Making) -> None:
    transport = ScriptedTransport([TASK])
    with pytest.raises(InvalidCallError, match="response_format"):
        await make(transport=transport, **KEY).create(response_format=int)
    assert transport.sent == []
