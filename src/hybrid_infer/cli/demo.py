"""`hybrid-infer demo`: the meeting assistant in three modes, against simulated providers in virtual time."""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

import typer

from hybrid_infer.calls.call import Mode
from hybrid_infer.cli.terminal import AsJson, console, decimals, write_json
from hybrid_infer.errors import UsageError

if TYPE_CHECKING:
    from hybrid_infer.aclient import AsyncClient
    from hybrid_infer.calls.hybrid import Hybrid
    from hybrid_infer.errors import APIError

SHOWN: tuple[Mode, ...] = ("together-serverless", "together-dedicated", "modal")
OTHERS = ("HYBRID_INFER_", "TOGETHER_", "MODAL_")
"""How the variables begin that would change what the demo shows."""


class Minutes(Protocol):
    """What the example returns for a meeting, as far as it is counted here."""

    @property
    def calls(self) -> Sequence[Hybrid]: ...
    @property
    def error(self) -> APIError | None: ...


class Example(Protocol):
    """The module ``meeting_assistant``."""

    TRANSCRIPTS: Path

    async def run(self, client: AsyncClient, folder: Path) -> Sequence[Minutes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the calls of one mode took.

    Percentiles are of the calls that were answered; None where there are none.

    Attributes:
        cost_usd: of all calls; None where one of them has no known price.
        ttft_p50_s: median time to the first token of the streamed answers.
        cold_starts: calls that met a machine that was not running.
    """

    mode: Mode
    calls: int
    cost_usd: Decimal | None
    p50_s: float | None
    p95_s: float | None
    ttft_p50_s: float | None
    cold_starts: int
    failed: int


def demo(
    as_json: AsJson = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Another seed, other random numbers; the same one, the same table.")
    ] = 0,
) -> None:
    """Run one application in three modes and compare.

    The table tells for each mode what the calls cost and how long they took. Providers are simulated and time
    is virtual: it needs no key and no network, costs nothing and takes seconds. Your settings do not count.
    """
    example, path = load_example()
    with _without_settings():
        rows = [measure(example, mode, seed) for mode in SHOWN]
    if as_json:
        write_json([_json(row) for row in rows])
    else:
        _show(rows, path)


def load_example() -> tuple[Example, Path]:
    """The example's module and file, from the installed package or from a checkout of the project.

    Raises:
        UsageError: it is in neither place.
    """
    import sys
    from importlib.util import module_from_spec, spec_from_file_location

    import hybrid_infer

    package = Path(hybrid_infer.__file__).parent
    places = [package / "examples", package.parent.parent / "examples"]
    path = next((p for place in places if (p := place / "meeting_assistant.py").is_file()), None)
    spec = spec_from_file_location("meeting_assistant", path) if path is not None else None
    if path is None or spec is None or spec.loader is None:
        raise UsageError(
            f"the demo's application is missing ({places[0] / 'meeting_assistant.py'}): "
            'install the package again: pip install --force-reinstall "hybrid-infer[cli]"'
        )
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return cast(Example, module), path


def measure(example: Example, mode: Mode, seed: int) -> Row:
    """Run the application in one mode, in virtual time."""
    from hybrid_infer.aclient import AsyncClient
    from hybrid_infer.runtime import virtual

    async def job() -> Sequence[Minutes]:
        async with AsyncClient(mode=mode, simulate=True, simulate_seed=seed) as client:
            return await example.run(client, example.TRANSCRIPTS)

    random.seed(seed)  # the waits between retries
    meetings = virtual.run(job())
    calls = [call for minutes in meetings for call in minutes.calls]
    # A meeting ends with its first failed call.
    answered = [call for m in meetings for call in (m.calls if m.error is None else m.calls[:-1])]
    costs = [call.cost.amount for call in calls]
    latencies = [call.latency for call in answered if call.latency is not None]
    firsts = [call.time_to_first_token for call in answered if call.time_to_first_token is not None]
    return Row(
        mode=mode,
        calls=len(calls),
        cost_usd=None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0)),
        p50_s=percentile(latencies, 50),
        p95_s=percentile(latencies, 95),
        ttft_p50_s=percentile(firsts, 50),
        cold_starts=sum(call.cold_start for call in calls),
        failed=len(calls) - len(answered),
    )


def percentile(values: Sequence[float], share: int) -> float | None:
    """The smallest value that `share` percent of the values do not exceed (nearest rank); None of none."""
    ranked = sorted(values)
    return ranked[-(-share * len(ranked) // 100) - 1] if ranked else None


@contextmanager
def _without_settings() -> Generator[None]:
    """The environment without the variables that set a client."""
    own = {name: value for name, value in os.environ.items() if name.startswith(OTHERS)}
    for name in own:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(own)


def _json(row: Row) -> dict[str, Any]:
    shape = {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(row).items()}
    return {**shape, "cost_usd": None if row.cost_usd is None else float(row.cost_usd)}


def _show(rows: Sequence[Row], path: Path) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    made.add_column("mode", no_wrap=True)
    for name in ("calls", "cost\nUSD", "p50\ns", "p95\ns", "first token\np50, s", "cold\nstarts", "failed"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        times = (row.p50_s, row.p95_s, row.ttft_p50_s)
        made.add_row(
            row.mode,
            str(row.calls),
            "unknown" if row.cost_usd is None else decimals(row.cost_usd),
            *("-" if value is None else f"{value:.2f}" for value in times),
            str(row.cold_starts),
            str(row.failed),
        )
    out = console()
    out.print(made)
    out.print(
        "\nSimulated: no provider was called, nothing was paid, and nobody waited: time is virtual.\n"
        "Serverless is paid by token. On a machine a call costs its share of the busy time, on Modal of\n"
        "the cold start too; what the machine costs while it is idle is not in the table."
    )
    out.print(
        "\nNext:\n"
        f"  the application      {path}\n"
        "  one call             HYBRID_INFER_SIMULATE=1 hybrid-infer call --mode modal Hello\n"
        "  your own providers   hybrid-infer doctor"
    )
