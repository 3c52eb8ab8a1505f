"""Whether a new mode may take over, from pairs of answers."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.errors import InvalidCallError
from hybrid_infer.migrating.prompts import DEFAULT_PROMPTS, Prompt, prompts_of
from hybrid_infer.migrating.verify import Answered, Limits, compared, similarity

PROMPT = Prompt(messages=({"role": "user", "content": "Why?"},))
SAID = "Because the light of the sun is scattered by the air"


def answered(text: str = SAID, **more: Any) -> Answered:
    known: dict[str, Any] = {"seconds": 1.0, "tokens": 12, "cost": Decimal("0.001"), **more}
    return Answered(text=text, **known)


def pairs(*news: Answered, old: Answered | None = None) -> list[tuple[Prompt, Answered, Answered]]:
    return [(PROMPT, old or answered(), new) for new in news]


@given(st.lists(st.text(), min_size=1, max_size=8))
def test_the_same_answers_pass_whatever_they_are(texts: list[str]) -> None:
    found = compared(
        [(PROMPT, answered(text), answered(text)) for text in texts], Limits(cost=1.0, latency=1.0)
    )
    assert (found.passed, found.reasons, found.similarity) == (True, (), 1.0)


@given(st.text(), st.text())
def test_similarity_is_a_share_and_one_for_the_same_words(one: str, other: str) -> None:
    assert 0.0 <= similarity(one, other) <= 1.0
    assert similarity(one, one) == 1.0
    assert (similarity(one, other) == 1.0) == (one.split()[:1500] == other.split()[:1500])


@pytest.mark.parametrize(
    ("new", "limits", "reason"),
    [
        (answered("user Why? assistant user Why? assistant"), Limits(), "alike"),
        (answered(tokens=100), Limits(), "times the length"),
        (answered(tokens=2), Limits(), "times the length"),
        (Answered(error="BadRequestError: too long"), Limits(), "only the old mode answers: .*too long"),
        (answered(seconds=5.0), Limits(), "5.0 times as long"),
        (answered(cost=Decimal("0.005")), Limits(cost=2.0), "5.0 times as much"),
        (answered(cost=None), Limits(cost=2.0), "cannot be compared"),
    ],
)
def test_each_way_to_be_worse_is_refused_and_named(new: Answered, limits: Limits, reason: str) -> None:
    found = compared(pairs(new), limits)
    assert not found.passed
    assert len(found.reasons) == 1
    assert re.search(reason, found.reasons[0])


def test_an_answer_that_does_not_fit_refuses_only_where_the_old_one_does() -> None:
    for old_fits, new_fits, passes in [(True, False, False), (False, False, True), (True, True, True)]:
        found = compared(pairs(answered(fits=new_fits), old=answered(fits=old_fits)), Limits())
        assert found.passed is passes


@given(st.integers(1, 20), st.integers(0, 20))
def test_so_many_answers_may_deviate_and_no_more(alike: int, away: int) -> None:
    limits = Limits(tolerated=0.25)
    other = answered("something else altogether", tokens=12)
    found = compared(pairs(*[answered()] * alike, *[other] * away), limits)
    assert found.passed == (away <= 0.25 * (alike + away))


def test_what_the_old_mode_cannot_answer_either_is_nothing_to_compare_with() -> None:
    failed = Answered(error="no")
    some = compared([*pairs(answered()), (PROMPT, failed, failed)], Limits())
    assert some.passed
    none = compared([(PROMPT, failed, answered())], Limits())
    assert not none.passed
    assert "nothing can be compared" in none.reasons[0]


def test_a_limit_that_is_none_is_not_looked_at() -> None:
    new = answered("altogether another text", seconds=50.0, tokens=400, cost=Decimal(1))
    limits = Limits(similarity=None, length=None, latency=None, cost=None)
    assert compared(pairs(new), limits).passed


def test_prompts_are_read_from_a_file_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}\n\n', "utf-8")
    (prompt,) = prompts_of(path)
    assert (prompt.messages[0]["content"], prompt.max_tokens, prompt.model) == ("Hi", 5, None)
    assert prompts_of(None) == DEFAULT_PROMPTS


@pytest.mark.parametrize("line", ["{", "[]", '{"messages": []}', '{"messages": [{}], "max_tokens": 0}', ""])
def test_a_file_that_holds_no_prompts_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(InvalidCallError, match=r"prompts"):
        prompts_of(path)
    with pytest.raises(InvalidCallError, match="cannot be read"):
        prompts_of(tmp_path / "none.jsonl")
