"""Bills as the providers write them, made from the simulator's own invoice."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from both import Api
from hybrid_infer.runtime.virtual import EPOCH
from hybrid_infer.simulator.world import Invoice
from money.fleet import Ask, Fleet

INPUT, OUTPUT = Decimal("0.00000017"), Decimal("0.00000025")
"""USD a token of Qwen3.5-9B."""
H100_TOGETHER, H100_MODAL = Decimal("5.49"), Decimal("3.9492")
"""USD an hour."""
DAYS = 4
FIRST = EPOCH.date()
LAST = FIRST + timedelta(days=DAYS - 1)

Mornings = Callable[[int], Sequence[Ask]]
"""What is asked on which day, with times from 10 o'clock on."""


@dataclass
class Account:
    """The invoice at the end of each day, and what it comes to."""

    fleet: Fleet
    invoices: list[Invoice] = field(default_factory=list[Invoice])

    async def days(
        self,
        apis: Sequence[Api],
        mornings: Mornings,
        *,
        each_day: Callable[[int], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Let days pass."""
        midnight = 16 * 3600.0  # virtual time begins at 8 o'clock
        for day in range(DAYS):
            ten = midnight + (day - 1) * 86_400.0 + 36_000.0
            calls = [self.fleet.ask(apis, ask, ten) for ask in mornings(day)]
            await self.fleet.together(*calls, *([] if each_day is None else [each_day(day)]))
            await apis[0].runtime.sleep(midnight + day * 86_400.0 - self.fleet.now)
            self.invoices.append(self.fleet.invoice(self.fleet.now))

    def tokens(self, day: int) -> tuple[int, int]:
        return _minus(_tokens(self.invoices[day]), _tokens(self.invoices[day - 1]) if day else (0, 0))

    def dedicated(self, day: int) -> float:
        """Replica-seconds."""
        before = _seconds(self.invoices[day - 1]) if day else 0.0
        return _seconds(self.invoices[day]) - before

    def modal(self, day: int) -> float:
        before = self.invoices[day - 1].modal.seconds if day else 0.0
        return self.invoices[day].modal.seconds - before


def _tokens(invoice: Invoice) -> tuple[int, int]:
    return (
        sum(use.input_tokens for use in invoice.serverless),
        sum(use.output_tokens for use in invoice.serverless),
    )


def _minus(now: tuple[int, int], before: tuple[int, int]) -> tuple[int, int]:
    return now[0] - before[0], now[1] - before[1]


def _seconds(invoice: Invoice) -> float:
    return sum(use.seconds for use in invoice.dedicated)


def day_of(day: int) -> date:
    return FIRST + timedelta(days=day)


def item(product: str, quantity: Decimal, price: Decimal, **names: str) -> dict[str, Any]:
    """A line item, as `together.types.organization.BillingUsageLineItem` has it."""
    return {
        "product_name": product,
        "quantity": f"{quantity:f}",
        "unit_price": f"{price:f}",
        "cost": f"{quantity * price:f}",
        "pricing_dimensions": names,
        "attributes": {},
    }


def serverless_items(
    tokens: tuple[int, int], *, factor: Decimal = Decimal(1), unit: int = 1, model: str = "Qwen/Qwen3.5-9B"
) -> list[dict[str, Any]]:
    """`unit`: how many tokens the provider counts as one."""
    kinds = zip(("Input", "Output"), tokens, (INPUT, OUTPUT), strict=True)
    return [
        item(
            f"Serverless Inference - {kind} Tokens", Decimal(count) / unit, price * factor * unit, model=model
        )
        for kind, count, price in kinds
    ]


def dedicated_items(seconds: Decimal, price: Decimal = H100_TOGETHER) -> list[dict[str, Any]]:
    return [item("Dedicated Inference", seconds / 3600, price, endpoint="simulated/assistant")]


def together_report(items: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """An answer of `GET /v1/billing/usage`, a window for each day."""
    return {
        "object": "list",
        "billing_period": f"{FIRST:%Y-%m}",
        "currency": "USD",
        "organization_id": "org_1",
        "next_cursor": None,
        "data": [
            {
                "date": day_of(day).isoformat(),
                "start_time": f"{day_of(day)}T00:00:00Z",
                "end_time": f"{day_of(day + 1)}T00:00:00Z",
                "line_items": [*of],
            }
            for day, of in enumerate(items)
        ],
    }


def modal_report(costs: Sequence[Decimal], app: str = "llm", **resources: Decimal) -> list[dict[str, Any]]:
    """Rows of `modal billing report --json`; with `resources`, shares of each cost, those of the package."""
    return [
        {
            "object_id": "ap-1",
            "description": app,
            "environment": "main",
            "interval_start": f"{day_of(day)}T00:00:00",
            "cost": f"{cost:f}",
            **(
                {"cost_by_resource": {name: f"{cost * share:f}" for name, share in resources.items()}}
                if resources
                else {}
            ),
        }
        for day, cost in enumerate(costs)
    ]
