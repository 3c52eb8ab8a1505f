"""The key of a kept answer: what the provider sees, who is asked and who asks, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hybrid_infer.backends.base import address_of
from hybrid_infer.backends.compatible import CompatibleBackend
from hybrid_infer.calls.call import Call, Target
from hybrid_infer.layers.cache.key import Keys, request_of

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(
    st.sampled_from(["messages", "tools", "temperature", "seed", "stop", "my_option", "stream_options"])
    | st.text(min_size=1).filter(lambda name: name not in ("model", "stream")),
    values,
    max_size=5,
)


def target(**changes: Any) -> Target:
    fields = {
        "name": "openai-compatible/m",
        "mode": "openai-compatible",
        "provider": "openai",
        "model": "m",
        "host": "h",
        "port": 80,
        "basis": "unknown",
        "place": "http://h",
        "credential": lambda: (("authorization", "Bearer k"),),
    }
    return Target(**{**fields, **changes})


def call(body: Mapping[str, Any] | None = None, **options: Any) -> Call:
    return Call(operation="chat", model="m", body={"messages": MESSAGES, **(body or {})}, **options)


def key(asked: Call, where: Target | None = None, keys: Keys | None = None) -> bytes | None:
    request = request_of(asked)
    return None if request is None else (keys or Keys()).at(asked, where or target(), request)


def seen(asked: Call) -> Any:
    """What the provider sees of a call, but for what a key does not count."""
    backend = CompatibleBackend(address=address_of("http://h"), api_key=lambda: "k")
    sent = backend.encode(asked, target())
    _, body = json.loads(sent.content(), object_pairs_hook=lambda pairs: ("object", pairs))
    return repr(sorted(pair for pair in map(repr, body) if not pair.startswith("('stream',")))


def changed(value: Any, draw: Any) -> Any:
    """`value` with one change at some depth."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: changed(value[name], draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], changed(value[place], draw), *value[place + 1 :]]
    return draw(values)


@given(st.data(), bodies)
def test_any_difference_in_what_the_provider_sees_gives_another_key(data: Any, body: dict[str, Any]) -> None:
    other = dict(body)
    if body and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(body)))
        other[name] = changed(body[name], data.draw)
    else:
        other = data.draw(bodies)
    one, two = call(body), call(other)
    assert (key(one) == key(two)) == (seen(one) == seen(two))


@given(bodies, st.randoms())
def test_the_order_of_top_level_fields_makes_no_difference(body: dict[str, Any], chance: Any) -> None:
    names = list(body)
    chance.shuffle(names)
    assert key(call(body)) == key(call({name: body[name] for name in names}))


@given(bodies)
def test_json_escapes_make_no_difference(body: dict[str, Any]) -> None:
    plain, escaped = (json.loads(json.dumps(body, ensure_ascii=ascii)) for ascii in (False, True))
    assert key(call(plain)) == key(call(escaped))


@given(bodies, bodies)
def test_extra_body_counts_as_the_field_it_becomes(body: dict[str, Any], extra: dict[str, Any]) -> None:
    assert key(call(body, extra_body=extra)) == key(call({**body, **extra}))


def test_the_order_of_keys_in_tools_and_schemas_is_part_of_the_prompt() -> None:
    one = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": 1, "b": 2}}}]}
    two = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"b": 2, "a": 1}}}]}
    assert key(call(one)) != key(call(two))


def test_unicode_forms_are_part_of_the_prompt() -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    assert key(call({"stop": composed})) != key(call({"stop": decomposed}))


@pytest.mark.parametrize(
    ("one", "two"), [(0, 0.0), (1, True), (0, False), ("1", 1), (None, "null"), ([], {})]
)
def test_values_that_python_may_take_for_equal_give_different_keys(one: Any, two: Any) -> None:
    assert key(call({"seed": one})) != key(call({"seed": two}))


def test_a_field_that_is_null_is_not_one_that_is_left_out() -> None:
    assert key(call({"seed": None})) != key(call())


def test_a_stream_and_a_complete_answer_have_one_key() -> None:
    assert key(call()) == key(call(stream=True))
    assert key(call(stream=True, extra_body={"stream": True})) == key(call())


def test_a_request_that_contradicts_itself_never_finds_the_answer_to_another() -> None:
    assert key(call(extra_body={"stream": True})) != key(call())
    assert key(call(extra_body={"model": "other"})) != key(call())


def test_headers_of_the_call_count_whatever_their_case() -> None:
    assert key(call(extra_headers={"X-Beta": "1"})) == key(call(extra_headers={"x-beta": "1"}))
    assert key(call(extra_headers={"X-Beta": "1"})) != key(call(extra_headers={"X-Beta": "2"}))
    assert key(call(extra_headers={"X-Beta": "1"})) != key(call())


def test_headers_that_only_tell_of_a_trace_do_not_count() -> None:
    trace = {"traceparent": "00-1-2-01", "X-Request-Id": "7", "x-b3-spanid": "9", "baggage": "a=b"}
    assert key(call(extra_headers=trace)) == key(call())


def test_the_session_counts_since_it_reaches_the_provider() -> None:
    assert key(call(session="a")) != key(call(session="b")) != key(call())


def test_the_operation_counts() -> None:
    asked = call()
    operation: Any = "completions"
    other = asked.changed(operation=operation)
    assert key(asked) != key(other)


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_credentials_never_share(one: str, two: str) -> None:
    assume(one != two)
    targets = [target(credential=lambda secret=secret: (("authorization", secret),)) for secret in (one, two)]
    assert key(call(), targets[0]) != key(call(), targets[1])


def test_a_credential_of_the_calls_own_is_told_apart_even_in_a_namespace() -> None:
    keys = Keys("team")
    one, two = (call(extra_headers={"Authorization": f"Bearer {user}"}) for user in "ab")
    assert len({key(asked, keys=keys) for asked in (one, two, call())}) == 3
    assert len({key(asked) for asked in (one, two, call())}) == 3


def test_a_namespace_is_shared_by_credentials_and_by_no_other_namespace() -> None:
    one, two = (target(credential=lambda secret=secret: (("authorization", secret),)) for secret in "ab")
    assert key(call(), one, Keys("team")) == key(call(), two, Keys("team"))
    assert key(call(), one, Keys("team")) != key(call(), one, Keys("other"))
    assert key(call(), one, Keys("team")) != key(call(), one)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "modal"},
        {"place": "http://other"},
        {"place": "http://h/tenant"},
        {"model": "other"},
        {"simulated": True},
    ],
)
def test_two_targets_that_nobody_declares_the_same_never_share(changes: dict[str, Any]) -> None:
    assert key(call(), target(**changes)) != key(call())


def test_targets_of_one_declared_identity_share_and_others_do_not() -> None:
    one = target(identity="llama@fp8")
    two = target(identity="llama@fp8", mode="modal", place="https://elsewhere", model="llm")
    assert key(call(), one) == key(call(), two)
    assert key(call(), one) != key(call(), target(identity="llama@bf16"))
    assert key(call(), one) != key(call(), target())


def test_a_simulated_answer_is_never_one_of_the_real_provider() -> None:
    assert key(call(), target(identity="a")) != key(call(), target(identity="a", simulated=True))


def test_a_server_whose_model_nobody_knows_has_no_key() -> None:
    assert key(call(), target(model=None)) is None
    assert key(call(), target(model=None, identity="a")) is not None


@pytest.mark.parametrize("value", [object(), {1: object()}])
def test_what_cannot_be_sent_has_no_key(value: Any) -> None:
    assert key(call({"my_option": value})) is None


def test_an_iterator_is_left_to_be_read_by_who_sends_it() -> None:
    once = iter([1, 2])
    assert key(call({"tools": [{"a": once}]})) is None
    assert list(once) == [1, 2]


def test_a_key_is_the_same_in_every_process() -> None:
    """Processes on several machines share a store; a change here needs another `KEY_VERSION`."""
    found = key(call({"temperature": 0}))
    assert found is not None
    assert found.hex() == EXPECTED


EXPECTED = "e5ffd9b39b9770fa0fbccdeb78299be09d123489a1af51ed12782beb9a763f27"


def test_a_changed_call_differs_in_what_was_changed_alone() -> None:
    values: dict[str, Any] = {field.name: object() for field in fields(Call)}
    whole = Call(**values)
    assert whole.changed() == whole
    for name in values:
        assert whole.changed(**{name: 1}) == Call(**{**values, name: 1})
