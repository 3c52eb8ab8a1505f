"""aiohttp as it is: one request, and `json()`. It knows no blocking calls."""

from __future__ import annotations

import aiohttp

from peers.base import KEY, MODEL, MOST, SENT, Peer


class Client(Peer):
    packages = ("aiohttp", "yarl", "multidict")

    async def begin(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST),
            timeout=aiohttp.ClientTimeout(total=60),
            headers={"authorization": f"Bearer {KEY}"},
        )
        self._chat = f"{self.url}/v1/chat/completions"

    async def aunary(self, model: str = MODEL) -> object:
        async with self._session.post(self._chat, json={**SENT, "model": model}) as response:
            return await response.json()
