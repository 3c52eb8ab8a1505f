"""Many calls at once, in either colour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from both import Api
from hybrid_infer.aclient import AsyncClient
from hybrid_infer.runtime.step import step

Body = Callable[[], Coroutine[Any, Any, Any]]


async def together(api: Api, *bodies: Body) -> list[Any]:
    """What each comes to, in order: its result, or the error it raised. In tasks, or in a thread each."""
    if isinstance(api.client, AsyncClient):
        return await asyncio.gather(*(body() for body in bodies), return_exceptions=True)
    runtime: Any = api.runtime
    found: list[Any] = runtime.run(*(partial(_caught, body) for body in bodies))
    return found


def _caught(body: Body) -> Any:
    try:
        return step(body())
    except Exception as error:
        return error
