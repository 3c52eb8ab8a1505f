"""How names and values of settings are written for people, secrets left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from hybrid_infer.settings.options import Option

_LONGEST = 80
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dotted(keys: Sequence[str]) -> str:
    """A key as TOML writes it, e.g. ``models."llama-3.3".modal.url``."""
    return ".".join(key if _BARE_KEY.fullmatch(key) else json.dumps(key) for key in keys)


def assignment(where: str, value: object, option: Option) -> str:
    """A setting and its value, e.g. ``HYBRID_INFER_TIMEOUT="soon"``; of a secret the name alone."""
    if option.secret or not isinstance(value, str | int | float):
        return where
    if isinstance(value, bool):
        return f"{where}={str(value).lower()}"
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to write out very long numbers
        return where
    text = quoted(value, address=option.address) if isinstance(value, str) else _short(repr(value))
    return f"{where}={text}"


def as_written(name: str, source: str) -> str:
    """A setting as its writer knows it, from its source in `Settings.sources`."""
    kind, _, place = source.partition(" ")
    if kind == "environment":
        return place
    return f"{place}: {name}" if kind == "file" else f"argument {name}"


def quoted(text: str, *, address: bool = False) -> str:
    """A text as it may be shown: not too long, and without what an address may hold of secrets."""
    return _short(json.dumps(_without_userinfo(text, address)))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def found(value: object) -> str:
    """What stands where a table or a plain value belongs, without its content."""
    for kind, name in ((dict, "a table"), (list, "a list"), (str, "text"), (bool, "true or false")):
        if isinstance(value, kind):
            return name
    return f"a value of type {type(value).__name__}"


def no_such(where: str, near: str | None, hint: str) -> str:
    """The sentence on a name that no setting has; the hint where no right name is near."""
    return f"{where}: no such setting; {f'did you mean {near}?' if near else hint}"


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """The nearest of the known names, None where none is near."""
    from difflib import get_close_matches  # needed on the way to an error only

    names = list(known)
    folded = {name.lower().replace("_", "-"): name for name in names}
    asked = wrong.lower().replace("_", "-")
    near = get_close_matches(asked, folded, n=3, cutoff=0.6)
    # Swapped letters ("modle") are nearer than difflib thinks.
    near.sort(key=lambda name: sorted(name) != sorted(asked))
    return folded[near[0]] if near else None


def _without_userinfo(text: str, address: bool) -> str:
    if not address and "://" not in text:
        return text
    scheme, separator, rest = text.rpartition("://") if "://" in text else ("", "", text)
    # The last @ first: a password may hold ? and #.
    return scheme + separator + re.split(r"[?#]", rest.rpartition("@")[2])[0]
