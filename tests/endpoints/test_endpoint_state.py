"""What is known of a machine at a moment, after what was known before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hybrid_infer.endpoints.state import (
    EndpointChange,
    EndpointState,
    HourlyPrice,
    Replicas,
    changed,
    followed,
    next_look,
)
from hybrid_infer.endpoints.together_view import price_of

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
COLD = EndpointState(
    name="together-dedicated/acme/x",
    life="cold",
    replicas=Replicas(ready=0, starting=0, wanted=0),
    minimum=0,
    maximum=0,
    routed=True,
    price=None,
    said="STOPPED: Deployment is stopped",
    since=None,
    at=NOON,
)


def later(state: EndpointState, minutes: int, **changes: object) -> EndpointState:
    return replace(state, at=state.at + timedelta(minutes=minutes), **changes)  # type: ignore[arg-type] # any field


def test_since_is_when_this_process_saw_the_life_begin() -> None:
    """None where it was so at the first look: nobody knows for how long."""
    first = followed(None, COLD)
    assert first.since is None
    second = followed(first, later(COLD, 1))
    assert second.since is None
    warm = followed(second, later(COLD, 2, life="warm"))
    assert warm.since == NOON + timedelta(minutes=2)
    assert followed(warm, later(warm, 5, since=None)).since == warm.since


def test_time_alone_is_no_change() -> None:
    assert changed(None, COLD)
    assert not changed(COLD, later(COLD, 1, since=NOON))
    assert changed(COLD, later(COLD, 1, said="STOPPED: by its timeout"))


def test_a_change_reads_as_a_sentence() -> None:
    one = replace(COLD, life="warming", replicas=Replicas(ready=0, starting=1, wanted=1), said="Starting")
    assert str(EndpointChange(at=NOON, before=COLD, state=one)) == f"{COLD.name}: warming 0/1 (Starting)"


def test_looks_grow_rarer() -> None:
    assert [next_look(waited) for waited in (0.0, 29.0, 30.0, 119.0, 120.0, 3600.0)] == [2, 2, 5, 5, 10, 10]


class Row:
    def __init__(self, name: str, cents: int | None) -> None:
        self.id, self.name, self.price_cents_per_hour = f"hw_{name}", name, cents


def test_a_price_is_found_by_name_or_id_with_or_without_the_vendor() -> None:
    """Unknown is None, also where the list has no price."""
    rows = [Row("1xnvidia-h100-80gb", 549), Row("1xnvidia-h200-141gb", None)]
    for hardware in ("1xnvidia-h100-80gb", "1xH100-80GB", "hw_1xnvidia-h100-80gb"):
        price = price_of(hardware, rows)
        assert price is not None
        assert price.nano == 5_490_000_000
    assert price_of("1xnvidia-h200-141gb", rows) is None
    assert price_of("8xb200", rows) is None
    assert price_of(None, rows) is None
    assert HourlyPrice(nano=1_500_000_000, source="me").usd == 1.5
