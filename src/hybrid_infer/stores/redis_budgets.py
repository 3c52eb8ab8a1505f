"""Budgets that many processes share: all who name the same Redis and prefix."""

from __future__ import annotations

import math
from urllib.parse import quote

from hybrid_infer.stores.redis_scripts import CORRECT, SPEND
from hybrid_infer.stores.redis_shared import SharedRedis


class RedisBudgets:
    """What has been spent in each hour and day, as one number in Redis for each budget and window.

    While Redis is down, every process keeps to the budgets by itself.

    Args:
        prefix: what the names of keys begin with. The rest of a name is the budget's, percent-encoded.
    """

    def __init__(self, redis: SharedRedis, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def spend(self, name: str, window: int, amount: int, most: int, seconds: float) -> bool | None:
        """Add to what was spent in a window, unless that goes beyond `most`; None where Redis is down.

        Args:
            seconds: after which the window may be forgotten.
        """
        answer = await self._redis.ask(SPEND, (self._key(name, window),), (amount, most, math.ceil(seconds)))
        return None if answer is None else bool(answer)

    async def correct(self, name: str, window: int, change: int) -> None:
        """Add to, or take from, what was spent."""
        await self._redis.ask(CORRECT, (self._key(name, window),), (change,))

    def _key(self, name: str, window: int) -> str:
        return f"{self._prefix}:{{{quote(name, safe='')}}}:budget:{window}"
