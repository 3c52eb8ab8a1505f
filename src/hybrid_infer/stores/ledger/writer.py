"""Ledger: takes records from calls, and writes them in the background.

A home of background work: one thread for each file and process, begun at the first record and ended after a
while without any, so that what waits for SQLite is never a call.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from _thread import start_new_thread
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from hybrid_infer.calls.records import this_process
from hybrid_infer.runtime.background import OnePerFile, close_with_worker, wait_until
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.stores.ledger.batch import Record
from hybrid_infer.stores.ledger.file import PATIENCE, LedgerFile, lock_of
from hybrid_infer.stores.ledger.schema import UnreadableLedgerError
from hybrid_infer.stores.outage import Outage

log = logging.getLogger("hybrid_infer")

MAX_BYTES = 2**30
"""A file that has become larger is replaced by a new one."""

EVERY = 0.1
"""Seconds between two batches. A process that is killed loses what came since the last one: at most 250 ms,
the rest being for the writing itself. A batch costs as much as some thirty records, so not more often."""

MOST_WAITING = 20_000
"""Records kept where they cannot be written in time, some 20 MB; what comes then is counted and dropped."""

_BATCH = 2_000
_IDLE = 20
"""Rounds without a record after which the file is closed and the thread ends."""

PAUSE = 5.0
"""Seconds until a file that could not be written is tried again."""

_LAST_WAIT = 1.0
"""Seconds that the end of the process, or a fork, waits for what is still to be written."""

_OF_A_RECORD = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
)
_OF_THE_FILE = (sqlite3.Error, OSError, UnreadableLedgerError)
"""What is wrong with the file, unless it is one of those above; everything else is wrong with a record."""


class Ledger:
    """One file, written by this process and by others. Made by `open_ledger`.

    Whatever happens to the file, no call fails and none waits: there is one warning when it begins and one
    line when it is over, and what was lost meanwhile is counted in the file.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int = MAX_BYTES,
        *,
        most_waiting: int = MOST_WAITING,
        pause: float = PAUSE,
        patience: float = PATIENCE,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._most_waiting = most_waiting
        self._pause = pause
        self._patience = patience
        self._lock = lock_of(path)
        self._begin()
        mend_after_fork(self, Ledger._enter_child)

    def _begin(self) -> None:
        self._records: SimpleQueue[Record | Callable[[], Record]] = SimpleQueue()
        self._closing: SimpleQueue[SimpleQueue[bool]] = SimpleQueue()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._seat: list[None] = [None]
        """For the thread: who takes it out is the one, as long as it is not put back."""
        self._held = False
        self._free = True
        self._off = False
        self._in_worker = False
        # From here on of the thread alone.
        self._pending: list[Record] = []
        self._outage = Outage(self._pause)
        self._refused = 0  # all but this one, which `put` counts
        self._dropped = 0
        self._reported = 0
        self._spoilt = False
        self._why = ""

    def put(self, record: Record | Callable[[], Record]) -> None:
        """Have it written soon. Takes no lock and never waits; finalisers may call it.

        Args:
            record: or what makes it, such as a `partial` of `call_rows`: the thread makes many in a row, in
                a third of the time. What it holds on to is held until then, for `EVERY` seconds.
        """
        records = self._records
        waiting = records.qsize()
        if waiting >= self._most_waiting or self._off:
            self._refused += 1
            return
        records.put(record)
        if self._seat:
            self._start()
        elif waiting == _BATCH:  # sooner, where so many come
            self._wake.put(None)

    def close(self, timeout: float = _LAST_WAIT) -> bool:
        """Write what was put so far, and let go of the file; the next record opens it again.

        Blocks for `timeout` seconds at most. False if there is still something to write then, or if the file
        cannot be written.
        """
        if self._seat and self._records.empty() and not self._pending:
            return True
        done: SimpleQueue[bool] = SimpleQueue()
        self._closing.put(done)
        self._wake.put(None)
        self._start(here=True)
        try:
            return done.get(timeout=timeout)
        except Empty:
            return False

    def _start(self, *, here: bool = False) -> None:
        """Begin the thread, if there is none. `here`: do its work, where no thread is to be had."""
        if self._held:
            return
        try:
            self._seat.pop()
        except IndexError:
            return
        # Not in the thread: the process may have ended before that begins.
        self._in_worker = self._in_worker or close_with_worker(self.close)
        try:
            # Not threading.Thread, which takes locks that a finaliser must not wait for.
            start_new_thread(self._run, ())
        except RuntimeError:  # too many of them, or the interpreter is about to end
            if here:
                self._run()
            else:
                self._seat.append(None)

    def _run(self) -> None:
        told: list[SimpleQueue[bool]] = []
        try:
            self._serve(told)
        except Exception:
            log.warning("the ledger %s: writing failed", self.path, exc_info=True)
        finally:
            self._seat.append(None)
            written = not self._pending and not self._off
            for done in told:
                done.put(written)
            # Who came since the last look found the seat taken.
            if not (self._records.empty() and self._closing.empty()):
                self._start()

    def _serve(self, told: list[SimpleQueue[bool]]) -> None:
        # The file is known to this frame alone. In a child process, where this thread does not exist, nobody
        # closes what belongs to the parent.
        file = LedgerFile(self.path, self.max_bytes, self._lock, patience=self._patience)
        idle = 0
        try:
            while idle < _IDLE and not self._held:
                try:
                    self._wake.get(timeout=EVERY if self._records.qsize() < _BATCH else 0)
                except Empty:
                    pass
                while not self._closing.empty():
                    told.append(self._closing.get_nowait())
                idle = 0 if self._write_all(file, now_or_never=bool(told)) else idle + 1
                if told:
                    return
        finally:
            file.close()

    def _write_all(self, file: LedgerFile, *, now_or_never: bool) -> bool:
        """Write what waits; False if nothing does."""
        # No more than is there now: others may be waiting for this to end, and new ones come all the time.
        self._take(self._records.qsize())
        if self._off or not (self._pending or self._lost()):
            return False
        if self._outage.on and not (self._outage.may_ask(time.monotonic()) or now_or_never):
            return True
        while (self._pending or self._lost()) and self._write(file):
            pass
        return True

    def _take(self, number: int) -> None:
        take, pending = self._records.get_nowait, self._pending
        for _ in range(number):
            record = take()
            if len(pending) >= self._most_waiting:
                self._dropped += 1
                continue
            if callable(record):
                try:
                    record = record()
                except Exception as error:
                    self._spoil(error)
                    continue
            pending.append(record)

    def _lost(self) -> int:
        return self._refused + self._dropped - self._reported

    def _write(self, file: LedgerFile) -> bool:
        """One batch; False where that has to wait. It stays then as it is."""
        batch = self._pending[:_BATCH]
        lost = self._lost()
        why = self._why or "they came faster than they could be written"
        losses = [(this_process(), time.time_ns(), lost, why)] if lost else []
        try:
            try:
                file.write(batch, losses=losses)
                del self._pending[: len(batch)]
                self._reported += lost
            except _OF_THE_FILE as error:
                if isinstance(error, _OF_A_RECORD):
                    self._one_by_one(file, len(batch))
                else:
                    raise
            except Exception:
                self._one_by_one(file, len(batch))
        except UnreadableLedgerError as error:
            self._give_up(error)
            return False
        except _OF_THE_FILE as error:
            self._why = f"{type(error).__name__}: {error}"
            if self._outage.failed(time.monotonic()):
                log.warning(
                    "the ledger %s cannot be written (%s); calls go on, and up to %d records wait for it",
                    self.path,
                    error,
                    self._most_waiting,
                )
            return False
        if self._outage.answered():
            log.info("the ledger %s is written again", self.path)
        if not self._lost():
            self._why = ""
        return True

    def _one_by_one(self, file: LedgerFile, number: int) -> None:
        """Some record of these cannot be written; the others can."""
        for _ in range(number):
            try:
                file.write(self._pending[:1])
            except Exception as error:
                if isinstance(error, _OF_THE_FILE) and not isinstance(error, _OF_A_RECORD):
                    raise
                self._spoil(error)
            del self._pending[0]

    def _spoil(self, error: Exception) -> None:
        self._dropped += 1
        self._why = f"{type(error).__name__} in a record"
        if not self._spoilt:
            log.warning("the ledger %s: a record could not be written (%s)", self.path, type(error).__name__)
        self._spoilt = True

    def _give_up(self, error: Exception) -> None:
        self._off = True
        self._pending = []
        while not self._records.empty():
            self._records.get_nowait()
        log.warning("%s. Nothing is written to it", error)

    def hold(self) -> None:
        """Before a fork. SQLite must not have the file open: in the child it would take the parent's locks
        for its own, and not lock at all."""
        self._held = True
        self._wake.put(None)
        self._free = wait_until(lambda: bool(self._seat), time.monotonic() + _LAST_WAIT)

    def go_on(self) -> None:
        self._held = False
        if not (self._records.empty() and self._closing.empty()):
            self._start()

    def _enter_child(self) -> None:
        free = self._free
        self._lock.release()
        self._begin()
        if not free:
            self._off = True
            log.warning("the ledger %s was busy during a fork: this process does not write to it", self.path)


_ledgers = OnePerFile[Ledger](_LAST_WAIT)


def open_ledger(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Ledger:
    """The ledger of this process at `path`, the same one for all who ask. Opens no file yet."""
    ledger = _ledgers.at(path, Ledger)
    ledger.max_bytes = max_bytes
    return ledger
