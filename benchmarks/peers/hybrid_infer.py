"""This package, with its whole default stack; aiohttp carries its async calls."""

from __future__ import annotations

from collections.abc import Iterator

import hybrid_infer
from peers.base import KEY, MESSAGES, MODEL, MOST, OPTIONS, TEXTS, Peer


class Client(Peer):
    packages = ("hybrid-infer", "httpcore", "aiohttp", "pydantic", "opentelemetry-api")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._options = {
            "mode": "together-serverless",
            "base_url": url,
            "api_key": KEY,
            "model": MODEL,
            "max_connections": MOST,
            "max_keepalive": MOST,
        }
        self._client = hybrid_infer.Client(**self._options)
        self._keeping: hybrid_infer.Client | None = None

    def unary(self, model: str = MODEL) -> object:
        return self._client.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS)

    def stream(self) -> Iterator[object]:
        return self._client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True, **OPTIONS)

    def embed(self) -> object:
        return self._client.embeddings.create(model=MODEL, input=TEXTS)

    def hit(self) -> object:
        if self._keeping is None:
            self._keeping = hybrid_infer.Client(**self._options, cache="memory")
        return self._keeping.chat.completions.create(
            model=MODEL, messages=MESSAGES, **{**OPTIONS, "temperature": 0}
        )

    async def begin(self) -> None:
        self._async = hybrid_infer.AsyncClient(**self._options)

    async def aunary(self, model: str = MODEL) -> object:
        return await self._async.chat.completions.create(model=model, messages=MESSAGES, **OPTIONS)
