"""huggingface_hub's InferenceClient."""

from __future__ import annotations

from collections.abc import Iterator

from huggingface_hub import AsyncInferenceClient, InferenceClient

from peers.base import KEY, MESSAGES, MODEL, OPTIONS, Lacking, Peer


class Client(Peer):
    packages = ("huggingface_hub", "httpx2")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = InferenceClient(base_url=f"{url}/v1", api_key=KEY, timeout=60)

    def unary(self, model: str = MODEL) -> object:
        return self._client.chat_completion(MESSAGES, model=model, **OPTIONS)

    def stream(self) -> Iterator[object]:
        return self._client.chat_completion(MESSAGES, model=MODEL, stream=True, **OPTIONS)

    def embed(self) -> object:
        raise Lacking("it speaks another protocol for embeddings")

    async def begin(self) -> None:
        self._async = AsyncInferenceClient(base_url=f"{self.url}/v1", api_key=KEY, timeout=60)

    async def aunary(self, model: str = MODEL) -> object:
        return await self._async.chat_completion(MESSAGES, model=model, **OPTIONS)
