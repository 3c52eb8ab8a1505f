"""`hybrid-infer prices`: what is known of prices, where sources disagree, and live ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_infer.calls.money import usd
from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.terminal import AsJson, console, note, write_json
from hybrid_infer.errors import APIError, ConfigurationError
from hybrid_infer.prices.tables import STALE_DAYS

if TYPE_CHECKING:
    from pathlib import Path

    from hybrid_infer.prices.compare import Quote, Quoted
    from hybrid_infer.prices.live import LiveList
    from hybrid_infer.settings import Settings

prices = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="Show prices, check them, fetch live ones.",
)

Filter = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Only models, GPUs and modes with this in their name.")
]

UNITS = {
    "input": "in", "output": "out", "cached": "cached",
    "hour": "an hour", "request": "a request", "megapixel": "a megapixel", "minute": "a minute",
}  # fmt: skip


@prices.command()
def show(name: Filter = None, as_json: AsJson = False, config: Config = None) -> None:
    """Show the prices that count, each with its source and its age.

    In USD: per million tokens, per hour of a GPU (or of a core, or of a GiB), per megapixel, per minute of
    audio. Nothing is sent.
    """
    settings, at = _settings(config), _today()
    found = _known(settings, name)
    if as_json:
        write_json([_json(one, one.quotes[:1], at) for one in found])
        return
    out = console()
    for mode, rows in _by_mode(found):
        out.print(f"\n{mode}", style="bold")
        width = max(len(one.name) for one in rows)
        for one in rows:
            used = one.used
            out.print(f"  {one.name:<{width}}  {_amounts(used):<34}  {_read(used, at)}")
    _footer(found, at)


@prices.command()
def check(name: Filter = None, as_json: AsJson = False, config: Config = None) -> None:
    """Show where sources disagree and by how much, and which prices are old or of offers that have ended.

    The first line of each is the price that counts. The package genai-prices is compared, too, if it is
    installed. Nothing is sent.
    """
    from hybrid_infer.cli.price_lists import genai_prices

    settings, at = _settings(config), _today()
    known = _known(settings, None)
    models = [one.name for one in known if one.mode == "together-serverless" and "input" in one.used.amounts]
    compared = _known(settings, name, list(genai_prices(models)))
    found = [one for one in compared if one.disagreement or one.used.doubts(at)]
    if as_json:
        write_json([_json(one, one.quotes, at) for one in found])
        return
    out = console()
    for one in found:
        out.print(f"\n{one.name}" + (f" on {one.mode}" if one.mode is not None else ""), style="bold")
        for quote in one.quotes:
            difference = None if quote is one.used else one.difference(quote)
            by = "counts" if quote is one.used else "" if difference is None else f"{difference:+.0%}"
            out.print(f"  {by:>7}  {_amounts(quote):<34}  {_read(quote, at)}")
    disagree = sum(one.disagreement > 0 for one in compared)
    out.print(f"\n{len(compared)} prices, {disagree} on which sources disagree.")
    _footer(compared, at)


@prices.command()
def refresh(as_json: AsJson = False, config: Config = None) -> None:
    """Fetch the providers' own prices, and keep them with their date.

    From Together with TOGETHER_API_KEY, from Modal through the package `modal`, where it is installed. What
    cannot be fetched stays as it was. Exit code 1 if nothing could be.
    """
    from hybrid_infer.prices.cache import read, write
    from hybrid_infer.prices.chosen import cache_file

    settings = _settings(config)
    if settings.simulate:
        raise ConfigurationError("simulated providers have no prices to fetch: unset HYBRID_INFER_SIMULATE")
    path = cache_file(settings)
    if path is None:
        raise ConfigurationError("there is no folder to keep prices in: set HYBRID_INFER_PRICES_CACHE")
    try:
        before = {one.name: one for one in read(path)}
    except ValueError as error:
        note(f"warning: {path} is replaced: {error}")
        before = {}
    except OSError as error:
        raise _unusable(path, error) from None
    fetched, problems = _fetch(settings, datetime.now(UTC).replace(microsecond=0))
    if fetched:
        after = before | {one.name: one for one in fetched}
        try:
            write(path, after.values())
        except OSError as error:
            raise _unusable(path, error) from None
    if as_json:
        counts = {one.name: sum(1 for _ in one.rows.rows()) for one in fetched}
        write_json({"file": str(path), "fetched": counts, "problems": problems})
    else:
        for one in fetched:
            earlier = before.get(one.name)
            since = (
                ""
                if earlier is None
                else f", {_changes(earlier, one)} changed since {earlier.fetched:%Y-%m-%d}"
            )
            typer.echo(f"{one.name}: {sum(1 for _ in one.rows.rows())} prices{since}")
        for subject, problem in problems.items():
            note(f"{subject}: not fetched: {problem}")
        if fetched:
            note(f"kept in {path}")
    if not fetched:
        raise typer.Exit(1)


def _fetch(settings: Settings, now: datetime) -> tuple[list[LiveList], dict[str, str]]:
    """What could be fetched, and why the rest could not."""
    from hybrid_infer.cli.price_lists import modal, together
    from hybrid_infer.prices.live import fetch_together

    fetched: list[LiveList] = []
    problems: dict[str, str] = {}
    try:
        fetched, failed = fetch_together(together(settings), now)
        problems |= {name: str(error) for name, error in failed.items()}
    except ConfigurationError as error:
        problems["together"] = str(error)
    try:
        rates = modal(settings, now)
        if rates is None:
            problems["modal-rates"] = 'needs the package: pip install "hybrid-infer[modal]"'
        else:
            fetched.append(rates)
    except APIError as error:
        problems["modal-rates"] = str(error)
    return fetched, problems


def _settings(config: Path | None) -> Settings:
    from hybrid_infer.settings import Settings

    return Settings.load(config=config_file(config))


def _known(
    settings: Settings, name: str | None, others: Sequence[tuple[str, str, Quote]] = ()
) -> list[Quoted]:
    """Every price with `name` in its own, and what all sources say of it."""
    from hybrid_infer.prices.cache import read
    from hybrid_infer.prices.chosen import cache_file
    from hybrid_infer.prices.compare import quoted
    from hybrid_infer.prices.user import user_prices

    path = None if settings.simulate else cache_file(settings)
    lists: list[LiveList] = []
    if path is not None:
        try:
            lists = read(path)
        except (OSError, ValueError) as error:
            note(f"warning: {path} cannot be used: {error}")
    found = quoted(user_prices(settings.prices), lists, others)
    wanted = (name or "").lower()
    return [one for one in found if wanted in one.name.lower() or wanted in (one.mode or "")]


def _by_mode(found: Sequence[Quoted]) -> list[tuple[str, list[Quoted]]]:
    groups: dict[str, list[Quoted]] = {}
    for one in found:
        groups.setdefault(one.mode or "your own prices", []).append(one)
    return list(groups.items())


def _amounts(quote: Quote) -> str:
    return ", ".join(f"{_plain(amount)} {UNITS[kind]}" for kind, amount in quote.amounts.items())


def _plain(nano: int) -> str:
    amount = usd(nano).normalize()
    return f"{amount.quantize(Decimal('0.01')) if amount == round(amount, 2) else amount:f}"


def _read(quote: Quote, at: date) -> str:
    age = quote.age(at)
    ended = f" ENDED {quote.retires}" if quote.retires is not None and at > quote.retires else ""
    if age is None:
        return quote.source + ended
    flag = ", STALE" if age > STALE_DAYS else ""
    return f"{quote.as_of} ({age} days old{flag}){ended} {quote.source}"


def _footer(found: Sequence[Quoted], at: date) -> None:
    stale = sum((one.used.age(at) or 0) > STALE_DAYS for one in found)
    if stale:
        note(
            f"{stale} prices were read more than {STALE_DAYS} days ago; `hybrid-infer prices refresh` "
            "fetches the providers' own"
        )


def _json(one: Quoted, quotes: Sequence[Quote], at: date) -> dict[str, Any]:
    return {
        "name": one.name,
        "mode": one.mode,
        "disagreement": one.disagreement,
        "quotes": [
            {
                "origin": quote.origin,
                "source": quote.source,
                "usd": {kind: float(usd(amount)) for kind, amount in quote.amounts.items()},
                "as_of": None if quote.as_of is None else quote.as_of.isoformat(),
                "age_days": quote.age(at),
                "retires": None if quote.retires is None else quote.retires.isoformat(),
                "doubts": quote.doubts(at),
                "note": quote.note,
                "difference": None if quote is one.used else one.difference(quote),
            }
            for quote in quotes
        ],
    }


def _changes(before: LiveList, after: LiveList) -> int:
    """How many prices are not what they were, new and missing ones included."""
    from dataclasses import replace

    from hybrid_infer.prices.compare import name_of

    one, other = (
        {(mode, type(row), name_of(row)): replace(row, as_of=None) for mode, row in of.rows.rows()}
        for of in (before, after)
    )
    return sum(one.get(key) != other.get(key) for key in one.keys() | other.keys())


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"prices cannot be kept in {path}: {error.strerror or error}; "
        "set HYBRID_INFER_PRICES_CACHE to a file that can be written"
    )


def _today() -> date:
    return datetime.now(UTC).date()
