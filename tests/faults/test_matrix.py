"""Whatever goes wrong, a call is answered in full, keeps what came, or fails clearly, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from faults.__main__ import main
from faults.cases import COLOURS, FAULTS, SHAPES, real_cases, virtual_cases
from faults.oracle import expected, judge
from faults.running import memory_at_rest, play, right_answers

ONE_IN = 23
"""Cases of each fault in the ordinary run; `make faults` is all of them."""


@pytest.fixture(autouse=True, scope="module")
def memory() -> Iterator[None]:
    with memory_at_rest():
        yield


@pytest.fixture(autouse=True)
def tracebacks_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """pytest keeps log records, and with the traceback of a lost race (DEBUG) the call it belongs to."""
    caplog.set_level("INFO", "hybrid_infer")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_never_goes_wrong(fault: str) -> None:
    """A sample of its cases; which ones differs from fault to fault."""
    for case in islice(virtual_cases(fault), list(FAULTS).index(fault) % ONE_IN, None, ONE_IN):
        assert judge(case, play(case), right_answers()).problems == (), str(case)


@pytest.mark.real_time
@pytest.mark.parametrize("fault", ["refuse", "reset_mid_body", "truncate_broken", "stall_with_comments"])
def test_over_real_sockets_neither(fault: str) -> None:
    for case in real_cases(fault):
        assert judge(case, play(case), right_answers()).problems == (), str(case)


def test_every_fault_meets_every_shape_colour_and_routing() -> None:
    for fault in FAULTS:
        met = {(case.shape, case.colour, case.routing) for case in virtual_cases(fault)}
        for shape in SHAPES:
            for colour in COLOURS:
                assert {(shape, colour, way) for way in ("single", "fallback", "hybrid")} <= met
        assert list(real_cases(fault))


def test_every_fault_can_be_survived_somewhere_and_not_everywhere() -> None:
    """But for what is the caller's own mistake, and for what does no harm."""
    for fault in FAULTS:
        outcomes = set[str]().union(*(expected(case) for case in virtual_cases(fault)))
        if fault not in ("status_400", "status_422"):
            assert "rescued" in outcomes, fault
        if fault not in ("cold_redirect", "drip_bearable"):
            assert outcomes & {"failed clearly", "partial kept"}, fault


def test_the_last_line_says_how_many_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    fault = "cold_redirect_too_late"
    assert main(["--only", fault, "--jobs", "1"]) == 0
    number = sum(1 for _ in virtual_cases(fault)) + sum(1 for _ in real_cases(fault))
    assert capsys.readouterr().out.splitlines()[-1] == f"wrong: 0 of {number}"
