"""Redis from the tasks of an event loop.

A room of waiting like a transport: what has to be known of the loop is which one it is, and when to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from hybrid_infer.stores.redis_address import AS_BYTES, SOCKET_TIMEOUT, open_pool, place_of
from hybrid_infer.stores.redis_scripts import Argument, Script


class TasksRedis:
    """Connections belong to the loop they were made in; in another one new ones are made. Those of a loop
    that was closed before `aclose` cannot be closed in order any more: they end when they are collected.

    Raises:
        ConfigurationError: see `open_pool`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = self._open()
        self.place = place_of(self._pool)
        self._longest = 2.0 * (self._pool.connection_kwargs.get("socket_timeout") or SOCKET_TIMEOUT)
        """Seconds one operation takes at most, over connecting, signing in and asking."""

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """See `Redis.run`."""
        client = self._client()
        async with asyncio.timeout(self._longest):
            try:
                return await client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await client.eval(script.source, len(keys), *keys, *arguments)

    async def command(self, *parts: bytes | Argument) -> Any:
        """See `Redis.command`."""
        client = self._client()
        async with asyncio.timeout(self._longest):
            return await client.execute_command(*parts, **AS_BYTES)

    async def aclose(self) -> None:
        if self._loop is asyncio.get_running_loop():
            await self._pool.disconnect()

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                self._pool = self._open()
            self._loop = loop
        return redis.asyncio.Redis(connection_pool=self._pool)

    def _open(self) -> Any:
        return open_pool(redis.asyncio.BlockingConnectionPool, Retry(NoBackoff(), 0), self._url)
