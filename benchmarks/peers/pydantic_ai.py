"""pydantic-ai's direct requests: its models without agents."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_ai.direct import model_request, model_request_stream_sync, model_request_sync
from pydantic_ai.messages import ModelRequest, SystemPromptPart, UserPromptPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from peers.base import KEY, MESSAGES, MODEL, OPTIONS, Lacking, Peer


class Client(Peer):
    packages = ("pydantic-ai-slim", "openai", "httpx2")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._models: dict[str, OpenAIChatModel] = {}
        system, user = MESSAGES
        self._messages = [
            ModelRequest(parts=[SystemPromptPart(system["content"]), UserPromptPart(user["content"])])
        ]

    def _model(self, name: str) -> OpenAIChatModel:
        if name not in self._models:
            provider = OpenAIProvider(base_url=f"{self.url}/v1", api_key=KEY)
            self._models[name] = OpenAIChatModel(name, provider=provider)
        return self._models[name]

    def unary(self, model: str = MODEL) -> object:
        return model_request_sync(self._model(model), self._messages, model_settings=OPTIONS)

    def stream(self) -> Iterator[object]:
        with model_request_stream_sync(self._model(MODEL), self._messages, model_settings=OPTIONS) as stream:
            yield from stream

    def embed(self) -> object:
        raise Lacking("embeddings are not among its direct requests")

    async def begin(self) -> None:
        self._models.clear()  # those of the blocking calls belong to a loop that is gone

    async def aunary(self, model: str = MODEL) -> object:
        return await model_request(self._model(model), self._messages, model_settings=OPTIONS)
