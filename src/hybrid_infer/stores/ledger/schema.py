"""What stands in a ledger's file, and how older files become current ones.

`calls`, `attempts`, `waits`, `corrections`, `states` and `losses` show what happened, a row each. The first
two are views: what is the same for many of them, such as the mode, stands once in a row of `call_kinds` or
`attempt_kinds`, which makes rows half as large and half as much work.

`totals`, `latencies` and `shares` hold sums, kept in the same transactions, so that a summary need not read
millions of rows:

- totals: a line for each hour, mode, model, purpose and kind (simulated or not); `hour` counts from 1970, and
  a call belongs to the hour it began in.
- latencies: how many calls of a line took about how long (see `buckets`).
- shares: the time on a machine that each process saw its attempts (or waits, or refused attempts: the role)
  take, for calls of one line and at one
  rate. Rate 0 stands for what adds nothing to a known cost: not billed, no price, or an unknown cost anyway.
  Attempts that took no time have no share.

Kinds, lines, machines and shares are never deleted and keep their numbers: every process remembers those it
used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hybrid_infer.calls.rows import ATTEMPT_KIND, ATTEMPT_ROW, CALL_KIND, CALL_ROW
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.stores.sqlite_version import version_of

APPLICATION_ID = 0x48494C47
"""Tells a ledger from other SQLite files ("HILG")."""

HOUR_NS = 3_600_000_000_000

SUMS = (
    "calls",
    "failed",
    "attempts",
    "corrections",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "tokens_unknown",
    "cost_nano",
    "cost_unknown",
    "cost_estimated",
    "estimated_nano",
    "cold_starts",
    "cache_hits",
    "saved_nano",
)
"""The sums of a line: calls, tokens and nano-dollars. `tokens_unknown`, `cost_unknown` and `cost_estimated`
count calls; `estimated_nano` is the part of `cost_nano` that is an estimate."""

WAIT_COLUMNS = ("call", "number", "began_ns", "ended_ns", "machine_ns", "rate")
STATE_COLUMNS = ("process", "at_ns", "serving", "starting", "rate", "simulated")
CORRECTION_COLUMNS = (
    *("id", "call", "began_ns", "mode", "model", "purpose", "simulated", "at_ns"),
    *("before_nano", "before_estimated", "cost_nano", "cost_estimated", "reason"),
)

# The names in it are constants.
_FIRST = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE totals (
  id INTEGER PRIMARY KEY,
  hour INTEGER NOT NULL, mode TEXT, model TEXT, purpose TEXT, simulated INTEGER NOT NULL,
  {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in SUMS)}
);
CREATE INDEX totals_found ON totals (hour, mode, model, purpose, simulated);
CREATE TABLE latencies (
  total INTEGER NOT NULL REFERENCES totals, bucket INTEGER NOT NULL, calls INTEGER NOT NULL,
  PRIMARY KEY (total, bucket)
) WITHOUT ROWID;
CREATE TABLE machines (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE shares (
  id INTEGER PRIMARY KEY,
  total INTEGER NOT NULL REFERENCES totals, machine INTEGER NOT NULL REFERENCES machines,
  process TEXT NOT NULL, rate INTEGER NOT NULL, role TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, machine_ns INTEGER NOT NULL DEFAULT 0,
  began_ns INTEGER, ended_ns INTEGER,
  UNIQUE (total, machine, process, rate, role)
);
CREATE TABLE call_kinds (
  id INTEGER PRIMARY KEY,
  operation TEXT NOT NULL, stream INTEGER NOT NULL,
  mode TEXT, target TEXT, model TEXT, asked_model TEXT, purpose TEXT, simulated INTEGER NOT NULL,
  outcome TEXT NOT NULL, attempts INTEGER NOT NULL, restarts INTEGER NOT NULL, cold_start INTEGER NOT NULL,
  tokens_estimated INTEGER NOT NULL, cache TEXT,
  cost_basis TEXT NOT NULL, cost_estimated INTEGER NOT NULL, cost_final INTEGER NOT NULL,
  cost_reason TEXT, priced_at TEXT
);
CREATE INDEX call_kinds_found ON call_kinds ({", ".join(CALL_KIND)});
CREATE TABLE call_rows (
  id TEXT PRIMARY KEY,
  began_ns INTEGER NOT NULL, latency_ns INTEGER NOT NULL, first_token_ns INTEGER,
  queue_ns INTEGER NOT NULL, cold_ns INTEGER NOT NULL,
  input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
  cost_nano INTEGER, saved_nano INTEGER, tag_hash TEXT,
  kind INTEGER NOT NULL REFERENCES call_kinds, total INTEGER NOT NULL REFERENCES totals
) WITHOUT ROWID;
CREATE INDEX calls_in_time ON call_rows (began_ns);
CREATE VIEW calls AS
  SELECT {", ".join((*(f"r.{name}" for name in CALL_ROW), *(f"k.{name}" for name in CALL_KIND)))}
  FROM call_rows r JOIN call_kinds k ON k.id = r.kind;
CREATE TABLE corrections (
  id TEXT PRIMARY KEY, call TEXT NOT NULL,
  began_ns INTEGER NOT NULL, mode TEXT, model TEXT, purpose TEXT, simulated INTEGER NOT NULL,
  at_ns INTEGER NOT NULL,
  before_nano INTEGER, before_estimated INTEGER NOT NULL,
  cost_nano INTEGER, cost_estimated INTEGER NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX corrections_of_calls ON corrections (call);
CREATE TABLE attempt_kinds (
  id INTEGER PRIMARY KEY,
  mode TEXT NOT NULL, target TEXT NOT NULL, model TEXT,
  outcome TEXT NOT NULL, verdict TEXT, status INTEGER,
  billed INTEGER, lost INTEGER NOT NULL, lane INTEGER NOT NULL,
  tokens_estimated INTEGER NOT NULL, rate INTEGER
);
CREATE INDEX attempt_kinds_found ON attempt_kinds ({", ".join(ATTEMPT_KIND)});
CREATE TABLE attempt_rows (
  call TEXT NOT NULL, number INTEGER NOT NULL,
  began_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, request_id TEXT,
  input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
  machine_ns INTEGER,
  kind INTEGER NOT NULL REFERENCES attempt_kinds,
  machine INTEGER REFERENCES machines, share INTEGER REFERENCES shares, correction TEXT,
  PRIMARY KEY (call, number)
) WITHOUT ROWID;
CREATE INDEX attempts_in_time ON attempt_rows (machine, began_ns, ended_ns, share) WHERE share IS NOT NULL;
CREATE VIEW attempts AS
  SELECT {", ".join((*(f"r.{name}" for name in ATTEMPT_ROW), *(f"k.{name}" for name in ATTEMPT_KIND)))},
    m.name AS machine, r.correction
  FROM attempt_rows r JOIN attempt_kinds k ON k.id = r.kind LEFT JOIN machines m ON m.id = r.machine;
CREATE TABLE waits (
  call TEXT NOT NULL, number INTEGER NOT NULL,
  began_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, machine_ns INTEGER NOT NULL, rate INTEGER,
  machine INTEGER NOT NULL REFERENCES machines, share INTEGER REFERENCES shares, correction TEXT,
  PRIMARY KEY (call, number)
) WITHOUT ROWID;
CREATE INDEX waits_in_time ON waits (machine, began_ns, ended_ns, share) WHERE share IS NOT NULL;
CREATE TABLE states (
  process TEXT NOT NULL, machine INTEGER NOT NULL REFERENCES machines, at_ns INTEGER NOT NULL,
  serving INTEGER, starting INTEGER NOT NULL, rate INTEGER, simulated INTEGER NOT NULL,
  PRIMARY KEY (machine, at_ns, process)
) WITHOUT ROWID;
CREATE TABLE losses (
  process TEXT NOT NULL, at_ns INTEGER NOT NULL, records INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (process, at_ns)
) WITHOUT ROWID;
"""

MIGRATIONS: Sequence[str] = (_FIRST,)
"""The step at place n makes a file of version n one of version n + 1. A new, empty file is of version 0."""


class UnreadableLedgerError(ConfigurationError):
    """The file is no ledger, or one of a newer hybrid_infer."""


def version(db: sqlite3.Connection, path: object, *, latest: int = len(MIGRATIONS)) -> int:
    """The version of an open file; 0 for one that is new and empty.

    Raises:
        UnreadableLedgerError: it is something else, or newer than this package.
    """
    return version_of(
        db, path, called="ledger", application=APPLICATION_ID, latest=latest, error=UnreadableLedgerError
    )


def migrate(db: sqlite3.Connection, path: object, salt: bytes, *, steps: Sequence[str] = MIGRATIONS) -> None:
    """Bring an open file to the current version, within a transaction that the caller has begun.

    Args:
        salt: what the tags of a new file are hashed with.

    Raises:
        UnreadableLedgerError: see `version`.
    """
    found = version(db, path, latest=len(steps))
    for step in steps[found:]:
        # Not executescript: it would commit first, and another process might see half a file.
        for statement in step.split(";\n"):
            if statement.strip():
                db.execute(statement)
    if found == 0:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("INSERT INTO meta VALUES ('salt', ?)", (salt,))
    if found < len(steps):
        db.execute(f"PRAGMA user_version = {len(steps)}")
