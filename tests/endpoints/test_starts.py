"""How long before it is needed a machine is started."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.endpoints.starts import LONGEST, lead_time


def test_without_measurements_the_mode_decides() -> None:
    assert (lead_time([], "together-dedicated"), lead_time([], "modal"), lead_time([], "other")) == (
        600,
        120,
        300,
    )


def test_nine_of_ten_starts_and_a_margin() -> None:
    """The slowest of ten is not waited for; a tenth is added, and a quarter of a minute at least."""
    starts = [300.0] * 9 + [2000.0]
    assert lead_time(starts, "together-dedicated") == 330.0
    assert lead_time([10.0, 12.0, 14.0], "modal") == 29.0


def test_few_measurements_do_not_shorten_it() -> None:
    assert lead_time([60.0, 60.0], "together-dedicated") == 600.0
    assert lead_time([1000.0], "together-dedicated") == 1100.0
    assert lead_time([60.0] * 3, "together-dedicated") == 75.0


def test_only_the_last_twenty_count() -> None:
    assert lead_time([3000.0] * 50 + [100.0] * 20, "modal") == 115.0


@given(st.lists(st.floats()), st.sampled_from(["together-dedicated", "modal", "x"]))
def test_it_is_always_between_a_quarter_of_a_minute_and_an_hour(starts: list[float], mode: str) -> None:
    lead = lead_time(starts, mode)
    assert math.isfinite(lead)
    assert 15.0 <= lead <= LONGEST
