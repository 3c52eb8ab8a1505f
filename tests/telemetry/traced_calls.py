"""Calls that are made to be looked at in a backend, and what it must then tell of each.

They go to simulated providers, in virtual time. The same calls are sent to an OTLP sink (`test_otlp.py`) and
to real backends (`make otel-backends`).
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from hybrid_infer.errors import APIError
from hybrid_infer.telemetry.names import CAPTURE_CONTENT
from hybrid_infer.testing import Fault, Simulation

PROMPT = "Why is the sky blue?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a backend must tell of one call, as the client told it.

    Attributes:
        session: also the name of the case, and how its trace is found.
        attempts: spans below that of the call.
        cost: USD.
        split: whether the cost is one of tokens, so that it is told by kind as well.
        answer: the text of the answer; None of a call that failed.
        error: the class of the error that ended it.
    """

    session: str
    provider: str
    mode: str
    model: str
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    split: bool
    prompt: str
    answer: str | None
    error: str | None


def make_calls(tracer_provider: Any, meter_provider: Any = None) -> list[Expected]:
    """Make the calls, each in a session of its own."""
    cases: dict[str, tuple[dict[str, Any], Any, bool]] = {
        "plain": ({}, None, False),
        "stream": ({}, None, True),
        "retried": ({}, Fault("status", status=503).when(on=1), False),
        "failed": ({}, Fault("status", status=400), False),
        "modal": ({"mode": "modal"}, None, False),
        "dedicated": ({"mode": "together-dedicated"}, None, True),
    }
    given: dict[str, Any] = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    made: list[Expected] = []
    with _content():
        for name, (settings, faults, stream) in cases.items():
            with Simulation(faults=faults).client(**given, **settings) as client:
                made.append(_call(client, name, f"{PROMPT} ({name})", stream))
        made.append(_cache_hit(given))
    return made


def _cache_hit(given: dict[str, Any]) -> Expected:
    """A call that is answered from what a client that nobody traces has stored."""
    simulation = Simulation()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the cache may still be writing
        settings: dict[str, Any] = {"cache": "sqlite", "cache_path": f"{folder}/answers.sqlite"}
        with simulation.client(**settings) as before:
            _call(before, "cache hit", PROMPT, False)
        with simulation.client(**given, **settings) as client:
            return _call(client, "cache hit", PROMPT, False)


def _call(client: Any, session: str, prompt: str, stream: bool) -> Expected:
    answer: str | None = None
    error: str | None = None
    messages = [{"role": "user", "content": prompt}]
    try:
        reply = client.chat.completions.create(
            messages=messages, session=session, stream=stream, temperature=0, seed=1
        )
        completion = reply.final() if stream else reply
        hybrid, answer = completion.hybrid, completion.choices[0].message.content
    except APIError as failure:
        hybrid, error = failure.hybrid, type(failure).__name__
    cost = hybrid.cost
    usage = None if hybrid.cache == "hit" else hybrid.usage  # which the reply has, and no backend is to bill
    return Expected(
        session=session,
        provider="modal" if hybrid.mode == "modal" else "together",
        mode=hybrid.mode,
        model=hybrid.model,
        attempts=hybrid.attempts,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cost=None if cost.amount is None else float(cost.amount),
        split=cost.basis == "tokens",
        prompt=prompt,
        answer=answer,
        error=error,
    )


@contextmanager
def _content() -> Generator[None]:
    """Messages are recorded, whatever the environment says."""
    before = os.environ.get(CAPTURE_CONTENT)
    os.environ[CAPTURE_CONTENT] = "SPAN_ONLY"
    try:
        yield
    finally:
        del os.environ[CAPTURE_CONTENT]
        if before is not None:
            os.environ[CAPTURE_CONTENT] = before
