"""Seen: what reached the simulated providers, counted where it arrives. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Exchange
from hybrid_infer.simulator.fault_rules import Arrival
from hybrid_infer.simulator.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequests:
    """What was seen of one model in one mode.

    Attributes:
        model: the provider's name; None for requests that name none, such as GETs.
        calls: POSTs that arrived, those at fault among them. The probe of a dedicated endpoint is one.
        gets: GETs that arrived: probes, lists of models, results that a redirect led to.
        refused: connections that were refused, so that nothing arrived; in no other number.
        faulted: of all these, the ones that a fault happened to.
    """

    mode: Mode
    model: str | None
    calls: int
    gets: int
    refused: int
    faulted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the providers saw until a moment.

    Attributes:
        targets: by mode and model, in the order they first came.
        open: exchanges that are underway now.
        cancelled: exchanges that the client left before they were complete.
    """

    targets: tuple[SeenRequests, ...]
    open: int
    cancelled: int

    @property
    def calls(self) -> int:
        """Of all targets."""
        return sum(target.calls for target in self.targets)

    @property
    def gets(self) -> int:
        """Of all targets."""
        return sum(target.gets for target in self.targets)

    @property
    def refused(self) -> int:
        """Of all targets."""
        return sum(target.refused for target in self.targets)

    @property
    def faulted(self) -> int:
        """Of all targets."""
        return sum(target.faulted for target in self.targets)

    def of(self, mode: Mode, model: str | None = None) -> SeenRequests:
        """What was seen in one mode, of one model or of all together."""
        rows = [t for t in self.targets if t.mode == mode and model in (None, t.model)]
        return SeenRequests(
            mode=mode,
            model=model,
            calls=sum(row.calls for row in rows),
            gets=sum(row.gets for row in rows),
            refused=sum(row.refused for row in rows),
            faulted=sum(row.faulted for row in rows),
        )


@dataclass(slots=True)
class _Row:
    calls: int = 0
    gets: int = 0
    refused: int = 0
    faulted: int = 0


@dataclass(slots=True)
class SeenLog:
    """Counts."""

    _rows: dict[tuple[Mode, str | None], _Row] = field(default_factory=dict[tuple[Mode, str | None], _Row])
    _open: set[Exchange] = field(default_factory=set[Exchange])
    _cancelled: int = 0

    @property
    def arrived(self) -> int:
        """Requests so far, refused ones included."""
        return sum(row.calls + row.gets + row.refused for row in self._rows.values())

    def saw(self, arrival: Arrival, fault: Fault | None) -> None:
        """A request came, or would have."""
        row = self._rows.setdefault((arrival.mode, arrival.model), _Row())
        if fault is not None and fault.kind == "refuse":
            row.refused += 1
        elif arrival.get:
            row.gets += 1
        else:
            row.calls += 1
        row.faulted += fault is not None

    def began(self, exchange: Exchange) -> None:
        """It is being answered."""
        self._open.add(exchange)

    def ended(self, exchange: Exchange, cancelled: bool) -> None:
        """It is answered, broken or left."""
        self._open.discard(exchange)
        self._cancelled += cancelled

    def seen(self) -> Seen:
        """The counts so far."""
        return Seen(
            targets=tuple(
                SeenRequests(
                    mode=mode,
                    model=model,
                    calls=row.calls,
                    gets=row.gets,
                    refused=row.refused,
                    faulted=row.faulted,
                )
                for (mode, model), row in self._rows.items()
            ),
            open=len(self._open),
            cancelled=self._cancelled,
        )
