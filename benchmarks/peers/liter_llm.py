"""liter-llm: a Rust core, async only."""

from __future__ import annotations

import liter_llm

from peers.base import KEY, MESSAGES, MODEL, OPTIONS, Peer


class Client(Peer):
    packages = ("liter-llm",)

    async def begin(self) -> None:
        self._client = liter_llm.create_client(api_key=KEY, base_url=f"{self.url}/v1")

    async def aunary(self, model: str = MODEL) -> object:
        asked = liter_llm.ChatCompletionRequest(model=model, messages=MESSAGES, **OPTIONS)
        return await liter_llm.chat(self._client, asked)
