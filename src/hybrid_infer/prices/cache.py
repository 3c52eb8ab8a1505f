"""The file in which live prices are kept, with their dates."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hybrid_infer.prices.live import LiveList, from_json, merged, to_json
from hybrid_infer.prices.tables import Tables

log = logging.getLogger("hybrid_infer")


def default_path(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_CACHE_HOME/hybrid_infer/prices.json``, or below ``~/.cache``; None where there is no home."""
    folder = environ.get("XDG_CACHE_HOME")
    if folder and Path(folder).is_absolute():
        return Path(folder) / "hybrid_infer" / "prices.json"
    try:
        return Path.home() / ".cache" / "hybrid_infer" / "prices.json"
    except RuntimeError:
        return None


def read(path: Path) -> list[LiveList]:
    """The lists that are kept there; none where there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not one of ours.
    """
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    return from_json(content)


def write(path: Path, lists: Iterable[LiveList]) -> None:
    """Keep the lists there, in one move: a reader sees the old file or the new one.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(to_json(lists)), "utf-8")
    fresh.replace(path)


def kept(path: Path | None) -> Callable[[], Tables | None]:
    """For `PriceBook(live=…)`: reads the file when it is asked. A file that cannot be read is no reason to
    fail a call: it is logged, and the shipped prices count."""

    def load() -> Tables | None:
        if path is None:
            return None
        try:
            return merged(read(path))
        except (OSError, ValueError) as error:
            log.warning("live prices in %s cannot be used: %s", path, error)
            return None

    return load
