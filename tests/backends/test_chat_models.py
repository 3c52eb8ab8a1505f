"""The models of chat completions: lenient, open, and without `hybrid` in what they hold."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any, cast

import pytest

from backends.wire_samples import chat, target
from hybrid_infer.calls.call import Attempt, Tally
from hybrid_infer.calls.chat import ChatCompletion, ChatCompletionChunk, ChatOptions, Choice
from hybrid_infer.calls.hybrid import Hybrid
from hybrid_infer.calls.reply import Facts

ANSWER: dict[str, Any] = {"id": "x", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}


def completion(**more: Any) -> ChatCompletion:
    return ChatCompletion.model_validate({**ANSWER, **more})


def hybrid(attempts: int = 1) -> Hybrid:
    tally = Tally(attempts=[Attempt(target=target(), started=0.0) for _ in range(attempts)])
    return Hybrid.of(chat(tally=tally), Facts())


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("eos", "stop"),
        ("stop", "stop"),
        ("", None),
        (None, None),
        ("tool_calls", "tool_calls"),
        ("brand_new", "brand_new"),
    ],
)
def test_finish_reason_is_an_open_string(sent: str | None, read: str | None) -> None:
    choice = Choice.model_validate({"message": {}, "finish_reason": sent})
    part = ChatCompletionChunk.model_validate({"choices": [{"delta": {}, "finish_reason": sent}]})
    assert choice.finish_reason == read
    assert part.choices[0].finish_reason == read


def test_fields_may_be_missing_or_null() -> None:
    sparse = ChatCompletion.model_validate_json(
        b'{"choices": [{"message": {"role": null, "content": null}}]}'
    )
    assert (sparse.id, sparse.created, sparse.model, sparse.usage) == (None, None, None, None)
    assert (sparse.choices[0].index, sparse.choices[0].message.role) == (0, "assistant")
    part = ChatCompletionChunk.model_validate_json(
        b'{"choices": [{"index": null, "delta": null}, {}], "object": null}'
    )
    assert [choice.delta.content for choice in part.choices] == [None, None]
    assert ChatCompletionChunk.model_validate_json(b'{"choices": null}').choices == []
    usage = ChatCompletion.model_validate_json(b'{"choices": [], "usage": {"prompt_tokens": 3}}').usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, None)


def test_unknown_fields_are_attributes_and_come_back_out() -> None:
    read = completion(warnings=[{"message": "old model"}])
    assert read.model_extra == {"warnings": [{"message": "old model"}]}
    assert read.model_dump()["warnings"] == [{"message": "old model"}]


def test_seed_above_int64() -> None:
    seed = 2**64 - 1
    choice = Choice.model_validate_json(f'{{"message": {{}}, "seed": {seed}}}')
    assert choice.seed == seed
    assert f'"seed":{seed}' in choice.model_dump_json()


def test_hybrid_is_no_part_of_the_answer() -> None:
    with_hybrid, without = completion(), completion()
    with_hybrid.learn(hybrid())
    assert with_hybrid.hybrid.attempts == 1
    assert with_hybrid == without
    assert with_hybrid.model_dump() == without.model_dump()
    assert with_hybrid.model_dump_json() == without.model_dump_json()
    assert repr(with_hybrid) == repr(without)
    assert with_hybrid != completion(id="y")
    assert with_hybrid != completion(more=1)
    assert with_hybrid != "x"


def test_hybrid_is_for_the_client_to_set() -> None:
    read = completion()
    with pytest.raises(AttributeError, match="not returned by a client"):
        _ = read.hybrid
    read.learn(hybrid())
    with pytest.raises(AttributeError, match="no setter"):
        cast("Any", read).hybrid = hybrid(attempts=2)
    assert read.hybrid.attempts == 1


def test_copies_keep_hybrid() -> None:
    read = completion()
    read.learn(hybrid(attempts=0))
    assert read.model_copy().hybrid == read.hybrid
    assert copy.copy(read).hybrid == read.hybrid
    assert pickle.loads(pickle.dumps(read)).hybrid == read.hybrid


def test_options_name_the_parameters_of_the_together_and_openai_packages() -> None:
    """Code written for either package keeps its types; `timeout` and the like are the client's own."""
    from openai.resources.chat.completions import Completions as OpenAICompletions
    from together.resources.chat.completions import CompletionsResource as TogetherCompletions

    ours = set(ChatOptions.__annotations__)
    own = {"self", "messages", "model", "stream", "extra_headers", "extra_query", "extra_body", "timeout"}
    for create in (TogetherCompletions.create, OpenAICompletions.create):
        assert set(inspect.signature(create).parameters) - own <= ours
