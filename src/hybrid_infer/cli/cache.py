"""`hybrid-infer cache`: what is kept of answers, and how to be rid of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from hybrid_infer.cli.config import Config, config_file
from hybrid_infer.cli.terminal import AsJson, console, decimals, note, write_json
from hybrid_infer.errors import ConfigurationError

if TYPE_CHECKING:
    from hybrid_infer.settings import Settings
    from hybrid_infer.stores.cache_summary import Summary
    from hybrid_infer.stores.redis_shared import Redis

cache = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look into the cache, and empty it. HYBRID_INFER_CACHE=sqlite or redis switches it on.",
)

File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="The file of a cache; without it the cache that the settings name.",
    ),
]

_NANO = Decimal(10**9)


@cache.command()
def stats(as_json: AsJson = False, file: File = None, config: Config = None) -> None:
    """Show what is in the cache, for each operation and target.

    What is saved is what one hit on each answer saves; of how many that is not known stands beside it. Hits
    are not counted here: the ledger has them.
    """
    settings = _settings(config)
    now = datetime.now(UTC).timestamp()
    path = _file(file, settings)
    place: object
    if path is not None:
        from hybrid_infer.stores.cache_sqlite.upkeep import summarise

        store, place, found = "sqlite", path, summarise(path, now=now)
    else:
        from hybrid_infer.stores import cache_redis

        prefix = settings.redis_prefix
        store = "redis"
        place, found = _in_redis(settings, lambda redis: cache_redis.summarise(redis, prefix=prefix, now=now))
    bound = settings.cache_max_bytes if path is not None else None
    if as_json:
        write_json(_json(store, place, bound, found))
    else:
        _show(store, place, bound, found)


@cache.command()
def clear(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    file: File = None,
    config: Config = None,
) -> None:
    """Remove every answer from the cache.

    Asks first; where nobody is there to be asked, --yes is needed. Processes that use the cache go on.
    """
    settings = _settings(config)
    path = _file(file, settings)
    if path is not None:
        from hybrid_infer.stores.cache_sqlite.upkeep import clear

        _agreed(yes, f"all answers in {path}")
        clear(path)
        typer.echo(f"{path} is empty")
    else:
        from hybrid_infer.stores import cache_redis

        prefix = settings.redis_prefix
        _agreed(yes, f"all answers under {prefix}:cache: in Redis")
        place, removed = _in_redis(settings, lambda redis: cache_redis.clear(redis, prefix=prefix))
        typer.echo(f"{removed:,} answers removed from {place}")


@cache.command()
def prune(as_json: AsJson = False, file: File = None, config: Config = None) -> None:
    """Remove what is past its time and what is beyond cache_max_bytes, and make the file smaller.

    Processes that use the cache do the same by themselves, but for making the file smaller. Redis removes
    what is past its time itself, and its bound is its own setting maxmemory.
    """
    settings = _settings(config)
    path = _file(file, settings)
    if path is None:
        raise ConfigurationError(
            "there is nothing to prune in Redis: it removes what is past its time itself, and its setting "
            "maxmemory bounds the rest"
        )
    from hybrid_infer.stores.cache_sqlite.upkeep import prune

    gone = datetime.now(UTC).timestamp() - settings.cache_stale_if_error
    removed, freed = prune(path, max_bytes=settings.cache_max_bytes, gone=gone)
    if as_json:
        write_json({"removed": removed, "freed_bytes": freed})
    else:
        typer.echo(f"{removed:,} answers removed, {path} is {_size(freed)} smaller")


def _settings(config: Path | None) -> Settings:
    from hybrid_infer.settings import Settings

    return Settings.load(config=config_file(config))


def _file(given: Path | None, settings: Settings) -> Path | None:
    """The file to look into; None where the cache is in Redis.

    Raises:
        ConfigurationError: there is nothing to look into.
    """
    from hybrid_infer.stores.cache_sqlite.place import default_path

    path = given or settings.cache_path
    if given is not None or settings.cache == "sqlite":
        path = path or default_path(os.environ)
        if path is None:
            raise ConfigurationError("there is no home folder: name the file with HYBRID_INFER_CACHE_PATH")
        return Path(path).expanduser().absolute()
    if settings.cache == "redis":
        return None
    if settings.cache == "memory":
        raise ConfigurationError(
            "cache=memory lives in each process, and ends with it: nothing of it can be seen or removed from "
            "here. HYBRID_INFER_CACHE=sqlite or redis keeps answers where all processes find them"
        )
    raise ConfigurationError(
        "the cache is off: HYBRID_INFER_CACHE=sqlite or redis switches it on, and --file FILE names the file "
        "of one that is there"
    )


Asking: TypeAlias = "Callable[[Redis], Coroutine[Any, Any, Any]]"


def _in_redis(settings: Settings, ask: Asking) -> tuple[str, Any]:
    """Where it is, and what it answers."""
    from hybrid_infer.runtime.step import step
    from hybrid_infer.stores.redis_shared import open_blocking, reason

    if settings.redis_url is None:
        raise ConfigurationError("cache=redis needs the address of a Redis: set HYBRID_INFER_REDIS_URL=…")
    redis = open_blocking(settings.redis_url.get_secret_value())
    try:
        return f"Redis at {redis.place}", step(ask(redis))
    except Exception as error:
        raise ConfigurationError(f"Redis at {redis.place}: {reason(error)}") from None
    finally:
        step(redis.aclose())


def _agreed(yes: bool, what: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"this removes {what}: --yes says that it is meant")
    typer.confirm(f"Remove {what}?", abort=True, err=True)


def _json(store: str, place: object, bound: int | None, found: Summary) -> dict[str, Any]:
    groups: list[dict[str, Any]] = []
    for group in found.groups:
        shape = asdict(group)
        shape["saved_usd"] = float(shape.pop("saved_nano") / _NANO)
        groups.append(shape)
    return {
        "store": store,
        "place": str(place),
        "entries": found.entries,
        "bytes": found.bytes,
        "file_bytes": found.file_bytes,
        "max_bytes": bound,
        "oldest": _moment(found.oldest),
        "newest": _moment(found.newest),
        "expired": found.expired,
        "saved_usd": sum(group["saved_usd"] for group in groups),
        "saved_unknown": sum(group["saved_unknown"] for group in groups),
        "groups": groups,
    }


def _show(store: str, place: object, bound: int | None, found: Summary) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    out = console()
    file = "" if found.file_bytes is None else f", {_size(found.file_bytes)} of at most {_size(bound or 0)}"
    out.print(f"{store}: {place}{file}")
    if not found.entries:
        out.print("There is no answer in it.")
        return
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("operation", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for name in ("answers", "bytes", "saved by a\nhit on each,\nUSD", "not\nknown of"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in found.groups:
        table.add_row(
            group.operation,
            group.target,
            f"{group.entries:,}",
            f"{group.bytes:,}",
            "unknown" if group.saved_unknown == group.entries else decimals(group.saved_nano / _NANO),
            f"{group.saved_unknown:,}" if group.saved_unknown else "",
        )
    # As wide as it needs to be: a number that is cut short would be a wrong one.
    out.width = max(out.width, 250)
    out.print(table)
    out.print(f"stored from {_moment(found.oldest)} to {_moment(found.newest)}")
    if found.expired:
        note(f"{found.expired:,} are past their time: kept for outages, or waiting to be removed")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
