"""When faults happen: rules and plans, without a clock."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import MODES
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.simulator.fault_catalogue import ALL_FAULTS
from hybrid_infer.simulator.fault_rules import Arrival, FaultChooser, FaultPlan, FaultRule
from hybrid_infer.simulator.faults import BEFORE_THE_ANSWER, FAULT_KINDS, Fault

CALL = Arrival(mode="modal", model="llm", path="/v1/chat/completions", stream=False, get=False)
REFUSE, SILENCE, STALL = Fault("refuse"), Fault("silence"), Fault("stall")

arrivals = st.builds(
    Arrival,
    mode=st.sampled_from(MODES),
    model=st.sampled_from(["llm", "other", None]),
    path=st.sampled_from(["/v1/chat/completions", "/v1/models"]),
    stream=st.booleans(),
    get=st.booleans(),
)
rules = st.builds(
    FaultRule,
    fault=st.sampled_from([REFUSE, SILENCE, STALL]),
    mode=st.sampled_from([None, "modal"]),
    requests=st.sampled_from(["calls", "streams", "unary", "gets", "all"]),
    on=st.sampled_from([None, 1, "2-3", "4-", [1, "3-"]]),
    every=st.sampled_from([None, 2]),
    probability=st.none() | st.floats(0, 1),
    since=st.sampled_from([None, 1.0]),
    until=st.sampled_from([None, 5.0]),
)
arriving = st.lists(st.tuples(arrivals, st.floats(0, 10)), max_size=20)


def outcomes(plan: FaultPlan, seed: int, came: list[tuple[Arrival, float]]) -> list[Fault | None]:
    chooser = FaultChooser(plan, seed)
    return [chooser.before(who, at) or chooser.after(who, at) for who, at in came]


def fired_on(rule: FaultRule, count: int = 10, **arrival: Any) -> list[int]:
    """The numbers of the requests, from 1, that it happened to."""
    chooser = FaultChooser(FaultPlan.of(rule), 0)
    ask = chooser.before if rule.fault.kind in BEFORE_THE_ANSWER else chooser.after
    return [n for n in range(1, count + 1) if ask(replace(CALL, **arrival), 0.0) is not None]


@given(
    plan=st.builds(FaultPlan, rules=st.lists(rules, max_size=4).map(tuple)), seed=st.integers(), came=arriving
)
def test_same_seed_and_requests_same_faults(
    plan: FaultPlan, seed: int, came: list[tuple[Arrival, float]]
) -> None:
    assert outcomes(plan, seed, came) == outcomes(plan, seed, came)


@given(plan=st.builds(FaultPlan, rules=st.lists(rules, max_size=4).map(tuple)), came=arriving)
def test_what_fired_adds_up(plan: FaultPlan, came: list[tuple[Arrival, float]]) -> None:
    """Every fault that happened is one firing of one rule, and no rule fires more often than it counts."""
    chooser = FaultChooser(plan, 1)
    happened = [f for who, at in came for f in (chooser.before(who, at), chooser.after(who, at)) if f]
    fired = chooser.fired()
    assert sum(each.fired for each in fired) == len(happened)
    assert all(each.fired <= each.counted <= len(came) for each in fired)


@given(rule=rules, other=rules, came=arriving)
def test_a_rule_counts_and_draws_alike_whatever_stands_before_it(
    rule: FaultRule, other: FaultRule, came: list[tuple[Arrival, float]]
) -> None:
    one, two = FaultChooser(FaultPlan.of([other, rule]), 3), FaultChooser(FaultPlan.of([rule]), 3)
    for who, at in came:
        for chooser in (one, two):
            chooser.before(who, at)
            chooser.after(who, at)
    assert one.fired()[1].counted == two.fired()[0].counted
    assert one.fired()[1].fired <= two.fired()[0].counted


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"on": 1}, [1]),
        ({"on": "2-4"}, [2, 3, 4]),
        ({"on": "9-"}, [9, 10]),
        ({"on": [1, "3-4", "9-"]}, [1, 3, 4, 9, 10]),
        ({"every": 4}, [4, 8]),
        ({"every": 2, "on": "5-"}, [6, 8, 10]),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"probability": 0}, []),
        ({"mode": ["modal", "together-dedicated"]}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"mode": "together-dedicated"}, []),
        ({"model": "llm", "path": "/v1/chat"}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"model": "other"}, []),
        ({"path": "/v1/models"}, []),
        ({"requests": "streams"}, []),
        ({"requests": "gets"}, []),
    ],
)
def test_conditions_choose_requests(conditions: dict[str, Any], expected: list[int]) -> None:
    assert fired_on(SILENCE.when(**conditions)) == expected


def test_calls_are_posts_and_everything_is_all() -> None:
    kinds: list[Any] = ["calls", "streams", "unary", "gets", "all"]
    about = {
        kind: [
            bool(fired_on(SILENCE.when(requests=kind), 1, stream=s, get=g))
            for s, g in ((0, 0), (1, 0), (0, 1))
        ]
        for kind in kinds
    }
    assert about == {
        "calls": [True, True, False],
        "streams": [False, True, False],
        "unary": [True, False, False],
        "gets": [False, False, True],
        "all": [True, True, True],
    }


def test_the_first_rule_that_fires_wins() -> None:
    chooser = FaultChooser(FaultPlan.of([SILENCE.when(on=1), REFUSE.when(on="1-2")]), 0)
    assert [chooser.before(CALL, 0.0) for _ in range(3)] == [SILENCE, REFUSE, None]
    assert [(each.counted, each.fired) for each in chooser.fired()] == [(3, 1), (3, 1)]


def test_a_probability_is_met_about_so_often() -> None:
    assert 250 < len(fired_on(SILENCE.when(probability=0.3), 1000)) < 350


def test_seeds_differ_and_a_plan_may_have_its_own() -> None:
    rule = SILENCE.when(probability=0.5)
    came = [(CALL, 0.0)] * 64
    assert outcomes(FaultPlan.of(rule), 1, came) != outcomes(FaultPlan.of(rule), 2, came)
    assert outcomes(FaultPlan.of(rule, seed=9), 1, came) == outcomes(FaultPlan.of(rule, seed=9), 2, came)


def test_a_rule_counts_in_its_time_only() -> None:
    chooser = FaultChooser(FaultPlan.of(SILENCE.when(on=1, since=10, until=20)), 0)
    assert [chooser.before(CALL, at) is not None for at in (0.0, 9.9, 10.0, 11.0, 20.0)] == [
        *(False, False, True, False, False)
    ]


def test_flapping_is_up_first_and_then_down_again_and_again() -> None:
    rule = Fault("status").when(up=10, down=5, since=100)
    moments = (99, 100, 109.9, 110, 114.9, 115, 124.9, 125)
    assert [rule.in_time(at) for at in moments] == [*(False, False, False, True, True, False, False, True)]


@given(
    rule=st.builds(
        FaultRule,
        fault=st.just(REFUSE),
        since=st.none() | st.integers(0, 20).map(float),
        until=st.none() | st.integers(21, 40).map(float),
        up=st.integers(1, 5).map(float),
        down=st.integers(1, 5).map(float),
    ),
    moment=st.integers(0, 50).map(float),
)
def test_nothing_changes_before_the_next_change(rule: FaultRule, moment: float) -> None:
    change = rule.next_change(moment)
    until = moment + 20 if change is None else change
    assert until > moment
    steps = [moment + (until - moment) * n / 8 for n in range(8)]
    assert len({rule.in_time(at) for at in steps}) == 1


def test_refusing_everybody_is_told_apart_from_refusing_some() -> None:
    assert FaultChooser(FaultPlan.of(REFUSE.when(since=5, until=9)), 0).refusing(6.0)
    assert not FaultChooser(FaultPlan.of(REFUSE.when(since=5, until=9)), 0).refusing(4.0)
    assert not FaultChooser(FaultPlan.of(REFUSE.when(on=1)), 0).refusing(0.0)
    assert not FaultChooser(FaultPlan.of(REFUSE.when(mode="modal")), 0).refusing(0.0)
    assert not FaultChooser(FaultPlan.of(SILENCE), 0).refusing(0.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fault("stal"), "did you mean stall"),  # type: ignore[arg-type]  # the mistake
        (lambda: Fault("flapping"), "up and down"),  # type: ignore[arg-type]  # the mistake
        (lambda: Fault("refuse", seconds=1), "it takes no parameters"),
        (lambda: Fault("drip", events=1), "drip has none; it takes seconds"),
        (lambda: Fault("drip", seconds=-1), "must be a number of seconds from 0"),
        (lambda: Fault("drip", seconds=math.nan), "must be a number"),
        (lambda: Fault("status", status=200), "from 400 to 599"),
        (lambda: Fault("stall", keep_alive=0), "above 0"),
        (lambda: Fault("truncate", variant="half"), "one of clean, broken"),
        (lambda: Fault("status", headers={"a": "b\r\nc: d"}), "a table of header names"),
        (lambda: STALL.when(onn=1), "did you mean on"),
        (lambda: STALL.when(on=0), 'a number from 1, "2-4"'),
        (lambda: STALL.when(on="4-2"), "a number from 1"),
        (lambda: STALL.when(on=[]), "a number from 1"),
        (lambda: STALL.when(probability=2), "from 0 to 1"),
        (lambda: STALL.when(mode="modall"), "one of together-serverless"),
        (lambda: STALL.when(up=1), "up and down belong together"),
        (lambda: STALL.when(since=2, until=1), "later than since"),
        (lambda: STALL.when(every=0), "a whole number from 1"),
        (lambda: FaultRule(fault=STALL, requests="posts"), "one of calls"),  # type: ignore[arg-type]  # too
    ],
)
def test_what_is_wrong_is_said_at_once(make: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert said in str(caught.value)


def test_everything_wrong_is_said_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Fault("status", status=1, retry_after=-1, events=3)
    assert len(caught.value.problems) == 3


def test_the_catalogue_has_every_kind_and_flapping() -> None:
    assert {rule.fault.kind for rule in ALL_FAULTS.values()} == set(FAULT_KINDS)
    assert ALL_FAULTS["flapping"].down is not None
