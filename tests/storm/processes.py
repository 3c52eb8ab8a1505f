"""Scripts that use a client in a process of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fakes import delta
from storm.wire import STREAM, Act, Asked, EchoServer, chunk, echo

AT_A_TIME = 3
"""Scripts: they mostly wait, and what they measure shall not be the other ones' work."""

COMMON = """
import asyncio, gc, os, signal, sys, threading, time
from hybrid_infer import AsyncClient, Client
from hybrid_infer.errors import APIError

settings = {"mode": "openai-compatible", "base_url": URL, "model": "m", "timeout": 40}

def client(**more):
    return Client(**settings | more)

def ask(client, question, **options):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(messages=messages, **options)

def daemon(function, *args):
    threading.Thread(target=function, args=args, daemon=True).start()

def well(client):
    assert ask(client, "and now?").choices[0].message.content == "re: and now?"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a script came to its end; `at` in `time.monotonic()` seconds, which all processes share."""

    code: int
    out: str
    err: str
    at: float


async def moody(asked: Asked) -> bool:
    """Does what the question says."""
    if "never" in asked.question:
        await asked.silence()
        return False
    if "later" in asked.question:
        await asked.answer({"error": {"message": "no"}}, "429 Too Many Requests", "retry-after: 30")
        return True
    if "half" in asked.question:
        await asked.send(STREAM + chunk(delta("half")))
        await asked.silence()
        return False
    await asyncio.sleep(0.01)
    return await echo(asked)


def run_all(scripts: Mapping[str, str], folder: Path, act: Act = moody) -> dict[str, Ended]:
    """Run them, some at a time, each after `COMMON` and against the same server, to their ends."""
    server = EchoServer(act)
    try:
        given = {name: f"URL = {server.url!r}\n{COMMON}\n{script}" for name, script in scripts.items()}
        launcher = Path(__file__).with_name("launcher.py")
        launched = subprocess.run(
            [sys.executable, launcher, folder, str(AT_A_TIME)],
            input=json.dumps(given),
            stdout=subprocess.PIPE,
            text=True,
            timeout=100,
            check=True,
        )
    finally:
        server.stop()
    ends = json.loads(launched.stdout).items()
    return {name: Ended(code=code, out=out, err=err, at=at) for name, (code, out, err, at) in ends}
