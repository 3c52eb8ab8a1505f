"""Metrics of calls. Where no SDK is set up, a call costs one look at the provider and nothing else.

Attributes are those of the conventions, and the mode besides: few values each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from opentelemetry import metrics
from opentelemetry.metrics import Histogram, Meter, MeterProvider

from hybrid_infer.calls.call import Call
from hybrid_infer.calls.money import Usage
from hybrid_infer.calls.reply import Facts
from hybrid_infer.telemetry import names
from hybrid_infer.telemetry.attributes import Attributes, answering, of_place, reported
from hybrid_infer.telemetry.contained import failed

Names: TypeAlias = Literal["1.41", "2026-10"]
"""Which edition of the conventions the names of `gen_ai.*` metrics are from."""

SECONDS = tuple(0.01 * 2**power for power in range(14))
TOKENS = tuple(4**power for power in range(14))
"""Boundaries of histograms, as the conventions advise."""
WAITS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
USD = (1e-6, 1e-5, 5e-5, 1e-4, 5e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

_INTERNAL = getattr(metrics, "_internal", None)
_PRIVATE = object()

_TOKENS_OF_A_CALL = "Tokens of a call, by type"


class _Own:
    """The instruments that all editions share."""

    def __init__(self, meter: Meter) -> None:
        def count(name: str, unit: str, description: str) -> metrics.Counter:
            return meter.create_counter(name, unit=unit, description=description)

        self.in_flight = meter.create_up_down_counter(
            names.CLIENT_IN_FLIGHT, unit="{call}", description="Calls that have begun and not ended"
        )
        self.cost = count(names.CLIENT_COST, "{USD}", "What calls cost, where that is known")
        self.operation_cost = _histogram(meter, names.OPERATION_COST, "{USD}", "Cost of a call", USD)
        self.queue_wait = _histogram(
            meter, names.CLIENT_QUEUE_WAIT, "s", "Waits for a slot or for the rate", WAITS
        )
        self.cold_wait = _histogram(meter, names.CLIENT_COLD_WAIT, "s", "Waits for a machine", WAITS)
        self.cold_starts = count(names.CLIENT_COLD_STARTS, "{call}", "Calls that met a cold machine")
        self.overflows = count(
            names.CLIENT_OVERFLOWS, "{call}", "Calls that ended at another target than the first candidate"
        )
        self.resends = count(
            names.CLIENT_RESENDS, "{request}", "Requests after the first of a call, hedges left out"
        )
        self.hedges = count(names.CLIENT_HEDGES, "{request}", "Second requests for slow attempts")
        self.restarts = count(names.CLIENT_RESTARTS, "{stream}", "Broken streams that were asked for again")
        self.cache_hits = count(names.CLIENT_CACHE_HITS, "{call}", "Calls answered from the cache")


class _V141:
    """Tokens in one histogram, divided by type."""

    duration, first_chunk = names.DURATION_1_41, names.FIRST_CHUNK_1_41

    def __init__(self, meter: Meter) -> None:
        self._tokens = _histogram(meter, names.TOKENS_1_41, "{token}", _TOKENS_OF_A_CALL, TOKENS)

    def tokens(self, usage: Usage, where: Attributes, context: Any) -> None:
        for kind, amount in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if amount is not None:
                self._tokens.record(amount, {**where, names.TOKEN_TYPE: kind}, context)


class _V2026:
    """A counter for each kind of token, and two histograms."""

    duration, first_chunk = names.DURATION_2026, names.FIRST_CHUNK_2026

    def __init__(self, meter: Meter) -> None:
        self._counts = [
            (kind, meter.create_counter(name, unit="{token}", description="Tokens of all calls"))
            for kind, name in names.TOKEN_COUNTS_2026.items()
        ]
        self._per_call = [
            (kind, _histogram(meter, name, "{token}", _TOKENS_OF_A_CALL, TOKENS))
            for kind, name in (
                ("input_tokens", names.INPUT_PER_CALL_2026),
                ("output_tokens", names.OUTPUT_PER_CALL_2026),
            )
        ]

    def tokens(self, usage: Usage, where: Attributes, context: Any) -> None:
        for kind, counter in self._counts:
            if (amount := getattr(usage, kind)) is not None:
                counter.add(amount, where, context)
        for kind, histogram in self._per_call:
            if (amount := getattr(usage, kind)) is not None:
                histogram.record(amount, where, context)


class _Instruments:
    """Made once, when there is somebody to record what they say."""

    def __init__(self, meter: Meter, edition: Names) -> None:
        self.own = _Own(meter)
        self.gen_ai = _V141(meter) if edition == "1.41" else _V2026(meter)
        self.duration = _histogram(meter, self.gen_ai.duration, "s", "Duration of a call", SECONDS)
        self.first_chunk = _histogram(
            meter, self.gen_ai.first_chunk, "s", "Time to the first chunk of a stream", SECONDS
        )


class Metrics:
    """Counts and measures calls.

    Args:
        version: of this package, for the instrumentation scope.
        meter_provider: where metrics go; the global provider if None.
        edition: of the names of `gen_ai.*`.
    """

    def __init__(
        self, version: str, meter_provider: MeterProvider | None = None, edition: Names = "1.41"
    ) -> None:
        self._version = version
        self._provider = meter_provider
        if meter_provider is None:
            metrics.get_meter_provider()  # it may have to load the one that the environment names
        self._edition: Names = edition
        self._made: _Instruments | None = None

    def begin(self, call: Call) -> Attributes | None:
        """Count a planned call in; what `end` is to be given, None where nobody records it."""
        try:
            if self._made is None and self._provider is None and _nobody_measures():
                return None
            made = self._made or self._make()
            if made is None:
                return None
            target = call.candidates[0]
            where = of_place(call, target)
            made.own.in_flight.add(1, where)
            return where
        except Exception:
            failed("counting a call in")
            return None

    def end(
        self,
        began: Attributes,
        call: Call,
        facts: Facts | None,
        error: BaseException | None,
        context: Any = None,
    ) -> None:
        """Count a call out. `context` is that of its span, so that a measurement leads to its trace."""
        try:
            made = self._made
            if made is not None:
                made.own.in_flight.add(-1, began)
                last = answering(call)
                first = call.candidates[0]
                overflow = last is not None and last.target is not first
                where = of_place(call, last.target) if last is not None and overflow else began
                if facts is not None and facts.model is not None:
                    where = {**where, names.RESPONSE_MODEL: facts.model}
                self._gen_ai(made, call, facts, error, where, context)
                _own(made.own, call, where, context, overflow)
        except Exception:
            failed("counting a call out")

    def _gen_ai(
        self,
        made: _Instruments,
        call: Call,
        facts: Facts | None,
        error: BaseException | None,
        where: Attributes,
        context: Any,
    ) -> None:
        latency = call.tally.latency
        if latency is not None:
            if isinstance(error, Exception):
                made.duration.record(latency, {**where, names.ERROR_TYPE: type(error).__name__}, context)
            else:
                made.duration.record(latency, where, context)
        if facts is not None and facts.first_token is not None:
            made.first_chunk.record(facts.first_token - call.tally.started, where, context)
        usage = reported(call, facts)
        if usage is not None:
            made.gen_ai.tokens(usage, where, context)

    def _make(self) -> _Instruments | None:
        """The instruments, once there is an SDK: the API's own providers record nothing."""
        provider = self._provider or metrics.get_meter_provider()
        if type(provider).__module__.startswith("opentelemetry.metrics"):
            return None
        meter = metrics.get_meter(names.SCOPE, self._version, provider)
        self._made = made = _Instruments(meter, self._edition)
        return made


def _nobody_measures() -> bool:
    """Whether there is no SDK yet. False where that cannot be told."""
    # The public function looks into the environment each time, which takes longer than all the rest here.
    return getattr(_INTERNAL, "_METER_PROVIDER", _PRIVATE) is None


def _own(made: _Own, call: Call, where: Attributes, context: Any, overflow: bool) -> None:
    tally, cost = call.tally, call.tally.cost
    if (cost is not None and cost.basis == "cache") or tally.cache == "stale":
        made.cache_hits.add(1, {**where, names.CACHE: tally.cache}, context)
    if cost is not None and cost.amount is not None:
        amount, priced = float(cost.amount), {**where, names.COST_BASIS: cost.basis}
        made.cost.add(amount, priced, context)
        made.operation_cost.record(amount, priced, context)
    if tally.queue_wait:
        made.queue_wait.record(tally.queue_wait, where, context)
    if tally.cold_start:
        made.cold_starts.add(1, where, context)
        made.cold_wait.record(tally.cold_wait, where, context)
    if overflow:
        made.overflows.add(1, where, context)
    attempts = tally.attempts
    if len(attempts) > 1:
        hedges = sum(1 for attempt in attempts if attempt.lane)
        if hedges:
            made.hedges.add(hedges, where, context)
        if len(attempts) - 1 > hedges:
            made.resends.add(len(attempts) - 1 - hedges, where, context)
    if tally.restarts:
        made.restarts.add(tally.restarts, where, context)


def _histogram(
    meter: Meter, name: str, unit: str, description: str, boundaries: Sequence[float]
) -> Histogram:
    return meter.create_histogram(
        name, unit=unit, description=description, explicit_bucket_boundaries_advisory=boundaries
    )
