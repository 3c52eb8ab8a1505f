"""One cache in a file, for all clients of this process: read where the call is, written in the background.

To read an answer takes some 20 microseconds and waits for nobody, so it is done at once, in an event loop
too. To write one takes longer, and now and then has to wait for a disk or for another process: that is never
a call's business. One thread for each file and process writes, in batches, and ends after a while without
work. What it has not written yet is found all the same by this process; a process that is killed loses it.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from _thread import start_new_thread
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from hybrid_infer.calls.cached import Entry
from hybrid_infer.runtime.background import close_with_worker, wait_until
from hybrid_infer.runtime.base import new_guard
from hybrid_infer.runtime.fork import mend_after_fork
from hybrid_infer.stores.cache_sqlite.connection import busy, damaged
from hybrid_infer.stores.cache_sqlite.file import CacheFile, room_for
from hybrid_infer.stores.cache_sqlite.reading import CacheReader
from hybrid_infer.stores.cache_sqlite.schema import UnusableCacheError
from hybrid_infer.stores.outage import Outage

log = logging.getLogger("hybrid_infer")

MAX_BYTES = 2**30
"""The size of the file at most, where nothing else is said."""

EVERY = 0.05
"""Seconds between two batches."""

PAUSE = 5.0
"""Seconds until a file that could not be used is tried again."""

MOST_WAITING = 32 * 2**20
"""Bytes of answers that wait to be written; what comes then is not kept."""

_LARGEST = 4
"""An answer that takes more than a quarter of the file is not kept."""
_NOTED = 60.0
"""Seconds after which it is noted once more that an entry was used."""
_MOST_NOTED = 10_000
_IDLE = 40
"""Rounds without work after which the file is closed and the thread ends."""
LAST_WAIT = 0.5
"""Seconds that the end of a client, of the process, or a fork, waits for what is still to be written."""
_BUSY_FOR = 1.0
"""Seconds for which a file that cannot be read because somebody else has it is no reason for a warning."""

_ERRORS = (sqlite3.Error, OSError, UnusableCacheError)


class SharedCache:
    """One file, for all clients of this process that name it. Made by `sqlite_cache`.

    Whatever happens to the file, no call fails: there is one warning when it begins and one line when it is
    over, and answers are not found meanwhile.
    """

    def __init__(self, path: Path, *, pause: float = PAUSE) -> None:
        self.path = path
        self.max_bytes = MAX_BYTES
        self.keep_stale = 0.0
        self._pause = pause
        self._guard = new_guard()
        self._reading = new_guard()
        self._begin()
        mend_after_fork(self, SharedCache._enter_child)

    def _begin(self) -> None:
        self._reader = CacheReader(self.path)
        self._pending: dict[bytes, Entry | None] = {}
        self._writing: dict[bytes, Entry | None] = {}
        """What the thread has taken from `_pending`. Both are only added to, and replaced."""
        self._waiting_bytes = 0
        self._used: dict[bytes, float] = {}
        self._now = 0.0
        self._ending: list[Callable[[], None]] = []
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._running = False
        self._held = False
        self._free = True
        self._off = False
        self._damaged = False
        self._in_worker = False
        self._busy_since: float | None = None
        self._reads = Outage(self._pause)
        self._writes = Outage(self._pause)

    def get(self, key: bytes, now: float) -> Entry | None:
        """The entry, also one that is past its time; None where there is none. Never waits.

        Args:
            now: seconds since 1970.
        """
        self._now = now
        # In the order in which entries move: who is missed in one is found in the next.
        for waiting in (self._pending, self._writing):
            if key in waiting:
                return waiting[key]
        found = self._read(key)
        if found is None:
            return None
        entry, used = found
        if now - used > _NOTED and key not in self._used and len(self._used) < _MOST_NOTED:
            with self._guard:
                self._used[key] = now
                self._start()
        return entry

    def put(self, key: bytes, entry: Entry | None, now: float) -> None:
        """Have it written soon; None has what is there removed."""
        self._now = now
        size = 0 if entry is None else room_for(len(entry.value))
        if size > self.max_bytes // _LARGEST:
            return
        with self._guard:
            if self._off or self._waiting_bytes + size > MOST_WAITING:
                return
            if self._writes.on and not self._writes.may_ask(time.monotonic()):
                return
            self._pending[key] = entry
            self._waiting_bytes += size
            self._start()

    def end(self, done: Callable[[], None]) -> bool:
        """Write what was put so far, and let go of the file; what comes next opens it again.

        Args:
            done: called from any thread when that is done. It is not where False is returned: there was
                nothing to do.
        """
        here = False
        with self._guard:
            if not (self._running or self._pending or self._reader.open):
                return False
            self._ending.append(done)
            self._wake.put(None)
            if not self._start():
                here = self._running = True
        if here:
            self._run()
        return True

    def close(self, timeout: float = LAST_WAIT) -> None:
        """`end`, and wait for it; `timeout` seconds at most."""
        done: SimpleQueue[None] = SimpleQueue()
        if self.end(lambda: done.put(None)):
            try:
                done.get(timeout=timeout)
            except Empty:
                pass

    def _read(self, key: bytes) -> tuple[Entry, float] | None:
        if self._off or self._damaged:
            return None
        with self._reading:
            now = time.monotonic()
            if self._held or (self._reads.on and not self._reads.may_ask(now)):
                return None
            try:
                found = self._reader.get(key, now)
            except Exception as error:
                self._cannot_read(error, now)
                return None
            self._busy_since = None
            if self._reads.on:
                self._well(self._reads)
        return found

    def _cannot_read(self, error: Exception, now: float) -> None:
        if busy(error):
            self._busy_since = self._busy_since or now
            if now - self._busy_since < _BUSY_FOR:
                return
        self._reader.close()
        if damaged(error):
            with self._guard:
                self._damaged = True
                self._start()
        else:
            self._cannot(self._reads, error)

    def _cannot(self, outage: Outage, error: Exception) -> None:
        with self._guard:
            others = self._reads.on or self._writes.on
            outage.failed(time.monotonic())
        if not others:
            log.warning("the cache %s cannot be used (%s); calls go on without it", self.path, error)

    def _well(self, outage: Outage) -> None:
        with self._guard:
            ended = outage.answered() and not (self._reads.on or self._writes.on)
        if ended:
            log.info("the cache %s is used again", self.path)

    def _start(self) -> bool:
        """Begin the thread, if there is none. The guard is held. False where no thread is to be had."""
        if self._running or self._held:
            return True
        self._in_worker = self._in_worker or close_with_worker(self.close)
        try:
            start_new_thread(self._run, ())
        except RuntimeError:  # too many of them, or the interpreter is about to end
            return False
        self._running = True
        return True

    def _run(self) -> None:
        while True:
            try:
                self._serve()
            except Exception:
                log.warning("the cache %s: writing failed", self.path, exc_info=True)
            with self._guard:
                ending, self._ending = self._ending, []
                idle = self._held or not (self._pending or self._used or self._damaged or ending)
                self._running = not idle
            for done in ending:
                done()
            if idle:
                return

    def _serve(self) -> None:
        # The file is known to this frame alone. In a child process, where this thread does not exist, nobody
        # closes what belongs to the parent.
        file = CacheFile(self.path)
        idle = 0
        try:
            while idle < _IDLE and not self._held:
                try:
                    self._wake.get(timeout=EVERY)
                except Empty:
                    pass
                ending = bool(self._ending)
                idle = 0 if self._write(file) else idle + 1
                if ending:
                    break
        finally:
            if self._ending:
                self._let_go()
            file.close()

    def _let_go(self) -> None:
        """Close what is read through. Nobody waits for it: who closes last tidies up, and that takes time."""
        with self._reading:
            reader, self._reader = self._reader, CacheReader(self.path)
        reader.close()

    def _write(self, file: CacheFile) -> bool:
        """Write what waits; False if nothing does."""
        if self._damaged:
            self._mend(file)
        with self._guard:
            taken, self._pending = self._pending, {}
            self._writing = taken
            used, self._used = self._used, {}
            size = self._waiting_bytes
        if not (taken or used):
            return False
        try:
            file.write(
                taken.items(), used, max_bytes=self.max_bytes, now=self._now, keep_stale=self.keep_stale
            )
        except _ERRORS as error:
            if damaged(error):
                self._mend(file)
            else:
                self._cannot(self._writes, error)
        else:
            if self._writes.on:
                self._well(self._writes)
        finally:
            with self._guard:
                self._writing = {}
                self._waiting_bytes -= size
        return True

    def _mend(self, file: CacheFile) -> None:
        try:
            file.empty()
        except _ERRORS as error:
            self._cannot(self._writes, error)
            with self._guard:
                self._reads.failed(time.monotonic())
        else:
            log.warning("the cache %s was damaged, and has been emptied", self.path)
        finally:
            self._damaged = False

    def hold(self) -> None:
        """Before a fork. SQLite must not have the file open: in the child it would take the parent's locks
        for its own, and not lock at all."""
        self._held = True
        self._wake.put(None)
        end = time.monotonic() + LAST_WAIT
        self._free = wait_until(lambda: not self._running, end)
        # Not by waiting for it: a signal may have come in the middle of a read of this very thread.
        if not wait_until(lambda: self._reading.acquire(False), end):
            self._free = False
            return
        try:
            self._reader.close()
        finally:
            self._reading.release()

    def go_on(self) -> None:
        """After a fork, in the parent."""
        self._held = False
        with self._guard:
            if self._pending or self._ending:
                self._start()

    def _enter_child(self) -> None:
        """What waited is the parent's to write."""
        free = self._free
        reader = self._reader
        self._begin()
        if not free:
            self._off = True
            self._inherited = reader  # to be neither used nor closed: its locks are the parent's
            log.warning("the cache %s was busy during a fork: this process goes on without it", self.path)
