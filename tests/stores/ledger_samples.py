"""Calls as they stand when they have ended, and their records, for the tests of the ledger."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_infer.calls.call import Attempt, Call, Mode, Target
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.records import AttemptRecord, CallRecord, call_record, new_id
from hybrid_infer.calls.reply import Facts
from hybrid_infer.prices.chosen import machine_division
from hybrid_infer.settings import Settings
from hybrid_infer.stores.ledger import summary
from hybrid_infer.stores.ledger.file import LedgerFile, Loss, lock_of

WALL = datetime(2026, 10, 20, 12, 30, 0, 250_000, tzinfo=UTC)
WALL_NS = 1_792_499_400_250_000_000
SECOND = 10**9
HOUR = 3600 * SECOND

summarise = partial(summary.summarise, divide=machine_division(Settings()))

RATE = 3_950_000_000
"""What one H100 costs in nano-dollars per hour."""

COST = Cost(amount=Decimal("0.000012345"), basis="tokens", source="a page", priced_at=date(2026, 10, 1))
UNKNOWN = Cost(amount=None, basis="unknown", reason='no price known for model "m" on modal')


def rate(target: Target) -> int | None:
    return None if target.gpu is None else RATE * target.gpus


def target(mode: Mode = "together-serverless", **changes: Any) -> Target:
    basis = "tokens" if mode == "together-serverless" else "machine-time"
    given = {"name": f"{mode}/m", "mode": mode, "provider": "p", "model": "m", "host": "h", "port": 443}
    return Target(**{**given, "basis": basis, **changes})


def ended(*attempts: Attempt, **changes: Any) -> Call:
    """A call that began at 100 s of the runtime's clock, and has ended at 102 s."""
    given = {"operation": "chat", "model": "assistant", "body": {}, "candidates": (target(),), **changes}
    call = Call(**given)
    call.tally.started, call.tally.latency = 100.0, 2.0
    call.tally.attempts.extend(attempts)
    return call


def attempt(where: Target, began: float = 100.5, end: float | None = 102.0, **changes: Any) -> Attempt:
    return Attempt(target=where, started=began, ended=end, verdict="success", status=200, **changes)


def record(call: Call, facts: Facts | None = None, cost: Cost = COST, **changes: Any) -> CallRecord:
    given = {"outcome": "success", "now": 102.0, "wall": WALL, "rate": rate, **changes}
    return call_record(call, facts, cost, **given)


def simple(**changes: Any) -> CallRecord:
    """The record of a plain call, with some fields changed."""
    usage = Usage(input_tokens=10, output_tokens=3)
    made = record(ended(attempt(target(), usage=usage)), Facts(model="m", usage=usage))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def on_machine(
    process: str,
    began_ns: int,
    ended_ns: int,
    machine_ns: int | None,
    *,
    machine: str | None = "modal h m",
    rate: int | None = RATE,
    **changes: Any,
) -> CallRecord:
    """A call of one attempt on a machine, as the process of that name would record it."""
    name = f"{process:>22.22}".replace(" ", "0") + new_id()[22:]
    tried = AttemptRecord(
        call=name,
        number=0,
        began_ns=began_ns,
        ended_ns=ended_ns,
        mode="modal",
        target="modal/m",
        model="m",
        outcome="success",
        verdict="success",
        status=200,
        request_id=None,
        billed=True,
        lost=False,
        lane=0,
        input_tokens=10,
        output_tokens=3,
        cached_tokens=None,
        reasoning_tokens=None,
        tokens_estimated=False,
        machine=machine,
        machine_ns=machine_ns,
        rate=rate,
    )
    cost = None if machine_ns is None or rate is None else round(machine_ns * rate / HOUR)
    given = {
        "id": name,
        "began_ns": began_ns,
        "latency_ns": ended_ns - began_ns,
        "mode": "modal",
        "cost_nano": cost,
        "cost_basis": "machine-time",
        "cost_estimated": True,
        "tries": (tried,),
    }
    return simple(**{**given, **changes})


def write(path: Path, records: Sequence[Any], losses: Sequence[Loss] = ()) -> None:
    """What a process writes that comes and goes."""
    file = LedgerFile(path, 2**40, lock_of(path))
    try:
        file.write(records, losses=losses)
    finally:
        file.close()


TESTS = Path(__file__).parent.parent


def python(code: str, *arguments: str) -> str:
    """What a process of its own prints. It has nothing to complain about."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
