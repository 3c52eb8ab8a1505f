"""httpx as it is: one request, and `json()`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx

from peers.base import KEY, MODEL, MOST, SENT, TEXTS, Peer

LIMITS = httpx.Limits(max_connections=MOST, max_keepalive_connections=MOST)
HEADERS = {"authorization": f"Bearer {KEY}"}


class Client(Peer):
    packages = ("httpx", "httpcore", "h11")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = httpx.Client(limits=LIMITS, timeout=60, headers=HEADERS)
        self._chat, self._embeddings = f"{url}/v1/chat/completions", f"{url}/v1/embeddings"

    def unary(self, model: str = MODEL) -> object:
        return self._client.post(self._chat, json={**SENT, "model": model}).json()

    def stream(self) -> Iterator[object]:
        with self._client.stream("POST", self._chat, json={**SENT, "stream": True}) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield json.loads(line[6:])

    def embed(self) -> object:
        return self._client.post(self._embeddings, json={"model": MODEL, "input": TEXTS}).json()

    async def begin(self) -> None:
        self._async = httpx.AsyncClient(limits=LIMITS, timeout=60, headers=HEADERS)

    async def aunary(self, model: str = MODEL) -> object:
        return (await self._async.post(self._chat, json={**SENT, "model": model})).json()
