"""Rates hold over any stretch of time, and nobody waits longer than they ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.expected import prompt_tokens
from hybrid_infer.layers.limits.rates import BURST, Bucket, answer_tokens


@given(
    st.floats(1, 1e6), st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), min_size=1, max_size=40)
)  # fmt: skip
def test_no_stretch_of_time_holds_more_than_its_share_and_a_burst(
    per_minute: float, asked: list[tuple[float, float]]
) -> None:
    """Asked are (pause, seconds' worth) pairs; everybody waits as long as told."""
    rate, bucket, now = per_minute / 60, Bucket(per_minute), 0.0
    taken: list[tuple[float, float]] = []
    for pause, worth in asked:
        amount = worth * rate
        now += pause
        now += bucket.wait(amount, now)
        assert bucket.wait(amount, now) == 0.0, "who has waited is not told to wait again"
        bucket.take(amount, now)
        taken.append((now, amount))
    burst = max(1.0, BURST * rate)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            amount = sum(amount for _, amount in taken[first : last + 1])
            seconds = taken[last][0] - taken[first][0]
            # What is larger than a burst may go once the bucket is full, and leaves a debt.
            over = max(0.0, taken[last][1] - burst)
            assert amount <= (burst + seconds * rate + over) * (1 + 1e-6) + 1e-6


def test_a_steady_stream_gets_the_whole_rate() -> None:
    bucket, now = Bucket(600), 0.0
    for _ in range(1000):
        now += bucket.wait(1.0, now)
        bucket.take(1.0, now)
    assert now == pytest.approx((1000 - 10 * BURST) / 10)


def test_what_was_taken_too_much_comes_back() -> None:
    bucket = Bucket(60)
    bucket.take(62.0, 0.0)
    assert bucket.wait(1.0, 0.0) == pytest.approx(61.0)
    bucket.take(-60.0, 0.0)
    assert bucket.wait(1.0, 0.0) == pytest.approx(1.0)
    bucket.take(-1e9, 0.0)
    assert bucket.wait(BURST, 0.0) == 0.0
    bucket.take(BURST, 0.0)
    assert bucket.wait(1.0, 0.0) == pytest.approx(1.0), "nothing is saved up beyond a burst"


def test_time_that_runs_backwards_takes_nothing_back() -> None:
    bucket = Bucket(60)
    bucket.take(2.0, 100.0)
    assert bucket.wait(1.0, 90.0) == pytest.approx(1.0)
    assert bucket.wait(1.0, 101.0) == 0.0


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "x" * 40}]}, 10),
        ({"messages": [{"content": [{"type": "text", "text": "x" * 8}, {"type": "image_url"}]}]}, 2),
        ({"prompt": ["x" * 4, "x" * 8]}, 3),
        ({"messages": [{"role": "assistant", "content": None}]}, 0),
        ({"messages": "not a list, and not ours to complain about"}, 11),
        ({}, 0),
    ],
)
def test_a_prompt_is_estimated_from_its_characters(body: dict[str, Any], tokens: float) -> None:
    assert prompt_tokens(body) == tokens


@pytest.mark.parametrize(
    ("body", "usual", "tokens"),
    [
        ({"max_tokens": 500}, None, 500),
        ({"max_tokens": 500}, 120.0, 120),
        ({"max_tokens": 50}, 120.0, 50),
        ({"max_completion_tokens": 60, "max_tokens": None}, 120.0, 60),
        ({}, 120.0, 120),
        ({}, None, 0),
    ],
)
def test_an_answer_is_expected_to_be_like_those_before(
    body: dict[str, Any], usual: float | None, tokens: float
) -> None:
    assert answer_tokens(body, usual) == tokens
