"""What the ledger costs, and how fast it is read.

python benchmarks/bench_ledger.py                 everything; takes minutes and some 3 GB of disk
python benchmarks/bench_ledger.py --rows 1000000  a smaller ledger to read

Figures depend on the machine, and on what else it does: the bare httpx call is measured beside them.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median

import httpx
from loopback import served

from hybrid_infer.calls.call import Attempt, Call, Target
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.records import new_id
from hybrid_infer.calls.reply import Facts
from hybrid_infer.calls.rows import CallRows, call_rows
from hybrid_infer.prices.chosen import machine_division
from hybrid_infer.settings import Settings
from hybrid_infer.stores.ledger.file import LedgerFile, lock_of
from hybrid_infer.stores.ledger.schema import HOUR_NS
from hybrid_infer.stores.ledger.summary import summarise
from hybrid_infer.stores.ledger.writer import EVERY, Ledger

BEGAN_NS = 1_790_000_000 * 10**9
STEP_NS = 518_400_000
"""Between two calls: 5 million in 30 days."""

TARGET = Target(
    name="together-serverless/Qwen/Qwen3.5-9B",
    mode="together-serverless",
    provider="together_ai",
    model="Qwen/Qwen3.5-9B",
    host="api.together.ai",
    port=443,
    basis="tokens",
)
USAGE = Usage(input_tokens=1200, output_tokens=180)
COST = Cost(amount=Decimal("0.000123456"), basis="tokens", priced_at=date(2026, 10, 1))
FACTS = Facts(model=TARGET.model, usage=USAGE, first_token=100.4)
CALL = Call(operation="chat", model="assistant", body={}, purpose="minutes", candidates=(TARGET,))
CALL.tally.started, CALL.tally.latency = 100.0, 1.5
CALL.tally.attempts.append(
    Attempt(target=TARGET, started=100.1, ended=101.5, verdict="success", status=200, usage=USAGE)
)


def later() -> partial[CallRows]:
    """A call that has just ended, as the client leaves it to the ledger's thread."""
    return partial(call_rows, CALL, FACTS, COST, "success", 101.5, datetime.now(UTC), no_rate, new_id())


def no_rate(_: Target) -> None:
    """What a machine costs: this is none."""


def per_call(work: Callable[[], object], calls: int = 300) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def beside_httpx(folder: Path) -> None:
    """Calls with and without the ledger, in turns, so that both meet the same machine."""
    ledger = Ledger(folder / "beside.sqlite")
    body = {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    with served() as server, httpx.Client() as client:
        address = f"{server}/v1/chat/completions"

        def bare() -> None:
            client.post(address, json=body).json()

        def recorded() -> None:
            bare()
            ledger.put(later())

        per_call(recorded, 500)
        pairs = [(_both(bare), _both(recorded)) for _ in range(15)]
    ledger.close(timeout=60)
    alone, used = (median(bare[which] for bare, _ in pairs) for which in (0, 1))
    more, behind = (median(with_it[which] - bare[which] for bare, with_it in pairs) for which in (0, 1))
    print(f"bare httpx call            {alone * 1e6:8.0f} us, {used * 1e6:.0f} us of CPU")
    print(f"  with a record, more      {more * 1e6:8.1f} us = {more / alone:.3f} of it")
    print(f"  CPU of all threads, more {behind * 1e6:8.1f} us = {behind / used:.3f} of that")


def _both(work: Callable[[], object], calls: int = 300) -> tuple[float, float]:
    """Seconds that one call takes, and seconds of CPU that this process does."""
    used = time.process_time()
    took = per_call(work, calls)
    time.sleep(3 * EVERY)  # what is behind is written then
    return took, (time.process_time() - used) / calls


def hot_path(folder: Path) -> None:
    ledger = Ledger(folder / "hot.sqlite", most_waiting=10**9)
    made = per_call(lambda: later()(), 5000)
    records = [later() for _ in range(20_000)]
    ledger.put(later())
    began = time.perf_counter()
    for one in records:
        ledger.put(one)
    put = (time.perf_counter() - began) / len(records)
    ledger.close(timeout=60)
    print(f"making its rows            {made * 1e6:8.1f} us")
    print(f"putting it                 {put * 1e6:8.1f} us, while the thread writes")


def throughput(folder: Path, calls: int = 200_000) -> None:
    """As fast as the writer takes them: two rows for each call."""
    path = folder / "throughput.sqlite"
    batches = [[later()() for _ in range(2000)] for _ in range(calls // 2000)]
    file = LedgerFile(path, 2**40, lock_of(path))
    began, used = time.perf_counter(), time.process_time()
    for batch in batches:
        file.write(batch)
    file.close()
    took, used = time.perf_counter() - began, time.process_time() - used
    print(
        f"written                    {2 * calls / took:8,.0f} rows/s, {2 * calls / used:,.0f} a second of CPU"
    )
    print(f"  size                     {path.stat().st_size / calls:8.0f} bytes a call and its attempt")


FILL = """
INSERT INTO machines VALUES (1, 'modal h m');
INSERT INTO totals (hour, mode, model, purpose, simulated, calls, attempts, input_tokens, output_tokens,
                    cost_nano, cost_estimated, estimated_nano)
  SELECT began / {hour}, 'modal', model, purpose, 0, count(*), count(*), 1000 * count(*), 100 * count(*),
    sum(cost), count(*), sum(cost) FROM made GROUP BY 1, 2, 3, 4;
INSERT INTO call_kinds SELECT NULL, 'chat', 0, 'modal', 'modal/m', model, 'assistant', purpose, 0, 'success',
    1, 0, 0, 0, NULL, 'machine-time', 1, 1, NULL, '2026-10-01' FROM totals GROUP BY model, purpose;
INSERT INTO attempt_kinds SELECT NULL, 'modal', 'modal/m', model, 'success', 'success', 200, 1, 0, 0, 0,
    {rate} FROM totals GROUP BY model;
CREATE TEMP TABLE placed AS SELECT m.*, t.id AS total, c.id AS call_kind, a.id AS attempt_kind FROM made m
  CROSS JOIN totals t ON t.hour = began / {hour} AND t.mode = 'modal' AND t.model = m.model
    AND t.purpose = m.purpose
  CROSS JOIN call_kinds c ON c.model = m.model AND c.purpose = m.purpose
  CROSS JOIN attempt_kinds a ON a.model = m.model ORDER BY process, i;
INSERT INTO latencies SELECT total, 480 + i % 40, count(*) FROM placed GROUP BY 1, 2;
INSERT INTO shares (total, machine, process, rate, role, attempts, machine_ns, began_ns, ended_ns)
  SELECT total, 1, process, {rate}, 'call', count(*), sum(took), min(began), max(began + took) FROM placed
  GROUP BY 1, 3;
INSERT INTO call_rows SELECT process || printf('%010x', i), began, took, NULL, 0, 0, 1000, 100, NULL, NULL,
    cost, NULL, NULL, call_kind, total FROM placed;
INSERT INTO attempt_rows SELECT p.process || printf('%010x', i), 0, began, began + took, NULL,
    1000, 100, NULL, NULL, took, attempt_kind, 1, s.id, NULL FROM placed p
  CROSS JOIN shares s ON s.total = p.total AND s.machine = 1 AND s.process = p.process AND s.rate = {rate}
"""


def filled(path: Path, calls: int, processes: int) -> None:
    """A ledger of one machine that so many processes used at a time; 5 million calls take 30 days."""
    file = LedgerFile(path, 2**60, lock_of(path))
    file.write([])
    file.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -200000")
    db.execute(f"""CREATE TEMP TABLE made AS
      WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {calls})
      SELECT i, {BEGAN_NS} + i * {STEP_NS} AS began,
        200000000 + i * 7919 % 1000 * 2000000 AS took, i % 997 * 100 AS cost,
        'model-' || (i / {processes} % 4) AS model, 'purpose-' || (i / {processes} % 5) AS purpose,
        printf('%022x', i % {processes}) AS process FROM n""")
    db.execute("BEGIN")
    for statement in FILL.format(hour=HOUR_NS, rate=3_950_000_000).split(";\n"):
        db.execute(statement)
    db.execute("COMMIT")
    db.close()


def reading(folder: Path, rows: int) -> None:
    """One process, where sums are enough; and four on one machine, whose time has to be divided anew: among
    purposes that have it at the same time, too."""
    for processes in (1, 4):
        path = folder / f"{processes}.sqlite"
        filled(path, rows // 2, processes)
        for by in (None, "day", "purpose"):
            began, used = time.perf_counter(), time.process_time()
            found = summarise([path], divide=machine_division(Settings()), by=by)
            took, used = time.perf_counter() - began, time.process_time() - used
            (total,) = found.totals
            assert total.calls + total.attempts == rows
            assert bool(found.settled) == (processes > 1)
            print(
                f"summary of {rows:,} rows, {processes} process{'es' if processes > 1 else ''}"
                f"{f', by {by}' if by else ''}: {took:.2f} s, {used:.2f} s of CPU"
            )
        path.unlink()


def main() -> None:
    arguments = argparse.ArgumentParser(description="What the ledger costs, and how fast it is read.")
    arguments.add_argument("--rows", type=int, default=10_000_000, help="rows of the ledger that is read")
    rows = arguments.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside_httpx(folder)
        hot_path(folder)
        throughput(folder)
        reading(folder, rows // 2 * 2)


if __name__ == "__main__":
    main()
