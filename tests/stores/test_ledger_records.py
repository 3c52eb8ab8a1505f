"""What is recorded of a call: figures and names, never what was said."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_infer.calls.call import Attempt, Tally
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.records import (
    PROCESS_LENGTH,
    correction,
    new_id,
    outcome_of,
    this_process,
    unix_ns,
)
from hybrid_infer.calls.reply import Facts, RawResponse
from hybrid_infer.errors import RateLimitError
from stores.ledger_samples import (
    COST,
    RATE,
    SECOND,
    UNKNOWN,
    WALL,
    WALL_NS,
    attempt,
    ended,
    python,
    record,
    simple,
    target,
    write,
)

CANARY = "the-caller-said-this"


def test_a_call_is_recorded_with_its_times_tokens_and_cost() -> None:
    usage = Usage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2, estimated=True)
    call = ended(attempt(target()), stream=True, purpose="minutes")
    call.tally.queue_wait, call.tally.cold_wait, call.tally.cold_start = 0.25, 1.5, True
    call.tally.restarts = 1
    made = record(call, Facts(model="m-2026", usage=usage, first_token=101.25))
    assert made.began_ns == WALL_NS - 2 * SECOND
    assert (made.latency_ns, made.first_token_ns) == (2 * SECOND, 1_250_000_000)
    assert (made.queue_ns, made.cold_ns, made.cold_start) == (250_000_000, 1_500_000_000, True)
    assert (made.mode, made.target, made.model) == ("together-serverless", "together-serverless/m", "m")
    assert (made.asked_model, made.purpose, made.operation, made.stream) == (
        "assistant",
        "minutes",
        "chat",
        True,
    )
    assert (made.input_tokens, made.output_tokens, made.cached_tokens, made.reasoning_tokens) == (10, 5, 4, 2)
    assert made.tokens_estimated
    assert (made.cost_nano, made.cost_basis, made.priced_at) == (12_345, "tokens", "2026-10-01")
    assert (made.outcome, made.attempts, made.restarts, made.simulated) == ("success", 1, 1, False)


def test_what_is_unknown_is_none_and_says_why() -> None:
    made = record(ended(attempt(target())), None, UNKNOWN)
    assert (made.input_tokens, made.output_tokens, made.first_token_ns) == (None, None, None)
    assert (made.cost_nano, made.cost_reason) == (None, UNKNOWN.reason)
    assert (made.cache, made.saved_nano) == (None, None)


def test_what_a_cache_saved_is_recorded() -> None:
    made = record(ended(), cost=Cost(amount=Decimal(0), basis="cache"), cache="hit", saved=COST.amount)
    assert (made.cost_nano, made.cache, made.saved_nano) == (0, "hit", 12_345)


def test_an_attempt_on_a_machine_holds_what_is_needed_to_settle_its_share() -> None:
    where = target("modal", gpu="H100", gpus=2)
    (tried,) = record(ended(attempt(where, machine_ns=7, request_id="r-1"))).tries
    assert (tried.began_ns, tried.ended_ns) == (WALL_NS - 1_500_000_000, WALL_NS)
    assert (tried.machine, tried.machine_ns, tried.rate) == ("modal h m", 7, 2 * RATE)
    assert (tried.call[:PROCESS_LENGTH], tried.number) == (this_process(), 0)
    assert (tried.billed, tried.request_id, tried.status, tried.outcome) == (True, "r-1", 200, "success")


def test_an_attempt_that_is_paid_by_tokens_is_on_no_machine() -> None:
    (tried,) = record(ended(attempt(target()))).tries
    assert (tried.machine, tried.machine_ns, tried.rate) == (None, None, None)


def test_the_attempt_that_answered_says_where_a_call_went() -> None:
    """A lost hedge is a row of its own; one that has not ended follows with a correction."""
    lost = attempt(target("modal"), lost=True, billed=None)
    still = attempt(target("modal"), end=None)
    still.lost = True
    made = record(ended(attempt(target()), lost, still))
    assert (made.mode, made.attempts) == ("together-serverless", 3)
    assert [tried.number for tried in made.tries] == [0, 1]
    assert (made.tries[1].lost, made.tries[1].billed) == (True, None)


def test_a_call_that_was_not_sent_says_where_it_was_to_go() -> None:
    made = record(ended(candidates=(target("modal"),)), outcome="SaturatedError")
    assert (made.mode, made.target, made.attempts, made.tries) == ("modal", "modal/m", 0, ())
    nowhere = record(ended(candidates=()))
    assert (nowhere.mode, nowhere.target, nowhere.model) == (None, None, "assistant")


def test_the_outcome_is_a_word() -> None:
    assert outcome_of(None) == "success"
    assert outcome_of(None, abandoned=True) == "abandoned"
    assert outcome_of(RateLimitError("no")) == "RateLimitError"
    assert outcome_of(KeyboardInterrupt()) == "abandoned"


def test_a_correction_names_its_call_and_both_costs() -> None:
    made = simple(cost_final=False)
    first = correction(made, UNKNOWN, reason="a hedge may have been billed", wall=WALL)
    assert (first.call, first.before_nano, first.cost_nano) == (made.id, 12_345, None)
    second = correction(made, COST, reason="it was not", wall=WALL, previous=first)
    assert (second.before_nano, second.cost_nano, second.at_ns) == (None, 12_345, WALL_NS)
    assert made.cost_nano == 12_345


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-12, 12))
def test_a_moment_becomes_nanoseconds_exactly(moment: datetime, hours: int) -> None:
    wall = moment.replace(tzinfo=UTC)
    expected = (wall - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert unix_ns(wall) == expected
    assert unix_ns(wall.astimezone(timezone(timedelta(hours=hours)))) == expected


def test_ids_ascend_and_are_never_given_twice() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {len(one) for one in ids} == {32}


FORK = """
import os
from hybrid_infer.calls.records import new_id
before = new_id()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, new_id().encode())
    os._exit(0)
print(before, os.read(read, 100).decode(), new_id())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_process_gives_ids_of_its_own() -> None:
    before, childs, after = python(FORK).split()
    assert before[:PROCESS_LENGTH] == after[:PROCESS_LENGTH] != childs[:PROCESS_LENGTH]


def test_nothing_of_what_was_said_gets_into_the_file(tmp_path: Path) -> None:
    """Not the messages, answers, headers, tags or sessions; the bytes of all files are searched."""
    usage = Usage(input_tokens=1, output_tokens=1)
    call = ended(
        attempt(target("modal", gpu="H100"), machine_ns=1, usage=usage),
        body={"messages": [{"role": "user", "content": CANARY}]},
        session=CANARY,
        extra_headers={"x": CANARY},
        extra_body={"x": CANARY},
    )
    call.tally.warnings.append(CANARY)
    call.tally.why.append(CANARY)
    raw = RawResponse(status=200, headers=(("x", CANARY),), body=CANARY.encode())
    facts = Facts(id="ov-1", model="m", usage=usage, raw=raw)
    made = record(call, facts, tag=CANARY)
    write(tmp_path / "l.sqlite", [made, correction(made, COST, reason="none", wall=WALL)])
    everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert made.id.encode() in everything
    assert CANARY.encode() not in everything


def test_a_record_of_a_tally_that_nothing_was_written_to() -> None:
    call = ended()
    call.tally = Tally()
    made = record(call, now=0.0)
    assert (made.latency_ns, made.began_ns, made.queue_ns) == (0, WALL_NS, 0)


def test_an_abandoned_attempt_is_no_success() -> None:
    gone = Attempt(target=target(), started=100.0, ended=101.0)
    failed = Attempt(target=target(), started=100.0, ended=101.0, error="OverloadedError", verdict="retry")
    tries = record(ended(gone, failed)).tries
    assert [tried.outcome for tried in tries] == ["abandoned", "OverloadedError"]
