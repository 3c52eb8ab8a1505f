"""Starts each backend, sends it the calls through the real OTLP exporter, asks it what it was told.

    python -m otel_backends NAME=VENV…        e.g. phoenix=.venv-phoenix mlflow=.venv-mlflow

Prints a row per call and question; the exit code is the verdict.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from math import isclose
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_backends.backend import Backend, Told, stop, wait_for
from otel_backends.mlflow import MLflow
from otel_backends.phoenix import Phoenix
from telemetry.traced_calls import Expected, make_calls

KINDS: dict[str, Callable[[Path], Backend]] = {"phoenix": Phoenix, "mlflow": MLflow}
PATIENCE = 30.0
"""Seconds for a backend to show what it has accepted."""

Row = tuple[str, object, object, bool]
"""The question, what was to be told, what was told, whether that is right."""


def main(arguments: list[str]) -> int:
    wrong = 0
    for argument in arguments:
        kind, _, venv = argument.partition("=")
        wrong += check(KINDS[kind](Path(venv).resolve()))
    print(f"\n{wrong} answers wrong" if wrong else "\nevery answer right")
    return 1 if wrong or not arguments else 0


def check(backend: Backend) -> int:
    """How many answers of one backend are wrong."""
    with tempfile.TemporaryDirectory(prefix="otel-backend-") as work:
        process = backend.start(Path(work))
        try:
            seconds = wait_for(backend, process, Path(work) / "server.log")
            print(f"\n{backend.name}, up after {seconds:.0f} s")
            expected = send(backend)
            told = ask(backend, len(expected))
        finally:
            stop(process)
    wrong = 0
    for call in expected:
        for question, wanted, came, right in rows(call, told.get(call.session), backend):
            wrong += not right
            mark, instead = ("ok   ", "") if right else ("WRONG", f"  and not {wanted}")
            print(f"  {mark} {call.session:<10} {question:<14} {came!s:.60}{instead}")
    return wrong


def send(backend: Backend) -> list[Expected]:
    address, headers = backend.traces()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(address, headers=dict(headers), timeout=60))
    )
    try:
        return make_calls(provider)
    finally:
        provider.shutdown()


def ask(backend: Backend, calls: int) -> dict[str, Told]:
    """What it tells, once it tells of as many calls and nothing changes any more."""
    began, before = time.monotonic(), None
    while True:
        told = backend.told()
        if (len(told) == calls and told == before) or time.monotonic() - began > PATIENCE:
            return told
        before = told
        time.sleep(1.0)


def rows(call: Expected, told: Told | None, backend: Backend) -> Iterator[Row]:
    if told is None:
        yield "trace", "one", "none", False
        return
    for question, wanted, came in (
        ("model", call.model, told.model),
        ("provider", call.provider, told.provider),
        ("failed", call.error is not None, told.failed),
        ("session", call.session, told.session),
        ("attempts", call.attempts, told.below),
        ("input tokens", call.input_tokens, told.input_tokens),
        ("output tokens", call.output_tokens, told.output_tokens),
    ):
        yield question, wanted, came, wanted == came
    yield "cost", call.cost, told.cost, same(call.cost, told.cost)
    if backend.prices_itself:
        # It prices tokens, once and by its table; of machines and of calls without tokens it knows no price.
        wanted_cost = call.cost if call.split and call.input_tokens else None
        yield "its own cost", wanted_cost, told.own_cost, same(wanted_cost, told.own_cost)
    yield "asked", call.prompt, told.asked, call.prompt in told.asked
    if call.answer is not None:
        yield "answered", call.answer, told.answered, call.answer in told.answered


def same(wanted: float | None, came: float | None) -> bool:
    if wanted is None or came is None:
        return wanted is came
    return isclose(wanted, came, rel_tol=1e-6, abs_tol=1e-12)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
