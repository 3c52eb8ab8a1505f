"""Live prices: what the providers' own lists say, and the file that keeps it with its date.

Reading a list is pure; whoever fetches brings a function. Shapes as recorded from Together on 2026-10-02, and
of the `modal` package 1.6 (`Workspace.billing.rates()`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, cast

from hybrid_infer.errors import APIError, APIResponseError
from hybrid_infer.prices.tables import (
    GpuPrice,
    ResourcePrice,
    Tables,
    TokenPrice,
    UnitPrice,
    gpu_key,
    gpu_names,
)
from hybrid_infer.prices.tables import nano as nano_of

Fetch: TypeAlias = Callable[[str], object]
"""Gets a path at the provider (``"/v1/models"``) and returns the decoded JSON. Raises our errors."""

ListName = Literal["together-models", "together-supported-models", "together-instances", "modal-rates"]

PATHS: Mapping[ListName, str] = {
    "together-models": "/v1/models",
    "together-supported-models": "/v2/supported-models",
    "together-instances": "/v2/public/inference-instance-types",
}
_SERVERLESS, _DEDICATED = "together-serverless", "together-dedicated"
_MOST_PAGES = 100
_CATALOGUE = "a price in the catalogue does not say that the model is served without a dedicated endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveList:
    """One provider's list, as it was at `fetched` (UTC)."""

    name: ListName
    fetched: datetime
    rows: Tables


def merged(lists: Iterable[LiveList]) -> Tables:
    """All rows. Where two lists have the same one, that of `/v2/supported-models`: it states its unit."""
    both = Tables()
    for one in sorted(lists, key=lambda one: one.name == "together-supported-models"):
        both.tokens.update(one.rows.tokens)
        both.gpus.update(one.rows.gpus)
        both.resources.update(one.rows.resources)
        both.units.update(one.rows.units)
    return both


def fetch_together(fetch: Fetch, now: datetime) -> tuple[list[LiveList], dict[ListName, APIError]]:
    """Together's three lists; those that could not be read with their errors."""
    found: list[LiveList] = []
    failed: dict[ListName, APIError] = {}
    for name, path in PATHS.items():
        try:
            rows = _READ[name](_pages(fetch, path), now.date())
        except APIError as error:
            failed[name] = error
        else:
            found.append(LiveList(name=name, fetched=now, rows=rows))
    return found, failed


def modal_rates(rates: Mapping[str, object], now: datetime) -> LiveList:
    """What ``modal.Workspace.from_context().billing.rates()`` returned: USD per hour by resource.

    Sandboxes and notebooks have rates of their own; they are left out, and so is what is not known here.
    """
    source = "Modal's Workspace.billing.rates()"
    rows = Tables()
    for key, value in rates.items():
        amount = _amount(value)
        if amount is None or key.endswith("_sandbox"):
            continue
        if key.startswith("gpu_hour_cost_"):
            gpu = key.removeprefix("gpu_hour_cost_").replace("_", "-").upper()
            _add_gpu(rows, "modal", GpuPrice(gpu=gpu, nano_per_hour=amount, as_of=now.date(), source=source))
        elif key in _RESOURCES:
            resource = _RESOURCES[key]
            rows.resources["modal", resource] = ResourcePrice(
                resource=resource, nano_per_hour=amount, as_of=now.date(), source=source
            )
    if not rows.gpus:
        raise APIResponseError("no GPU prices in what it returned", where=source)
    return LiveList(name="modal-rates", fetched=now, rows=rows)


_RESOURCES: Mapping[str, Literal["cpu", "memory"]] = {"cpu_hour_cost": "cpu", "mem_gib_hour_cost": "memory"}


def _pages(fetch: Fetch, path: str) -> list[Mapping[str, Any]]:
    """The entries of a list: a bare array, or pages with a cursor."""
    entries: list[Mapping[str, Any]] = []
    after: object = None
    for _ in range(_MOST_PAGES):
        page = fetch(path if after is None else f"{path}?after={after}")
        after = None
        if isinstance(page, dict):
            table = cast("dict[str, object]", page)
            page, after = table.get("data"), table.get("next_cursor")
        if not isinstance(page, list):
            raise APIResponseError("the answer is not a list", where=path)
        listed = cast("list[object]", page)
        entries += [cast("dict[str, Any]", one) for one in listed if isinstance(one, dict)]
        if not isinstance(after, str) or not after:
            return entries
    raise APIResponseError(f"more than {_MOST_PAGES} pages", where=path)


def _catalogue(entries: Iterable[Mapping[str, Any]], day: date) -> Tables:
    """`GET /v1/models`. The unit is not stated; it is USD per million tokens."""
    rows = Tables()
    for entry in entries:
        pricing = _pricing(entry)
        source = f"Together's live GET {PATHS['together-models']}"
        model = entry.get("id")
        if not isinstance(model, str):
            continue
        minute = _amount(_pricing(pricing, "transcribe").get("price_per_minute"))
        if minute:
            rows.units[_SERVERLESS, model] = UnitPrice(
                model=model, unit="minute", nano=minute, as_of=day, source=source
            )
        _add_tokens(rows, model, pricing, "cached_input", day, source, _CATALOGUE)
    return rows


def _supported(entries: Iterable[Mapping[str, Any]], day: date) -> Tables:
    """`GET /v2/supported-models`: USD per million tokens."""
    rows = Tables()
    source = f"Together's live GET {PATHS['together-supported-models']}"
    for entry in entries:
        model = entry.get("id")
        if isinstance(model, str):
            _add_tokens(rows, model, _pricing(entry), "cachedInput", day, source, None)
    return rows


def _instances(entries: Iterable[Mapping[str, Any]], day: date) -> Tables:
    """`GET /v2/public/inference-instance-types`: cents per hour of one running replica.

    Of a card that is offered in several numbers the smallest counts: the price is linear in them.
    """
    rows, counts = Tables(), dict[str, int]()
    source = f"Together's live GET {PATHS['together-instances']}"
    for entry in entries:
        gpu, count = entry.get("gpuType"), entry.get("gpuCount")
        cents = _amount(entry.get("priceCentsPerHour"))
        if not isinstance(gpu, str) or not isinstance(count, int) or count < 1 or not cents:
            continue
        key = gpu_key(gpu)
        if counts.get(key, count) >= count:
            counts[key] = count
            hourly = cents // 100 // count
            row = GpuPrice(gpu=gpu, nano_per_hour=hourly, as_of=day, source=source)
            _add_gpu(rows, _DEDICATED, row)
    return rows


_READ: Mapping[ListName, Callable[[Iterable[Mapping[str, Any]], date], Tables]] = {
    "together-models": _catalogue,
    "together-supported-models": _supported,
    "together-instances": _instances,
}


def _add_tokens(
    rows: Tables,
    model: str,
    pricing: Mapping[str, Any],
    cached: str,
    day: date,
    source: str,
    note: str | None,
) -> None:
    """A row, unless both prices are 0: the lists say 0 of what is not paid by tokens."""
    price_in, price_out = _amount(pricing.get("input")), _amount(pricing.get("output"))
    if not price_in:
        return
    rows.tokens[_SERVERLESS, model] = TokenPrice(
        model=model,
        input=price_in,
        output=price_out,
        cached=_amount(pricing.get(cached)) or None,
        as_of=day,
        source=source,
        note=note,
    )


def _add_gpu(rows: Tables, mode: str, row: GpuPrice) -> None:
    for name in gpu_names(mode, gpu_key(row.gpu)):
        rows.gpus[mode, name] = row


def _pricing(entry: Mapping[str, Any], key: str = "pricing") -> Mapping[str, Any]:
    found = entry.get(key)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _amount(value: object) -> int | None:
    """USD as nano-dollars; None where it is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return nano_of(amount) if amount.is_finite() and amount >= 0 else None


def to_json(lists: Iterable[LiveList]) -> dict[str, Any]:
    """The lists as the file keeps them: amounts in nano-dollars."""
    return {
        "version": 1,
        "lists": {
            one.name: {
                "fetched": one.fetched.isoformat(),
                "tokens": [
                    [mode, row.model, row.input, row.output, row.cached, row.source, row.note]
                    for (mode, _), row in one.rows.tokens.items()
                ],
                "gpus": [
                    [mode, key, row.gpu, row.nano_per_hour, row.source]
                    for (mode, key), row in one.rows.gpus.items()
                ],
                "resources": [
                    [mode, row.resource, row.nano_per_hour, row.source]
                    for (mode, _), row in one.rows.resources.items()
                ],
                "units": [
                    [mode, row.model, row.unit, row.nano, row.source]
                    for (mode, _), row in one.rows.units.items()
                ],
            }
            for one in lists
        },
    }


def from_json(content: Mapping[str, Any]) -> list[LiveList]:
    """The lists of a file.

    Raises:
        ValueError: it is not one of ours.
    """
    try:
        if content["version"] != 1:
            raise ValueError(f"version {content['version']} is not known")
        return [_from_json(name, one) for name, one in content["lists"].items()]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a file of prices: {error!r}") from None


def _from_json(name: ListName, one: Mapping[str, Any]) -> LiveList:
    fetched = datetime.fromisoformat(one["fetched"]).astimezone(UTC)
    day, rows = fetched.date(), Tables()
    for mode, model, price, output, cached, source, note in one["tokens"]:
        rows.tokens[mode, model] = TokenPrice(
            model=model, input=price, output=output, cached=cached, as_of=day, source=source, note=note
        )
    for mode, key, gpu, hourly, source in one["gpus"]:
        rows.gpus[mode, key] = GpuPrice(gpu=gpu, nano_per_hour=hourly, as_of=day, source=source)
    for mode, resource, hourly, source in one["resources"]:
        rows.resources[mode, resource] = ResourcePrice(
            resource=resource, nano_per_hour=hourly, as_of=day, source=source
        )
    for mode, model, unit, amount, source in one["units"]:
        rows.units[mode, model] = UnitPrice(model=model, unit=unit, nano=amount, as_of=day, source=source)
    return LiveList(name=name, fetched=fetched, rows=rows)
