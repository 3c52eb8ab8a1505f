"""any-llm, its provider made once. Its blocking methods run a loop of their own for each call."""

from __future__ import annotations

from collections.abc import Iterator

from any_llm import AnyLLM

from peers.base import KEY, MESSAGES, MODEL, OPTIONS, TEXTS, Peer


class Client(Peer):
    packages = ("any-llm-sdk", "openai", "httpx2")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = self._made()

    def _made(self) -> AnyLLM:
        return AnyLLM.create_openai_compatible("bench", api_base=f"{self.url}/v1", api_key=KEY)

    def unary(self, model: str = MODEL) -> object:
        return self._client.completion(model, MESSAGES, **OPTIONS)

    def stream(self) -> Iterator[object]:
        return self._client.completion(MODEL, MESSAGES, stream=True, **OPTIONS)

    def embed(self) -> object:
        return self._client._embedding(MODEL, TEXTS, encoding_format="float")

    async def begin(self) -> None:
        self._async = self._made()

    async def aunary(self, model: str = MODEL) -> object:
        return await self._async.acompletion(model, MESSAGES, **OPTIONS)
