"""What machines cost today, by what the ledger was told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybrid_infer.calls.money import NANO
from hybrid_infer.warming.today import FRESH_NS, summed

HOUR = 3600 * NANO
RATE = 6_000_000_000
DEDICATED = "together-dedicated api.together.ai acme/a"


def minutes(
    begin: int, end: int, serving: int | None, starting: int = 0
) -> list[tuple[int, int | None, int, int]]:
    """A word every minute."""
    return [(minute * 60 * NANO, serving, starting, RATE) for minute in range(begin, end)]


def test_time_in_which_it_was_up_is_billed_and_idle_as_far_as_nobody_used_it() -> None:
    words = [*minutes(0, 60, 1), (HOUR, 0, 0, RATE)]
    found = summed(DEDICATED, words, HOUR // 4, 0, 2 * HOUR)
    assert (found.billed_ns, found.usd, found.idle_share) == (HOUR, Decimal(6), 0.75)


def test_what_was_before_midnight_does_not_count_and_two_replicas_count_twice() -> None:
    found = summed(DEDICATED, minutes(0, 60, 2), 0, HOUR // 2, HOUR)
    assert (found.billed_ns, found.usd, found.idle_share) == (HOUR, Decimal(6), 1.0)


def test_a_word_counts_for_five_minutes_when_no_other_follows() -> None:
    """Who said it may have died, and the machine may have stopped."""
    found = summed(DEDICATED, [(0, 1, 0, RATE)], 0, 0, HOUR)
    assert found.billed_ns == FRESH_NS


@pytest.mark.parametrize(("name", "billed"), [(DEDICATED, 0), ("modal host llm", HOUR)])
def test_coming_up_is_billed_on_modal_alone(name: str, billed: int) -> None:
    found = summed(name, minutes(0, 60, 0, starting=1), 0, 0, HOUR)
    assert found.billed_ns == billed
    assert (found.idle_share is None) is (billed == 0)


def test_where_the_price_or_the_state_is_not_known_nothing_is_made_up() -> None:
    assert summed(DEDICATED, [(0, 1, 0, None)], 0, 0, HOUR).usd is None
    assert summed(DEDICATED, [(0, None, 0, RATE)], 0, 0, HOUR).billed_ns == 0
