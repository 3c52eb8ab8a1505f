"""Where the file is, if nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def default_path(environ: Mapping[str, str]) -> Path | None:
    """``$XDG_CACHE_HOME/hybrid_infer/answers.sqlite``, or below ``~/.cache``; None where there is no home."""
    folder = environ.get("XDG_CACHE_HOME")
    if folder and Path(folder).is_absolute():
        return Path(folder) / "hybrid_infer" / "answers.sqlite"
    try:
        return Path.home() / ".cache" / "hybrid_infer" / "answers.sqlite"
    except RuntimeError:
        return None
