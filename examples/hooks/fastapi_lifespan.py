"""FastAPI: one client for as long as the service runs, and a page that knows which machines are cold.

POST /answers asks the model; GET /machines says which machines are cold, and since when. That is for people
and dashboards: a health check that failed for it would keep away the calls that bring the machine up.

    HYBRID_INFER_SIMULATE=1 HYBRID_INFER_MODE=modal uvicorn fastapi_lifespan:app      # no key
    HYBRID_INFER_WARM_AT_START=1 uvicorn fastapi_lifespan:app                         # warms its machine
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from hybrid_infer import APIError, AsyncClient, HookEvent


class Question(BaseModel):
    text: str = Field(min_length=1, max_length=4000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    cold: dict[str | None, str] = {}  # what is cold, and since when

    # A client belongs to one event loop, so it is made here and not where the module is imported.
    # With `warm_at_start` it begins to warm its machines now, in the background: the service is up at once.
    async with AsyncClient() as client:

        @client.hooks.on_cold_start
        def note(event: HookEvent) -> None:
            cold[event.target] = event.at.isoformat(timespec="seconds")

        @client.hooks.on_ready
        def forget(event: HookEvent) -> None:
            cold.pop(event.target, None)

        app.state.client, app.state.cold = client, cold
        yield
    # All connections are closed here.


app = FastAPI(title="Answers", lifespan=lifespan)


@app.post("/answers")
async def answer(question: Question, request: Request) -> JSONResponse:
    client: AsyncClient = request.app.state.client
    try:
        reply = await client.chat.completions.create(messages=[{"role": "user", "content": question.text}])
    except APIError as error:
        return JSONResponse({"error": str(error)}, status_code=503 if error.retryable else 502)
    return JSONResponse(
        {"text": reply.choices[0].message.content, "waited_for_machine": reply.hybrid.cold_wait}
    )


@app.get("/machines")
async def machines(request: Request) -> JSONResponse:
    return JSONResponse({"cold": request.app.state.cold})
