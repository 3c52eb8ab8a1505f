"""Budgets: reserved before a call, settled after it, given back where nothing was used."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both import Api, Making
from fakes import ScriptedTransport, completion, hello, refused, said
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.errors import BudgetExceededError, InternalServerError
from hybrid_infer.layers.budget import Account, BudgetRule, Refused
from hybrid_infer.runtime import virtual
from hybrid_infer.runtime.step import step
from hybrid_infer.runtime.virtual import EPOCH
from hybrid_infer.transport.base import TransportError

MODEL = "Qwen/Qwen3.5-9B"  # 0.17 and 0.25 USD per million tokens
KEY: dict[str, Any] = {"api_key": "k", "model": MODEL}


def used(given: int = 10, made: int = 5) -> Any:
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    return said(completion(usage=usage))


async def test_a_call_that_fits_goes_and_one_that_does_not_is_refused_before_it_is_sent(make: Making) -> None:
    transport = ScriptedTransport([used(1000, 1000)])
    api = make(transport=transport, budgets={"team": {"tokens": 2500, "per": "day"}}, **KEY)
    await api.create(max_tokens=1000)
    with pytest.raises(BudgetExceededError) as caught:
        await api.create(max_tokens=1000)
    assert len(transport.sent) == 1
    error = caught.value
    assert '"team"' in str(error) and "UTC" in str(error)
    assert error.billed is False and not error.retryable
    assert error.retry_after is not None and 0 < error.retry_after <= 86_400
    assert error.hybrid.attempts == 0


def test_it_frees_when_it_says_it_will() -> None:
    """In the blocking client, whose time of day is virtual here, too."""
    make = Making("sync", real_time=False)
    api = make(
        transport=ScriptedTransport([used(100, 100)]), budgets={"h": {"tokens": 250, "per": "hour"}}, **KEY
    )

    async def body() -> None:
        await api.create(max_tokens=100)
        with pytest.raises(BudgetExceededError) as caught:
            await api.create(max_tokens=100)
        await api.runtime.sleep(caught.value.retry_after or math.inf)
        await api.create(max_tokens=100)

    step(body())


async def test_what_was_reserved_and_not_used_is_given_back(make: Making) -> None:
    api = make(transport=ScriptedTransport([used(10, 5)]), budgets={"d": {"tokens": 1100}}, **KEY)
    for _ in range(5):
        await api.create(max_tokens=1000)


async def test_dollars_are_those_of_the_price_table(make: Making) -> None:
    transport = ScriptedTransport([used(0, 1_000_000)])
    api = make(transport=transport, budgets={"d": {"usd": 0.6}}, **KEY)
    await api.create(max_tokens=1_000_000)
    await api.create(max_tokens=1_000_000)
    with pytest.raises(BudgetExceededError, match="USD"):
        await api.create(max_tokens=1_000_000)


async def test_a_budget_for_each_call_looks_at_that_call_alone(make: Making) -> None:
    api = make(transport=ScriptedTransport([used()]), budgets={"each": {"tokens": 200, "per": "call"}}, **KEY)
    for _ in range(5):
        await api.create(max_tokens=100)
    with pytest.raises(BudgetExceededError, match="max_tokens"):
        await api.create(max_tokens=1000)


async def test_a_purpose_has_its_own_budget(make: Making) -> None:
    budgets = {"experiments": {"tokens": 1, "purpose": "experiment"}}
    api = make(transport=ScriptedTransport([used()]), budgets=budgets, **KEY)
    await api.create()
    with pytest.raises(BudgetExceededError, match="for experiment"):
        await api.create(purpose="experiment")


async def test_a_price_that_is_not_known_cannot_be_budgeted(make: Making) -> None:
    transport = ScriptedTransport([used()])
    api = make(transport=transport, budgets={"d": {"usd": 5}}, api_key="k", model="nobody/knows")
    with pytest.raises(BudgetExceededError, match="no price known"):
        await api.create()
    assert transport.sent == []


@pytest.mark.parametrize(
    "failure", [refused(500), TransportError("refused", sent=False)], ids=["500", "unsent"]
)
async def test_a_failure_that_cost_nothing_gives_all_back(make: Making, failure: Any) -> None:
    transport = ScriptedTransport([failure, used()])
    api = make(transport=transport, budgets={"d": {"tokens": 1100}}, max_retries=0, **KEY)
    with pytest.raises(Exception, match=r".+"):
        await api.create(max_tokens=1000)
    await api.create(max_tokens=1000)


async def test_a_stream_holds_its_reservation_to_its_end(make: Making) -> None:
    api = make(transport=ScriptedTransport([hello()]), budgets={"d": {"tokens": 1100}}, **KEY)
    stream = await api.stream(max_tokens=1000)
    with pytest.raises(BudgetExceededError):
        await api.create(max_tokens=1000)
    await stream.text()
    await (await api.stream(max_tokens=1000)).close()
    dropped = await api.stream(max_tokens=1000)
    del dropped
    assert await (await api.stream(max_tokens=1000)).text() == "Hello"


def test_a_cancelled_call_gives_back_what_it_reserved() -> None:
    transport = ScriptedTransport([said(after=100), used()])
    make = Making("async", real_time=False)

    async def body() -> None:
        api = make(transport=transport, budgets={"d": {"tokens": 1100}}, **KEY)
        task = asyncio.ensure_future(api.create(max_tokens=1000))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await api.create(max_tokens=1000)

    virtual.run(body())


async def together(api: Api, calls: int) -> list[Any]:
    async def one() -> Any:
        try:
            return await api.create(max_tokens=90)
        except BudgetExceededError as error:
            return error

    if isinstance(api.client, AsyncClient):
        return list(await asyncio.gather(*(one() for _ in range(calls))))
    return api.runtime.run(*[lambda: step(one())] * calls)  # type: ignore[attr-defined, no-any-return]


async def test_it_is_exact_under_concurrency(make: Making) -> None:
    transport = ScriptedTransport(
        [said(completion(usage={"prompt_tokens": 10, "completion_tokens": 90}), after=1)]
    )
    api = make(transport=transport, budgets={"d": {"tokens": 1000}}, **KEY)
    outcomes = await together(api, 50)
    answered = [reply for reply in outcomes if not isinstance(reply, BaseException)]
    assert len(answered) == len(transport.sent) == 10


async def test_a_switch_does_not_forget_what_was_spent(make: Making) -> None:
    transports = [ScriptedTransport([used(500, 500)]) for _ in range(2)]
    api = make(
        transports=transports,
        budgets={"d": {"tokens": 1200}},
        modal_url="https://acme--llm.us-east.modal.direct",
        **KEY,
    )
    await api.create(max_tokens=500)
    await api.switch("modal")
    with pytest.raises(BudgetExceededError):
        await api.create(max_tokens=500)


async def test_the_error_of_a_call_is_not_hidden_by_its_budget(make: Making) -> None:
    api = make(
        transport=ScriptedTransport([refused(500)]), budgets={"d": {"tokens": 10**9}}, max_retries=0, **KEY
    )
    with pytest.raises(InternalServerError):
        await api.create()


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 7200), st.booleans()), max_size=60
    )
)
def test_spent_and_reserved_never_pass_the_budget(steps: list[tuple[int, int, int, bool]]) -> None:
    """Whatever is reserved, settled (at most as much) and when: the sum of a window stays within."""
    rule = BudgetRule(name="b", most=100, unit="tokens", per="hour")
    account, wall, open_ = Account([rule]), EPOCH, []
    for wanted, used_, seconds, settle in steps:
        wall += timedelta(seconds=seconds)
        got = account.reserve(None, {"tokens": wanted, "usd": 0}, wall)
        before = account.spent(rule, rule.window(wall))
        assert before <= 100
        if isinstance(got, Refused):
            assert before + wanted > 100
        else:
            open_.append((got, min(used_, wanted)))
        if settle and open_:
            held, amount = open_.pop(0)
            account.settle(held, {"tokens": amount, "usd": 0})
            account.settle(held, {"tokens": amount, "usd": 0})
    for held, _ in open_:
        account.settle(held, {"tokens": 0, "usd": 0})
    assert account.spent(rule, rule.window(wall)) >= 0
