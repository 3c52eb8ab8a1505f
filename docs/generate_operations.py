"""Writes docs/operations_table.md from the table of operations that the package has.

python docs/generate_operations.py           write the table
python docs/generate_operations.py --check   fail where it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from hybrid_infer import MODES
from hybrid_infer.calls.operations import OPERATIONS

PAGE = Path(__file__).with_name("operations_table.md")


def table() -> str:
    """A row for each method, a column for each mode."""
    rows = [f"| | {' | '.join(f'`{mode}`' for mode in MODES)} |", "|---|" + ":-:|" * len(MODES)]
    for called in dict.fromkeys(spec.called for spec in OPERATIONS.values()):
        modes = next(spec.modes for spec in OPERATIONS.values() if spec.called == called)
        rows.append(f"| `{called}` | {' | '.join('yes' if mode in modes else 'no' for mode in MODES)} |")
    return "\n".join(["<!-- Written by docs/generate_operations.py. -->", "", *rows, ""])


def main() -> int:
    if "--check" in sys.argv:
        if PAGE.read_text("utf-8") != table():
            print(f"{PAGE} is out of date: run python docs/generate_operations.py")
            return 1
        return 0
    PAGE.write_text(table(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
