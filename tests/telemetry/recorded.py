"""What a client emitted: spans and metrics, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

KEY: dict[str, Any] = {"api_key": "k-canary-secret", "model": "Qwen/Qwen3.5-9B"}


class Recorded:
    """Spans that have ended."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    @property
    def calls(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith("chat")]

    @property
    def call(self) -> ReadableSpan:
        (span,) = self.calls
        return span

    @property
    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == "POST"]

    @property
    def said(self) -> dict[str, Any]:
        """The attributes of the only call."""
        return dict(self.call.attributes or {})

    def clear(self) -> None:
        self._exporter.clear()


class Measured:
    """Metrics, by name."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def metrics(self) -> Mapping[str, Any]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The data points of a metric; none where it was never recorded."""
        metric = self.metrics().get(name)
        return [] if metric is None else [*metric.data.data_points]

    def total(self, name: str) -> float:
        """The sum over all attributes: of the values of a counter, of the measurements of a histogram."""
        return float(
            sum(point.value if hasattr(point, "value") else point.sum for point in self.points(name))
        )
