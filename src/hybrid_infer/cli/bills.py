"""Where bills come from: Together over HTTP, Modal through its package, or files exported by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hybrid_infer.errors import APIConnectionError, APIResponseError, ConfigurationError

if TYPE_CHECKING:
    from hybrid_infer.prices.bills import Bill
    from hybrid_infer.settings import Settings

USAGE = "/v1/billing/usage"
MOST_WINDOWS = 1000


def together_bill(settings: Settings, since: date, until: date) -> Bill:
    """What Together billed from `since` on and before `until`. The key goes to Together's address alone.

    Raises:
        ConfigurationError: there is no key.
        APIError: it could not be had, or has another shape.
    """
    from hybrid_infer.cli.price_lists import together
    from hybrid_infer.prices.bills import Bill, together_page

    fetch = together(settings)
    bill = Bill()
    for month in _months(since, until):
        cursor: str | None = None
        while True:
            query = {"month": month, "granularity": "day", "limit": MOST_WINDOWS}
            path = f"{USAGE}?{urlencode(query | ({'after': cursor} if cursor else {}))}"
            before, page = cursor, fetch(path)
            try:
                cursor = together_page(page, bill)
            except ValueError as error:
                raise APIResponseError(f"not a bill as it is known: {error}", where=USAGE) from None
            if cursor is None or cursor == before:
                break
    return bill


def modal_bill(settings: Settings, since: date, until: date) -> Bill:
    """What Modal billed, through the package `modal`, with its own credentials.

    Raises:
        ConfigurationError: the package is not installed.
        APIConnectionError: it could not be had.
    """
    from hybrid_infer.prices.bills import Bill, modal_items
    from hybrid_infer.settings import reveal

    try:
        package: Any = import_module("modal")
    except ImportError:
        raise ConfigurationError(
            "Modal's bill comes through its package: pip install modal, or export it with "
            "`modal billing report --csv` and give it with --bill"
        ) from None
    try:
        client = None
        if settings.modal_token_id is not None and settings.modal_token_secret is not None:
            token = reveal(settings.modal_token_id), reveal(settings.modal_token_secret)
            client = package.Client.from_credentials(*token)
        workspace = package.Workspace.from_context(client=client)
        items: Any = workspace.billing.report(start=_begin(since), end=_begin(until), resolution="d")
    except Exception as error:  # the package's own errors, of whatever kind
        raise APIConnectionError(
            f"{type(error).__name__}: {error}",
            where="the modal package",
            hint="billing is for owners and managers of a workspace; run `modal token new`, or set "
            "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
        ) from None
    bill = Bill()
    try:
        modal_items(items, bill)
    except ValueError as error:
        raise APIResponseError(f"not a bill as it is known: {error}", where="the modal package") from None
    # It has full days only, and nothing of a day without use.
    bill.cover("modal", min(until, datetime.now(UTC).date()) - timedelta(days=1))
    return bill


def bill_of_files(files: Iterable[Path]) -> Bill:
    """Bills that were exported by hand.

    Raises:
        ConfigurationError: one cannot be read; says why.
    """
    from hybrid_infer.prices.bills import Bill, read_bill

    bill = Bill()
    for path in files:
        try:
            bill.extend(read_bill(path.read_text("utf-8-sig")))
        except OSError as error:
            raise ConfigurationError(f"--bill {path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigurationError(f"--bill {path}: {error}") from None
    return bill


def _months(since: date, until: date) -> Iterator[str]:
    month = since.replace(day=1)
    while month < until:
        yield f"{month:%Y-%m}"
        month = (month + timedelta(days=32)).replace(day=1)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
