"""The together package."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import together

from peers.base import KEY, MESSAGES, MODEL, MOST, OPTIONS, TEXTS, Peer

LIMITS = httpx.Limits(max_connections=MOST, max_keepalive_connections=MOST)


class Client(Peer):
    packages = ("together", "httpx", "pydantic")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = together.Together(
            api_key=KEY, base_url=f"{url}/v1", http_client=together.DefaultHttpxClient(limits=LIMITS)
        )

    def unary(self, model: str = MODEL) -> object:
        return self._client.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS)

    def stream(self) -> Iterator[object]:
        return self._client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, **OPTIONS)

    def embed(self) -> object:
        return self._client.embeddings.create(model=MODEL, input=TEXTS)

    async def begin(self) -> None:
        carrier = together.DefaultAsyncHttpxClient(limits=LIMITS)
        self._async = together.AsyncTogether(api_key=KEY, base_url=f"{self.url}/v1", http_client=carrier)

    async def aunary(self, model: str = MODEL) -> object:
        return await self._async.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS)
