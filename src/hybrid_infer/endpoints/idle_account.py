"""What idle machines cost today, counted by all processes that share a store of leases."""

from __future__ import annotations

from hybrid_infer.endpoints.base import Endpoint
from hybrid_infer.endpoints.errors import IdleBudgetError
from hybrid_infer.endpoints.idle import IdleBudget, IdleSpent, idle_spent
from hybrid_infer.endpoints.state import HourlyPrice
from hybrid_infer.runtime.base import Runtime
from hybrid_infer.stores.leases.base import LeaseStore, LeasesUnavailableError

_ENTRY = "idle"
_TRIES = 20
_UNPRICED = "its price is unknown, so that no budget for idle machines can be held"


class IdleAccount:
    """One account for each store.

    Args:
        budget: None is no limit, and then nothing is counted.
    """

    def __init__(self, store: LeaseStore, runtime: Runtime, budget: IdleBudget | None) -> None:
        self._store = store
        self._runtime = runtime
        self._budget = budget

    async def count(self, seconds: float, price: HourlyPrice | None, replicas: int) -> str | None:
        """Add idle time. None where it may go on; else why not.

        Raises:
            LeasesUnavailableError: nothing was counted.
        """
        if self._budget is None:
            return None
        if price is None:
            return _UNPRICED
        for _ in range(_TRIES):
            before = await self._store.journal(_ENTRY)
            spent = self._budget.spend(idle_spent(before, self._runtime.wall()), seconds, price, replicas)
            if await self._store.set_journal(_ENTRY, spent.text(), if_was=before):
                return None if self._budget.allows(spent) else _over(self._budget, spent)
        raise LeasesUnavailableError("too many processes count at the same time")

    async def spent(self) -> IdleSpent:
        """Today's (UTC)."""
        return idle_spent(await self._store.journal(_ENTRY), self._runtime.wall())

    async def check(self, endpoint: Endpoint, *, priced: bool = False) -> None:
        """See whether a machine may be kept while idle.

        Args:
            priced: it is known to have a price; else the provider is asked.

        Raises:
            IdleBudgetError: it may not.
        """
        if self._budget is None:
            return
        spent = await self.spent()
        if not self._budget.allows(spent):
            raise IdleBudgetError(_over(self._budget, spent), where=endpoint.name)
        if not priced and (await endpoint.state()).price is None:
            raise IdleBudgetError(
                _UNPRICED, where=endpoint.name, hint="say what it costs an hour, or set no budget"
            )


def _over(budget: IdleBudget, spent: IdleSpent) -> str:
    used = f"{spent.usd:.2f} of {budget.usd:.2f} USD on {spent.day} (UTC)"
    return f"the budget for idle machines is spent: {used}"
