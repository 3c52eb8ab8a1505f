"""Bills of the providers, read strictly: what is not understood is said, and never guessed. Pure.

Shapes: `GET /v1/billing/usage` as the package together 3.1.1 types it (`types/organization`);
`Workspace.billing.report()` and `modal billing report` as the package modal 1.6.4 has them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from hybrid_infer.calls.bills import Billed, Provider, TokenKind
from hybrid_infer.calls.call import MODES

_KINDS: Mapping[str, TokenKind] = {
    "Input Tokens": "input",
    "Output Tokens": "output",
    "Cached Input Tokens": "cached",
}
"""How Together's products of serverless inference end; "Input Tokens" is the one that is documented."""

PLAIN = ("day", "mode", "model", "cost_usd")
"""Columns of a table that was made by hand."""


@dataclass(slots=True, kw_only=True)
class Bill:
    """Attributes:
    lines: what was understood.
    covers: for each provider the last day of which it has anything.
    problems: what was not understood, a sentence each.
    """

    lines: list[Billed] = field(default_factory=list[Billed])
    covers: dict[Provider, date] = field(default_factory=dict[Provider, date])
    problems: list[str] = field(default_factory=list[str])

    def add(self, line: Billed) -> None:
        self.lines.append(line)
        self.cover(line.provider, line.day)

    def cover(self, provider: Provider, day: date) -> None:
        self.covers[provider] = max(day, self.covers.get(provider, day))

    def extend(self, other: Bill) -> None:
        self.lines += other.lines
        self.problems += other.problems
        for provider, day in other.covers.items():
            self.cover(provider, day)


def together_page(page: object, bill: Bill) -> str | None:
    """Add one answer of `GET /v1/billing/usage` to the bill.

    Returns:
        the cursor of the next page; None after the last.

    Raises:
        ValueError: it is something else.
    """
    report = _object(page, "the answer")
    windows = report.get("data")
    if report.get("object") != "list" or not isinstance(windows, list):
        raise ValueError("it is not a list of billing windows")
    if report.get("currency") != "USD":
        raise ValueError(f"its currency is {report.get('currency')!r}, and only USD is understood")
    for window in cast("list[object]", windows):
        fields = _object(window, "a window")
        day = _day(fields.get("date"))
        items = fields.get("line_items")
        if not isinstance(items, list):
            raise ValueError(f"the window of {day} has no line_items")
        bill.cover("together", day)
        for item in cast("list[object]", items):
            bill.add(_together_line(_object(item, "a line item"), day))
    cursor = report.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor else None


def modal_items(items: Iterable[object], bill: Bill) -> None:
    """Add the rows of `Workspace.billing.report()`, or of `modal billing report --json`, to the bill.

    Raises:
        ValueError: they are something else.
    """
    for item in items:
        is_row = isinstance(item, Mapping)
        bill.add(_modal_line(cast("Mapping[str, object]", item) if is_row else _attributes(item)))


def read_bill(text: str) -> Bill:
    """A bill that was exported by hand.

    It is Together's answer as JSON (a page, or a list of pages), what `modal billing report` prints with
    ``--json`` or ``--csv``, or a table of your own: CSV with the columns `PLAIN`.

    Raises:
        ValueError: it is none of these; says why.
    """
    bill = Bill()
    if text.lstrip()[:1] in ("{", "["):
        try:
            content: Any = json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise ValueError(f"it is not JSON: {error}") from None
        pages = cast("list[object]", content if isinstance(content, list) else [content])
        if all(isinstance(page, dict) and "data" in page for page in pages):
            for page in pages:
                together_page(page, bill)
        else:
            modal_items(pages, bill)
        return bill
    rows = csv.DictReader(io.StringIO(text))
    columns = set(rows.fieldnames or ())
    if set(PLAIN) <= columns:
        for row in rows:
            bill.add(_plain_line(row))
    elif {"Object ID", "Description", "Interval Start", "Cost"} <= columns:
        modal_items(_snake_case(rows), bill)
    else:
        raise ValueError(
            f"its columns are {', '.join(columns) or 'none'}: neither those of `modal billing report --csv` "
            f"nor {', '.join(PLAIN)}"
        )
    return bill


def _together_line(item: Mapping[str, object], day: date) -> Billed:
    product = _text(item, "product_name")
    names = [
        value
        for part in ("pricing_dimensions", "attributes")
        for value in _object(item.get(part), part).values()
        if isinstance(value, str)
    ]
    return Billed(
        day=day,
        provider="together",
        product=product,
        cost=_number(item, "cost"),
        names=frozenset(names),
        kind=_KINDS.get(product.rpartition(" - ")[2]),
        quantity=_number(item, "quantity"),
        unit_price=_number(item, "unit_price"),
    )


def _modal_line(row: Mapping[str, object]) -> Billed:
    cost = _number(row, "cost")
    resources = row.get("cost_by_resource")
    resource = row.get("resource")
    named: dict[str, Decimal] = {}
    if isinstance(resources, Mapping):
        given = cast("Mapping[str, object]", resources)
        named = {name: _number(given, name) for name in given}
    elif isinstance(resource, str) and resource:
        named = {resource: cost}
    app = _text(row, "description")
    return Billed(
        day=_day(row.get("interval_start")),
        provider="modal",
        product=app,
        cost=cost,
        names=frozenset({app, _text(row, "object_id")}),
        resources=named,
    )


def _plain_line(row: Mapping[str, str | None]) -> Billed:
    mode = row["mode"]
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: must be one of {', '.join(MODES)}")
    return Billed(
        day=_day(row["day"]),
        provider="modal" if mode == "modal" else "together",
        product=f"{mode} {row['model']}",
        cost=_number(row, "cost_usd"),
        mode=mode,
        model=row["model"],
    )


def _attributes(item: object) -> dict[str, object]:
    names = ("object_id", "description", "interval_start", "cost", "cost_by_resource")
    return {name: getattr(item, name, None) for name in names}


def _snake_case(rows: Iterable[Mapping[str, str]]) -> Iterator[dict[str, object]]:
    for row in rows:
        yield {name.lower().replace(" ", "_"): value for name, value in row.items() if name}


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is not an object")
    return cast("Mapping[str, object]", value)


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing, or no text")
    return value


def _number(row: Mapping[str, object], name: str) -> Decimal:
    value = row.get(name)
    try:
        if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            number = Decimal(value)
            if number.is_finite():
                return number
    except InvalidOperation:
        pass
    raise ValueError(f"{name} is {value!r}, and no number")


def _day(value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value).date()
    except ValueError:
        pass
    raise ValueError(f"{value!r} is no day")
