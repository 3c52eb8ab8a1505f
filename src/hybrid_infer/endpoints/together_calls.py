"""Calls of the `together` package, of either colour behind one awaitable surface, and in our errors.

`together.Together` returns what `together.AsyncTogether` has one await; awaiting only what can be awaited,
the blocking one never suspends. The package's own retries are off: they would sleep on the real clock.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from json import JSONDecodeError
from typing import Any, cast

from hybrid_infer.endpoints.errors import (
    CapacityError,
    EndpointConflictError,
    EndpointError,
    EndpointForbiddenError,
    EndpointNotFoundError,
    EndpointUnreachableError,
    QuotaError,
)
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.runtime.base import Runtime

HOST = "https://api.together.ai"
"""Where Together's control plane is (`together` 3.1.1)."""

TIMEOUT = 30.0
"""Seconds for one request of the control plane, each single wait of it."""

_TRIES = 5
_LONGEST = 8.0
_PAGES = 100


def together_client(*, base_url: str, api_key: str, blocking: bool, http_client: Any = None) -> Any:
    """A client of the package, whose credential goes to this address and nowhere else.

    Args:
        http_client: in the place of its own, an `httpx.Client` or `httpx.AsyncClient`.

    Raises:
        ConfigurationError: the package is not installed.
    """
    try:
        together: Any = import_module("together")
    except ImportError as error:
        if error.name not in (None, "together"):
            raise
        raise ConfigurationError(
            "machines of Together are started and stopped through its own package, which is missing: "
            "pip install 'hybrid-infer[together]'"
        ) from None
    # A redirect would be followed by default; with the credential.
    kind = together.DefaultHttpxClient if blocking else together.DefaultAsyncHttpxClient
    client = together.Together if blocking else together.AsyncTogether
    return client(
        api_key=api_key,
        base_url=base_url,
        timeout=TIMEOUT,
        max_retries=0,
        http_client=http_client or kind(follow_redirects=False),
    )


async def settled(value: Any) -> Any:
    """The value, awaited where it must be."""
    return await value if inspect.isawaitable(value) else value


class Calls:
    """Calls with one client of the package, repeated where that can help.

    Args:
        where: the machine, for errors.
        clean: removes credentials from text.

    Use it as an `async with`.
    """

    def __init__(self, client: Any, runtime: Runtime, *, where: str, clean: Callable[[str], str]) -> None:
        self.client = client
        self._runtime = runtime
        self._where = where
        self._clean = clean

    async def __aenter__(self) -> Calls:
        return self

    async def __aexit__(self, *_: object) -> None:
        await settled(self.client.close())

    async def ask(self, call: Callable[[], Any]) -> Any:
        """What a call returns.

        Raises:
            EndpointError: it was refused, or not answered however often it was repeated.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return self._whole(await settled(call()))
            except Exception as error:
                wrong = self._translated(error)
                if wrong is None:
                    raise
                if not isinstance(wrong, EndpointUnreachableError) or tries >= _TRIES:
                    raise wrong from None
            await self._runtime.sleep(min(2.0 ** (tries - 1), _LONGEST))

    async def all(self, call: Callable[[], Any]) -> list[Any]:
        """The rows of all pages."""
        page = await self.ask(call)
        rows: list[Any] = list(page.data or ())
        for _ in range(_PAGES):
            if not page.has_next_page():
                break
            page = await self.ask(page.get_next_page)
            rows += page.data or ()
        return rows

    def _whole(self, value: Any) -> Any:
        if isinstance(value, str):  # what the package makes of an answer that is no JSON
            raise EndpointUnreachableError(
                "Together's control plane sent something that is not its answer",
                where=self._where,
                said=self._clean(value[:200]),
            )
        return value

    def _translated(self, error: Exception) -> EndpointError | None:
        """The error in our words; None for what is none of the package's."""
        if isinstance(error, EndpointUnreachableError):
            return error
        if isinstance(error, JSONDecodeError):
            return EndpointUnreachableError(
                "Together's control plane sent something that cannot be read",
                where=self._where, said=self._clean(str(error)[:200]),
            )  # fmt: skip
        package = sys.modules.get("together")
        if package is None or not isinstance(error, package.TogetherError):
            return None
        status = getattr(error, "status_code", None)
        code, said = _words(error)
        said = self._clean(said)
        kind, message = _kind(status, code, said)
        return kind(message, where=self._where, said=said, status=status, code=code)


def _words(error: Any) -> tuple[str | None, str]:
    """The provider's code and sentence."""
    body: Any = getattr(error, "body", None)
    inner: Any = _get(body, "error") or body
    code = _get(inner, "code") or _get(inner, "type") or _get(inner, "status")
    said = _get(inner, "message") or getattr(error, "message", error)
    return None if code is None else str(code), str(said)[:500]


def _get(body: Any, name: str) -> Any:
    return cast("dict[str, Any]", body).get(name) if isinstance(body, dict) else None


def _kind(status: int | None, code: str | None, said: str) -> tuple[type[EndpointError], str]:
    words = f"{code} {said}".lower()
    if status is None:
        return EndpointUnreachableError, "Together's control plane did not answer"
    if status in (429, 503) and "quota" in words:
        return QuotaError, "the account's quota has no room for it"
    if status in (429, 503, 409, 400) and ("capacity" in words or "no gpus" in words):
        return CapacityError, "Together has no machine of this kind at the moment"
    if status == 401:
        return EndpointForbiddenError, "the API key is missing or wrong"
    if status == 403:
        return EndpointForbiddenError, "the API key may not do this"
    if status == 404:
        return EndpointNotFoundError, "it is not there"
    if status in (409, 412):
        return EndpointConflictError, "it was changed at the same time"
    if status in (408, 425, 429) or status >= 500:
        return EndpointUnreachableError, "Together's control plane cannot at the moment"
    return EndpointError, "Together refused it"
