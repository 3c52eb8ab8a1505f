"""The openai package, which brings its own successor of httpx."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import openai

from peers.base import KEY, MESSAGES, MODEL, MOST, OPTIONS, TEXTS, Peer

LIMITS = httpx2.Limits(max_connections=MOST, max_keepalive_connections=MOST)


class Client(Peer):
    packages = ("openai", "httpx2", "pydantic")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = openai.OpenAI(
            api_key=KEY, base_url=f"{url}/v1", http_client=openai.DefaultHttpxClient(limits=LIMITS)
        )

    def unary(self, model: str = MODEL) -> object:
        return self._client.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS)

    def stream(self) -> Iterator[object]:
        return self._client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, **OPTIONS)

    def embed(self) -> object:
        return self._client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")

    async def begin(self) -> None:
        carrier = openai.DefaultAsyncHttpxClient(limits=LIMITS)
        self._async = openai.AsyncOpenAI(api_key=KEY, base_url=f"{self.url}/v1", http_client=carrier)

    async def aunary(self, model: str = MODEL) -> object:
        return await self._async.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS)
