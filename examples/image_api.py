"""Image API: a small web service that draws, and draws nothing twice.

POST /images with a prompt, and maybe a seed and a size, answers with the picture as base64, what it cost and
where it came from. The same prompt, seed and size come out of the cache; whoever asks for a picture that is
being drawn just then shares it. One client serves all requests, for as long as the service runs.

    HYBRID_INFER_SIMULATE=1 python image_api.py             # no key: simulated providers
    TOGETHER_API_KEY=… uvicorn image_api:app                # the service (pip install fastapi uvicorn)

Run as a script it makes a request to itself, without a server, prints what came back, and repeats it.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from hybrid_infer import APIError, AsyncClient, InvalidCallError

PAINTER = "black-forest-labs/FLUX.1-schnell"


class Wish(BaseModel):
    """What somebody wants to see."""

    prompt: str = Field(min_length=1, max_length=1000)
    seed: int = 0
    width: int = Field(default=512, ge=64, le=1024, multiple_of=16)
    height: int = Field(default=512, ge=64, le=1024, multiple_of=16)


class Picture(BaseModel):
    """The picture, and what it took."""

    b64_json: str
    seed: int
    target: str | None
    cache: str
    cost_usd: float | None
    latency: float | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncClient(cache="memory") as client:  # "redis" where the service has several processes
        app.state.client = client
        yield


app = FastAPI(title="Images", lifespan=lifespan)


@app.post("/images")
async def draw(wish: Wish, request: Request) -> Picture:
    client: AsyncClient = request.app.state.client
    images = await client.images.generate(
        prompt=wish.prompt,
        model=PAINTER,
        seed=wish.seed,  # a request with a seed repeats itself, so that the cache may keep its answer
        width=wish.width,
        height=wish.height,
        response_format="b64_json",
        purpose="images",
        timeout=60,
    )
    hybrid = images.hybrid
    return Picture(
        b64_json=images.data[0].b64_json or "",
        seed=wish.seed,
        target=hybrid.target,
        cache=hybrid.cache,
        cost_usd=None if hybrid.cost.amount is None else float(hybrid.cost.amount),
        latency=hybrid.latency,
    )


@app.exception_handler(APIError)
async def failed(request: Request, error: APIError) -> JSONResponse:
    """A provider that is busy or down is told from a request that will never do."""
    headers = {"Retry-After": f"{error.retry_after or 1:.0f}"} if error.retryable else None
    status = 503 if error.retryable else 422 if error.status in (400, 422) else 502
    return JSONResponse({"detail": error.message}, status, headers)


@app.exception_handler(InvalidCallError)
async def refused(request: Request, error: InvalidCallError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


async def main() -> None:
    wish = {"prompt": "a lighthouse at dawn, as a woodcut", "seed": 7}
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://images") as browser,
    ):
        for _ in range(2):
            answer = await browser.post("/images", json=wish)
            answer.raise_for_status()
            picture = Picture.model_validate(answer.json())
            size = len(b64decode(picture.b64_json))
            cost = "cost unknown" if picture.cost_usd is None else f"${picture.cost_usd:.6f}"
            took = f"{picture.latency or 0:.3f} s, {cost}, cache: {picture.cache}"
            print(f"{size} bytes of {picture.target}, {took}")


if __name__ == "__main__":
    asyncio.run(main())
