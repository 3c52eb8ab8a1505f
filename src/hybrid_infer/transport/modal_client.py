"""The connection to Modal, and the functions known over it. All of it is in the loop of `functions_loop`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from hybrid_infer.calls.functions import FunctionName
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport.modal_notices import listen

_THROTTLE = "MODAL_MAX_THROTTLE_WAIT"
_SHORTEST_SECRET = 4


def modal_package(max_throttle_wait: int | None) -> Any:
    """The package, imported at first use: that takes a fifth of a second.

    Where Modal throttles, its package by default waits and asks again without end. The only bound it has is a
    setting of the process, ``MODAL_MAX_THROTTLE_WAIT``, which is read at every such answer. Unless the
    environment or ``~/.modal.toml`` has one, it is set here to `max_throttle_wait` seconds, so that limits
    and retries of this client get to know that Modal throttles. None leaves it alone; the deadline of a call
    bounds the wait all the same.

    Raises:
        ConfigurationError: it is not installed, or is of a kind that cannot be used.
    """
    try:
        modal = import_module("modal")
        settings = import_module("modal.config").config
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "modal":
            raise ConfigurationError(f"the modal package cannot be imported: {error}") from None
        raise ConfigurationError(
            "functions on Modal need its package: pip install 'hybrid-infer[modal]'"
        ) from None
    if max_throttle_wait is not None and settings.get("max_throttle_wait") is None:
        os.environ.setdefault(_THROTTLE, str(max_throttle_wait))
    listen()
    return modal


class Connection:
    """Opened by the first call that needs it; whoever comes meanwhile waits for the same one.

    Args:
        token: gives the id (``ak-…``) and secret (``as-…``); None leaves both to Modal's own configuration:
            ``MODAL_TOKEN_ID`` and ``MODAL_TOKEN_SECRET``, or a profile. Where that has no token (OAuth, or
            inside a Modal container), the client that the package keeps for the whole process is taken.
    """

    def __init__(self, modal: Any, token: Callable[[], tuple[str, str]] | None) -> None:
        self._modal = modal
        self._token = token
        self._own = True
        self._secrets: tuple[str, ...] = ()
        self._opening: asyncio.Task[Any] | None = None
        self._waiting = 0
        self._client: Any = None
        self._known: dict[FunctionName, Any] = {}

    async def client(self) -> Any:
        """The connected client. When nobody waits for it any more, connecting is given up."""
        if self._client is not None:
            return self._client
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open())
        opening = self._opening
        self._waiting += 1
        try:
            return await asyncio.shield(opening)
        finally:
            self._waiting -= 1
            if not self._waiting and not opening.done():
                opening.cancel()
                self._opening = None

    def known(self, name: FunctionName) -> Any | None:
        """The handle of a function that has been looked up."""
        return self._known.get(name)

    def forget(self, name: FunctionName) -> None:
        """It may have been deployed anew."""
        self._known.pop(name, None)

    async def look_up(self, name: FunctionName, client: Any) -> Any:
        """The handle of a function, remembered: one RPC for a function, two for a method."""
        modal = self._modal
        if name.method is None:
            handle = modal.Function.from_name(
                name.app, name.tag, environment_name=name.environment, client=client
            )
        else:
            cls = modal.Cls.from_name(name.app, name.tag, environment_name=name.environment, client=client)
            handle = getattr(cls(), name.method)
        await handle.hydrate.aio()
        self._known[name] = handle
        return handle

    def redact(self, text: str) -> str:
        """The text without the credentials that were shown: a server may echo them."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def aclose(self) -> None:
        self._known.clear()
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        client, self._client = self._client, None
        if client is not None and self._own:
            await client.close.aio()

    async def _open(self) -> Any:
        modal = self._modal
        settings: Any = import_module("modal.config").config
        if self._token is not None:
            token = self._token()
        else:
            token = (settings.get("token_id") or "", settings.get("token_secret") or "")
        self._secrets = tuple(part for part in token if len(part) >= _SHORTEST_SECRET)
        inside = self._token is None and os.environ.get("MODAL_IS_REMOTE") == "1"
        self._own = all(token) and not inside
        if self._own:
            self._client = await modal.Client.from_credentials.aio(*token)
        else:
            self._client = await modal.Client.from_env.aio()
        return self._client


def place(modal: Any) -> str:
    """Where Modal's control plane is, for messages."""
    url = str(import_module("modal.config").config.get("server_url"))
    return url.partition(",")[0].partition("://")[2].rpartition("@")[2] or url
