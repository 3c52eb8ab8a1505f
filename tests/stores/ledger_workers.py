"""What other processes do in the tests of the ledger. Each function is the whole life of one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hybrid_infer.stores.ledger.writer import open_ledger
from stores.ledger_samples import simple


def put_for_ever(ledger: str, diary: str) -> None:
    """Records, each noted with the moment it was put, until this process is killed."""
    open_ledger(ledger)
    notes = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        record = simple()
        open_ledger(ledger).put(record)
        os.write(notes, f"{record.id} {time.monotonic_ns()}\n".encode())
        time.sleep(0.001)


def put_some(ledger: str, records: int, max_bytes: int) -> list[str]:
    """Records, as fast as calls may come; their ids."""
    mine = open_ledger(ledger, max_bytes=max_bytes)
    ids: list[str] = []
    for number in range(records):
        record = simple()
        ids.append(record.id)
        mine.put(record)
        if number % 10 == 0:
            time.sleep(0.001)
    assert mine.close(timeout=30)
    return ids


def noted(diary: Path) -> list[tuple[str, int]]:
    """What `put_for_ever` put, and when. A note that was cut off does not count."""
    notes = diary.read_text().split("\n")[:-1]
    return [(name, int(at)) for name, at in (note.split() for note in notes)]
