"""Requests for operations besides chat, to a simulated world."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.world import Provider, World
from simulator.simulated import BEARER, DEDICATED, PROXY_TOKEN, SERVERLESS, Got, ask

BOUNDARY = "between-the-parts"

MODES: list[tuple[Provider, Mode, str]] = [
    ("together", "together-serverless", SERVERLESS),
    ("together", "together-dedicated", DEDICATED),
    ("modal", "modal", "llm"),
    ("modal", "openai-compatible", "llm"),
]


def posted(path: str, **fields: Any) -> Request:
    """A JSON request with both providers' credentials."""
    return Request(
        method="POST",
        path=path,
        headers={**BEARER, **PROXY_TOKEN, "content-type": "application/json"},
        body=json.dumps(fields).encode(),
    )


def form(
    path: str, data: bytes | None = None, /, *, filename: str = "a.wav", **fields: str | list[str]
) -> Request:
    """A form, with a file if one is given; a list is sent as `name[]` several times."""
    parts: list[bytes] = []
    for field, value in fields.items():
        key = field if isinstance(value, str) else f"{field}[]"
        for each in [value] if isinstance(value, str) else value:
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'
            parts.append(head.encode() + each.encode() + b"\r\n")
    if data is not None:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts.append(head.encode() + data + b"\r\n")
    return Request(
        method="POST",
        path=path,
        headers={**BEARER, **PROXY_TOKEN, "content-type": f"multipart/form-data; boundary={BOUNDARY}"},
        body=b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(),
    )


def bare(method: str, path: str) -> Request:
    """A request without a body."""
    return Request(method=method, path=path, headers={**BEARER, **PROXY_TOKEN})


def in_mode(
    mode: tuple[Provider, Mode, str], request: Request, now: float = 0.0, world: World | None = None
) -> Got:
    """The answer of a provider that is warm."""
    world = World() if world is None else world
    provider, name, _ = mode
    if name == "modal" and world.machines(now).containers_ready == 0:
        ask(world, provider, request, now, mode=name)
        now += 30.0
        got = ask(world, provider, bare("GET", "/health"), now, mode=name)
        assert got.status == 200
    return ask(world, provider, request, now, mode=name)


def recording(seconds: float, rate: int = 8000) -> bytes:
    """A silent WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * round(rate * seconds)))
    return out.getvalue()
