"""litellm. Its driver is told not to fetch the table of models from the internet at import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm

from peers.base import KEY, MESSAGES, MODEL, OPTIONS, TEXTS, Peer

litellm.telemetry = False
litellm.suppress_debug_info = True


class Client(Peer):
    packages = ("litellm", "openai", "httpx2")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._options: dict[str, Any] = {
            "api_base": f"{url}/v1",
            "api_key": KEY,
            "messages": MESSAGES,
            **OPTIONS,
        }

    def unary(self, model: str = MODEL) -> object:
        return litellm.completion(model=f"openai/{model}", **self._options)

    def stream(self) -> Iterator[object]:
        return litellm.completion(model=f"openai/{MODEL}", stream=True, **self._options)

    def embed(self) -> object:
        return litellm.embedding(
            model=f"openai/{MODEL}",
            input=TEXTS,
            encoding_format="float",
            api_base=f"{self.url}/v1",
            api_key=KEY,
        )

    async def aunary(self, model: str = MODEL) -> object:
        return await litellm.acompletion(model=f"openai/{model}", **self._options)
