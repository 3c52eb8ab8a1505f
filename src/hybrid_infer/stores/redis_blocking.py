"""Redis from threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from hybrid_infer.stores.redis_address import AS_BYTES, open_pool, place_of
from hybrid_infer.stores.redis_scripts import Argument, Script


class BlockingRedis:
    """Its coroutines end without ever suspending. Safe to share between threads, and across a fork: the pool
    of redis-py looks at the process id and starts anew in a child.

    Raises:
        ConfigurationError: see `open_pool`.
    """

    def __init__(self, url: str) -> None:
        self._pool = open_pool(redis.BlockingConnectionPool, Retry(NoBackoff(), 0), url)
        self._client: Any = redis.Redis(connection_pool=self._pool)
        self.place = place_of(self._pool)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """See `Redis.run`."""
        try:
            return self._client.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return self._client.eval(script.source, len(keys), *keys, *arguments)

    async def command(self, *parts: bytes | Argument) -> Any:
        """See `Redis.command`."""
        return self._client.execute_command(*parts, **AS_BYTES)

    async def aclose(self) -> None:
        self._pool.disconnect()
