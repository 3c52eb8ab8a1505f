"""What telemetry adds to a call.

    python benchmarks/bench_telemetry.py [--rounds 60] [--calls 200]

Two ratios, each the median over rounds in which what is compared takes turns:

- with an SDK (batch processor, metric reader): what telemetry adds to a call, over the bare OpenTelemetry
  calls that it makes, recorded once and replayed with the same attributes. To hold: at most 1.3.
- without an SDK: what telemetry adds to a call, over one bare httpx call to a server on loopback. To hold: at
  most 0.05.

"What telemetry adds" is the time of the layers with it, less the time of the same layers without it. Time is
that of the thread's CPU, so that what else the machine does counts less.

The exit code says whether both hold.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from statistics import median
from typing import Any

import httpx
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hybrid_infer.calls.call import Attempt, Call, Target
from hybrid_infer.calls.money import Cost, Usage
from hybrid_infer.calls.reply import Facts, RawResponse, Reply
from hybrid_infer.layers.attempt import Attempts
from hybrid_infer.layers.base import stack
from hybrid_infer.layers.tracing import Tracing
from hybrid_infer.prices.book import PriceBook
from hybrid_infer.runtime.base import Leftovers
from hybrid_infer.runtime.blocking import BlockingRuntime
from hybrid_infer.runtime.step import step
from hybrid_infer.telemetry.metrics import Metrics
from hybrid_infer.telemetry.spans import Spans

WITH_SDK = 1.3
WITHOUT_SDK = 0.05

BODY = {
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "temperature": 0.5,
    "max_tokens": 64,
}
USAGE = Usage(input_tokens=1000, output_tokens=500, cached_tokens=0)
ANSWER = json.dumps(
    {
        "id": "ov-1",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 500}}
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
    }
).encode()
RAW = RawResponse(status=200, headers=(("x-request-id", "ov-1"),), body=ANSWER)


class NoSpans(Spans):
    """As if there were no tracing at all."""

    def start_call(self, call: Call) -> bool:
        return False

    def start_attempt(self, call: Call, attempt: Attempt, number: int) -> None:
        return None


class NoMetrics(Metrics):
    """As if there were no metrics at all."""

    def begin(self, call: Call) -> None:
        return None


class Layers:
    """The layers that telemetry is in, above an exchange that answers at once."""

    def __init__(self, spans: Spans, metrics: Metrics, on_carry: Callable[[], None] | None = None) -> None:
        runtime, leftovers = BlockingRuntime(), Leftovers()
        self._target = Target(
            name="together-serverless/Qwen/Qwen3.5-9B",
            mode="together-serverless",
            provider="together",
            model="Qwen/Qwen3.5-9B",
            host="api.together.ai",
            port=443,
            basis="tokens",
        )
        self._spans = spans
        self._on_carry = on_carry
        self._cost: Cost = PriceBook().cost(
            [Attempt(target=self._target, started=0.0, usage=USAGE)], at=date(2026, 11, 23)
        )
        layers = [
            Tracing(runtime, spans, metrics, leftovers),
            Attempts(runtime, self._target, spans, None, leftovers),
        ]
        self._serve = stack(layers, self._exchange)

    async def _exchange(self, call: Call) -> Reply:
        if call.tally.trace is not None:
            self._spans.carry(call, "https://api.together.ai/v1/chat/completions")
            if self._on_carry is not None:
                self._on_carry()
        call.tally.latency, call.tally.reckoned = 0.5, self._cost
        facts = Facts(id="ov-1", model="Qwen/Qwen3.5-9B", finish_reasons=("stop",), usage=USAGE, raw=RAW)
        return Reply(None, facts=facts)

    def call(self) -> None:
        step(
            self._serve(
                Call(operation="chat", model=None, body=BODY, session="s-1", candidates=(self._target,))
            )
        )


class Replay:
    """The OpenTelemetry calls that one call makes: recorded once, then made again with the same arguments.

    What is replayed: starting, filling and ending spans, the context of each, injecting it, and each
    measurement. Attributes are ready-made.
    """

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._steps: list[tuple[str, int, Any]] = []
        self._spans: list[RecordedSpan] = []
        self._tracer = tracers.get_tracer("bare")
        self._meter = meters.get_meter("bare")
        self._propagator = TraceContextTextMapPropagator()

    def add(self, what: str, span: int, arguments: Any) -> None:
        self._steps.append((what, span, arguments))

    def record(self) -> None:
        """Let a call of ours be made through ears."""
        spans = Spans("0", EaringTracers(self))
        metrics = Metrics("0", EaringMeters(self))
        layers = Layers(spans, metrics, on_carry=lambda: self.add("inject", len(self._spans) - 1, None))
        layers.call()
        self._steps.clear()
        self._spans.clear()
        layers.call()

    def start(self, arguments: tuple[Any, ...], given: dict[str, Any]) -> RecordedSpan:
        parent = trace.get_current_span(given.pop("context", None))
        given["parent"] = parent.number if isinstance(parent, RecordedSpan) else None
        span = RecordedSpan(self, len(self._spans))
        self._spans.append(span)
        self.add("start", span.number, (arguments, given))
        return span

    def measure(self, instrument: Any, method: str, amount: float, attributes: Any, context: Any) -> None:
        parent = trace.get_current_span(context)
        number = parent.number if isinstance(parent, RecordedSpan) else -1
        self.add("measure", number, (getattr(instrument, method), amount, dict(attributes)))

    def compiled(self) -> Callable[[], None]:
        """The steps as a function that does nothing else."""
        tracer, inject = self._tracer, self._propagator.inject
        names: dict[str, Any] = {
            "start": tracer.start_span,
            "inject": inject,
            "into": trace.set_span_in_context,
        }
        lines: list[str] = []
        for number, (what, span, held) in enumerate(self._steps):
            context = f"c{span}" if span >= 0 else "None"
            names[f"a{number}"] = held
            if what == "start":
                arguments, given = held
                names[f"p{number}"] = arguments
                parent = given.pop("parent")
                names[f"k{number}"] = given
                within = "" if parent is None else f", context=c{parent}"
                lines.append(f"s{span} = start(*p{number}{within}, **k{number})")
                lines.append(f"c{span} = into(s{span})")
            elif what == "inject":
                lines.append(f"inject({{}}, {context})")
            elif what == "measure":
                names[f"m{number}"], names[f"n{number}"], names[f"d{number}"] = held
                lines.append(f"m{number}(n{number}, d{number}, {context})")
            else:
                lines.append(f"s{span}.{what}(*a{number})")
        source = "def bare():\n" + "".join(f"    {line}\n" for line in lines)
        exec(source, names)  # made above, from our own calls
        self.source = source
        bare: Callable[[], None] = names["bare"]
        return bare


class RecordedSpan(trace.NonRecordingSpan):
    """A span that writes down what is done with it."""

    def __init__(self, replay: Replay, number: int) -> None:
        super().__init__(trace.SpanContext(1, number + 1, is_remote=False, trace_flags=trace.TraceFlags(1)))
        self._replay = replay
        self.number = number

    def is_recording(self) -> bool:
        self._replay.add("is_recording", self.number, ())
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        self._replay.add("set_attribute", self.number, (key, value))

    def set_attributes(self, attributes: Any) -> None:
        self._replay.add("set_attributes", self.number, (dict(attributes),))

    def set_status(self, *arguments: Any) -> None:
        self._replay.add("set_status", self.number, arguments)

    def end(self, end_time: int | None = None) -> None:
        self._replay.add("end", self.number, ())


class EaringTracers(trace.TracerProvider):
    """Hands out tracers whose spans write down what is done with them."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        replay = self._replay

        class Tracer(trace.NoOpTracer):
            def start_span(self, *arguments: Any, **given: Any) -> Any:
                return replay.start(arguments, given)

        return Tracer()


class EaringMeters(NoOpMeterProvider):
    """Hands out instruments that write down what is measured, and know the real ones."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def get_meter(self, *_: Any, **__: Any) -> Any:
        replay, real = self._replay, self._replay._meter

        class Instrument:
            def __init__(self, instrument: Any) -> None:
                self._instrument = instrument

            def add(self, amount: float, attributes: Any = None, context: Any = None) -> None:
                replay.measure(self._instrument, "add", amount, attributes, context)

            def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
                replay.measure(self._instrument, "record", amount, attributes, context)

        class Meter:
            def __getattr__(self, create: str) -> Callable[..., Instrument]:
                return lambda *arguments, **given: Instrument(getattr(real, create)(*arguments, **given))

        return Meter()


class Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def timed(function: Callable[[], object], calls: int) -> float:
    """Microseconds of one call."""
    began = time.thread_time()
    for _ in range(calls):
        function()
    return (time.thread_time() - began) / calls * 1e6


def with_sdk(rounds: int, calls: int) -> dict[str, float]:
    tracers, meters = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    replay = Replay(tracers, meters)
    replay.record()
    bare = replay.compiled()
    full = Layers(Spans("0", tracers), Metrics("0", meters)).call
    none = Layers(NoSpans("0"), NoMetrics("0")).call
    found: list[tuple[float, float]] = []
    for _ in range(rounds + 3):
        times = []
        for function in (full, none, bare):
            times.append(timed(function, calls))
            tracers.force_flush()
        found.append((times[0] - times[1], times[2]))
    found = found[3:]
    tracers.shutdown()
    meters.shutdown()
    return {
        "telemetry_us": median(added for added, _ in found),
        "bare_us": median(own for _, own in found),
        "ratio": median(added / own for added, own in found),
    }


def without_sdk(rounds: int, calls: int) -> dict[str, float]:
    idle = Layers(Spans("0"), Metrics("0")).call
    none = Layers(NoSpans("0"), NoMetrics("0")).call
    there, here = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{here.recv()}/v1/chat/completions"
    with httpx.Client(trust_env=False) as client:

        def bare() -> None:
            client.post(address, json=BODY).json()

        found: list[tuple[float, float]] = []
        for _ in range(rounds + 3):
            times = [timed(function, calls) for function in (idle, none, bare)]
            found.append((times[0] - times[1], times[2]))
        found = found[3:]
    server.terminate()
    return {
        "telemetry_us": median(added for added, _ in found),
        "httpx_us": median(own for _, own in found),
        "ratio": median(added / own for added, own in found),
    }


def serve(ready: Any) -> None:
    """Answers every request with the same bytes, in a process of its own."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            while piece := connection.recv(65536):
                data += piece
                if data.endswith(b"}"):
                    connection.sendall(head + ANSWER)
                    data = b""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=200)
    given = parser.parse_args()
    held = True
    for name, measure, most in (("with_sdk", with_sdk, WITH_SDK), ("without_sdk", without_sdk, WITHOUT_SDK)):
        found = measure(given.rounds, given.calls)
        held &= found["ratio"] <= most
        print(
            json.dumps({"name": name, "most": most, **{key: round(value, 3) for key, value in found.items()}})
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
