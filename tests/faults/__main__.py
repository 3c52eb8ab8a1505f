"""`make faults`: every fault in every case, one table. The exit code is 1 if anything is wrong."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from faults.cases import FAULTS
from faults.matrix import all_rows
from faults.report import Row, last_line, table

_NOT_OURS = ("HYBRID_INFER_", "TOGETHER_", "MODAL_", "OPENAI_", "OTEL_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), metavar="FAULT", help="this fault")
    parser.add_argument("--json", action="store_true", help="a JSON array of all rows in place of the table")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    for name in list(os.environ):  # nothing of the caller's shell may decide what is tested
        if name.startswith(_NOT_OURS) or name.lower() in _PROXIES:
            del os.environ[name]
    faults = list(FAULTS) if options.only is None else options.only
    rows: list[Row] = []
    for done, some in enumerate(all_rows(faults, options.jobs), 1):
        rows += some
        if sys.stderr.isatty():
            print(f"\r{done} of {2 * len(faults)} parts, {last_line(rows)}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    order = {fault: number for number, fault in enumerate(faults)}
    rows.sort(key=lambda row: order[row.fault])
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print("\n".join(table(rows)))
    return int(any(row.outcome == "wrong" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
