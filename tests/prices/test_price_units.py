"""What is not counted in tokens: images by pixels and steps, audio by minutes, batch jobs."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.prices.tables import UnitPrice, shipped
from hybrid_infer.prices.units import audio, batched, images

TABLES = shipped()
MODE = "together-serverless"


def unit(model: str) -> UnitPrice:
    return TABLES.units[MODE, model]


SCHNELL = unit("black-forest-labs/FLUX.1-schnell")
WHISPER = unit("openai/whisper-large-v3")


def test_an_image_costs_its_megapixels() -> None:
    """1024 x 1024 are 1.048576 megapixels, at 0.0027 each."""
    assert images(SCHNELL, width=1024, height=1024) == Fraction(1_048_576 * 2_700_000, 10**6)
    assert images(SCHNELL, width=1000, height=1000, count=3) == 8_100_000


def test_more_steps_than_the_price_holds_for_cost_in_proportion_and_fewer_cost_the_same() -> None:
    base = images(SCHNELL, width=1000, height=1000)
    assert images(SCHNELL, width=1000, height=1000, steps=8) == 2 * base
    assert images(SCHNELL, width=1000, height=1000, steps=1) == base


def test_where_steps_are_not_priced_they_do_not_count() -> None:
    pro = unit("black-forest-labs/FLUX.2-pro")
    assert images(pro, width=1000, height=1000, steps=50) == images(pro, width=1000, height=1000)


def test_audio_costs_its_minutes() -> None:
    assert audio(WHISPER, seconds=90) == 2_250_000
    assert audio(WHISPER, seconds=0.1) == Fraction(1_500_000, 600)


def test_a_unit_is_not_taken_for_another() -> None:
    with pytest.raises(ValueError, match="paid by the minute"):
        images(WHISPER, width=1, height=1)
    with pytest.raises(ValueError, match="paid by the megapixel"):
        audio(SCHNELL, seconds=1)


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 9), st.integers(1, 99))
def test_an_image_never_costs_less_for_being_larger_or_having_more_steps(
    width: int, height: int, count: int, steps: int
) -> None:
    cost = images(SCHNELL, width=width, height=height, count=count, steps=steps)
    assert images(SCHNELL, width=width + 1, height=height, count=count, steps=steps) > cost
    assert images(SCHNELL, width=width, height=height, count=count, steps=steps + 1) >= cost


def test_a_batch_job_costs_half_at_best() -> None:
    assert batched(Fraction(300), TABLES.batch[MODE]) == 150
