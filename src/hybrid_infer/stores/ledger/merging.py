"""Several ledgers become one."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.ledger.batch import Record
from hybrid_infer.stores.ledger.file import LedgerFile, Loss, lock_of
from hybrid_infer.stores.ledger.reader import LedgerReader

_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Calls and corrections that were written, and those that were there already."""

    written: int
    known: int


def merge(files: Sequence[Path], into: Path, *, progress: Callable[[int], None] = lambda _: None) -> Merged:
    """Add everything in `files` to `into`, which is made if need be. What is there already is left as it is.

    Others may write to all of them meanwhile. Hashes of tags stay as they are: only those of one ledger, and
    of those that began as its copy, can be compared.

    Args:
        progress: told how many records were read since it was told last.

    Raises:
        ConfigurationError: a file cannot be read, or `into` cannot be written.
    """
    into = into.expanduser().absolute()
    if any(file.expanduser().resolve() == into.resolve() for file in files):
        raise ConfigurationError(f"ledger: {into} cannot be merged into itself; name another file")
    target = LedgerFile(into, sys.maxsize, lock_of(into))
    read = written = 0
    try:
        for file in files:
            with LedgerReader(file) as reader:
                losses: list[Loss] = list(reader.query("SELECT process, at_ns, records, reason FROM losses"))
                target.write([], losses=losses)
                kinds: tuple[Iterator[Record], ...] = (reader.calls(), reader.corrections())
                for source in kinds:
                    while part := list(islice(source, _AT_ONCE)):
                        written += target.write(part, new_only=True)
                        read += len(part)
                        progress(len(part))
                states = reader.states()
                while told := list(islice(states, _AT_ONCE)):
                    target.write(told)
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(f"ledger: {into} cannot be written: {error}") from None
    finally:
        target.close()
    return Merged(written=written, known=read - written)
