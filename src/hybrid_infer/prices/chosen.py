"""The PriceBook that the settings ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_infer.prices.book import Containers, PriceBook
from hybrid_infer.prices.cache import default_path, kept
from hybrid_infer.prices.settling import settle
from hybrid_infer.prices.user import user_prices

if TYPE_CHECKING:
    from hybrid_infer.calls.call import Target
    from hybrid_infer.calls.machines import MachineReport, Role, StateChange
    from hybrid_infer.prices.rates import Offered
    from hybrid_infer.settings import Settings


def price_book(
    settings: Settings,
    *,
    others: Callable[[Target], Sequence[Offered]] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> PriceBook:
    """The user's prices over live ones over the shipped tables. Simulated providers have no live prices, so
    that the same seed costs the same everywhere.

    Args:
        others: where else the model of a target is served.
    """
    return PriceBook(
        user=user_prices(settings.prices),
        live=None if settings.simulate else kept(cache_file(settings, environ)),
        containers=Containers(
            region_multiplier=settings.modal_region_multiplier,
            nonpreemptible=settings.modal_nonpreemptible,
            scaledown_window=settings.modal_scaledown_window,
            concurrency=settings.modal_concurrency,
        ),
        others=others,
    )


def machine_division(settings: Settings) -> Callable[..., tuple[list[int], list[MachineReport]]]:
    """How the time of a machine is divided among the processes that used it, at the terms of its mode."""
    book = price_book(settings)

    def divide(
        mode: str,
        nano_per_hour: int | None,
        stays: Iterable[tuple[int, int, int]],
        roles: Sequence[Role],
        *,
        states: Sequence[StateChange],
        marks: Sequence[int] = (),
        alike: Sequence[int] | None = None,
    ) -> tuple[list[int], list[MachineReport]]:
        terms = book.terms_in(mode, nano_per_hour)
        return settle(terms, stays, roles, states=states, marks=marks, alike=alike)

    return divide


def cache_file(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where live prices are kept; None where there is no place for them."""
    return default_path(environ) if settings.prices_cache is None else Path(settings.prices_cache)
