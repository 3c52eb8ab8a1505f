"""A lock among processes, beside the ledger's file: many may use the file, and one alone may replace it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class FileLock:
    """Held by the process, until it is released or the process ends, however it ends.

    Where the system has no such locks (Windows), everybody is let in: there a file that is open elsewhere
    cannot be renamed anyway.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def share(self) -> bool:
        """Hold it together with others; False while another process holds it alone."""
        return self._hold(alone=False)

    def take(self) -> bool:
        """Hold it alone; False while others hold it. It is not held at all then."""
        return self._hold(alone=True)

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _hold(self, *, alone: bool) -> bool:
        """
        Raises:
            OSError: the file cannot be opened.
        """
        self.release()
        if sys.platform == "win32":
            return True
        import fcntl

        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        except OSError:
            self.release()
            raise
        return True
