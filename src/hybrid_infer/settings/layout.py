"""Which settings there are and how they are nested; arguments, files and variables are all read by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from hybrid_infer.settings.options import PREFIX, Option

_NONE: Mapping[str, Table | Named] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose keys are known.

    Attributes:
        wanted: completes "must be …".
        options: the plain values in it.
        tables: the tables in it.
        within: the field of the settings that holds these tables; None where each is a field itself.
        short: the option that a mere text in the table's place is for.
    """

    wanted: str
    options: Mapping[str, Option]
    tables: Mapping[str, Table | Named] = field(default_factory=lambda: _NONE)
    within: str | None = None
    short: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.options, *self.tables)

    def below(self, key: str) -> Entry | None:
        """What the key stands for; None where there is no such key."""
        return self.options.get(key) or self.tables.get(key)

    def way(self, key: str) -> tuple[str, ...]:
        """The fields of the settings that lead to what the key stands for."""
        return (self.within, key) if self.within is not None and key in self.tables else (key,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A table whose keys are names that the user chooses.

    Attributes:
        wanted: completes "must be …".
        noun: what such a name is the name of.
        entry: what stands under each.
        variables: how their variables begin.
        hint: how their variables look, for those who got it wrong.
    """

    wanted: str
    noun: str
    entry: Table | Option
    variables: str
    hint: str


Entry: TypeAlias = "Option | Table | Named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A plain value below a table.

    Attributes:
        keys: how the user gets there, e.g. ``("modal", "url")``.
        way: the fields of the settings that lead there, e.g. ``("targets", "modal", "url")``.
    """

    keys: tuple[str, ...]
    way: tuple[str, ...]
    option: Option


def leaves(entry: Entry, keys: tuple[str, ...] = (), way: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """All plain values below an entry, those below names of the user's choice left out."""
    if isinstance(entry, Option):
        yield Leaf(keys=keys, way=way, option=entry)
    elif isinstance(entry, Table):
        for key, below in {**entry.options, **entry.tables}.items():
            yield from leaves(below, (*keys, key), (*way, *entry.way(key)))


def endings(entry: Table | Option) -> dict[str, Leaf]:
    """What may follow a name of the user's choice in a variable; the empty ending is the name alone."""
    found = {"__".join(map(folded, leaf.keys)): leaf for leaf in leaves(entry)}
    if isinstance(entry, Table):
        for key, table in entry.tables.items():
            if isinstance(table, Table) and table.short is not None:
                found[folded(key)] = found[f"{folded(key)}__{folded(table.short)}"]
    return found


def folded(name: str) -> str:
    """A name as a variable can write it."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def named_tables(root: Table) -> dict[str, Named]:
    """The tables with names of the user's choice, by key."""
    return {key: table for key, table in root.tables.items() if isinstance(table, Named)}


def variable_hint(key: str, table: Table | Named) -> str:
    """How the variables of a table look."""
    if isinstance(table, Named):
        return table.hint
    first, *others = map(folded, table.keys)
    return f"use one of {', '.join([f'{PREFIX}{folded(key)}__{first}', *(f'…__{name}' for name in others)])}"
