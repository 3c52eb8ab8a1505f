"""A backend for OTLP over HTTP on loopback: takes what exporters send, and shows it decoded."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSpan:
    """A span as it came over the wire. `status` is 0 (unset), 1 (ok) or 2 (error); `kind` 3 is CLIENT."""

    name: str
    kind: int
    id: bytes
    parent: bytes
    trace: bytes
    status: int
    attributes: dict[str, Any]
    seconds: float


@dataclass
class Sink:
    """What was received."""

    address: str = ""
    spans: list[SinkSpan] = field(default_factory=list[SinkSpan])
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    scopes: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    bodies: list[bytes] = field(default_factory=list[bytes])

    def take(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.scopes.add((scope.scope.name, scope.scope.version))
                    self.spans += [_span(span) for span in scope.spans]
        elif path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    self.metrics.update({metric.name: metric for metric in scope.metrics})


@contextmanager
def otlp_sink() -> Generator[Sink]:
    """A sink at `address` while the block runs."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sink.take(self.path, decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()


def values(attributes: Iterable[Any]) -> dict[str, Any]:
    """Attributes in their own types: an integer is an int, a double a float."""
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return (
        [_value(entry) for entry in value.array_value.values]
        if kind == "array_value"
        else getattr(value, kind)
    )


def _span(span: Any) -> SinkSpan:
    return SinkSpan(
        name=span.name,
        kind=span.kind,
        id=span.span_id,
        parent=span.parent_span_id,
        trace=span.trace_id,
        status=span.status.code,
        attributes=values(span.attributes),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )
