"""Settings read back: each with its value, as far as that may be shown, and its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from hybrid_infer.settings.layout import Named, Table
from hybrid_infer.settings.options import Option
from hybrid_infer.settings.wording import dotted


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One row of `Settings.explain`: a setting, its value as it may be shown, and where it came from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    keys: tuple[str, ...]
    option: Option
    value: object
    given: bool


def rows(settings: object, layout: Table, sources: Mapping[str, str]) -> Iterator[Explained]:
    """Every setting with a name of its own; below names of the user's choice what is said there.

    Args:
        settings: the model that the layout describes.
        sources: by name, of what is known to come from somewhere.
    """
    for found in _values(layout, settings, (), everything=True):
        name = dotted(found.keys)
        source = sources.get(name, "argument" if found.given else "default")
        yield Explained(name=name, value=_shown(found.option, found.value), source=source)


def _values(
    table: Table | Named, holder: Any, keys: tuple[str, ...], *, everything: bool
) -> Iterator[_Value]:
    """All values in a table; `holder` is the model or the mapping that has them."""
    if isinstance(table, Named):
        for name, value in holder.items():
            if isinstance(table.entry, Option):
                yield _Value(keys=(*keys, name), option=table.entry, value=value, given=True)
            else:
                yield from _values(table.entry, value, (*keys, name), everything=False)
        return
    for key, option in table.options.items():
        given = key in holder.model_fields_set
        if given or everything:
            yield _Value(keys=(*keys, key), option=option, value=getattr(holder, key), given=given)
    for key, inner in table.tables.items():
        below = getattr(holder, key) if table.within is None else getattr(holder, table.within).get(key)
        if below is not None:
            yield from _values(inner, below, (*keys, key), everything=everything)


def _shown(option: Option, value: object) -> str:
    if value is None or value == ():
        return "not set"
    if option.secret:
        return "set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value)))
    return str(value)
