"""Settings from variables: those with a name of their own, and those with one of the user's choice in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from hybrid_infer.settings.layout import (
    Leaf,
    Named,
    Table,
    endings,
    folded,
    leaves,
    named_tables,
    variable_hint,
)
from hybrid_infer.settings.options import PREFIX, Option
from hybrid_infer.settings.tree import Given, Tree, below
from hybrid_infer.settings.wording import did_you_mean, dotted, no_such

CONFIG_VARIABLE = PREFIX + "CONFIG"
HINT = "the settings page of the documentation lists them all"


class Environment:
    """Reads variables; problems with their names go to the list it is given."""

    def __init__(self, layout: Table, problems: list[str]) -> None:
        self._layout = layout
        self._named = named_tables(layout)
        self._problems = problems

    def read(self, environ: Mapping[str, str], *, known: Tree) -> Tree:
        """What the variables set; `known` has the names that arguments and file use."""
        tree: Tree = {}
        ours = {CONFIG_VARIABLE}
        for leaf in leaves(self._layout):
            ours.update(leaf.option.variables)
            variable = next((v for v in leaf.option.variables if _is_set(environ.get(v), leaf.option)), None)
            if variable is not None:
                _place(tree, leaf.way, _given(variable, environ[variable], leaf.option, leaf.keys))
        for variable in sorted(name for name in environ if name.startswith(PREFIX) and name not in ours):
            for key, table in self._named.items():
                if variable.startswith(table.variables):
                    self._of_named(key, table, variable, environ[variable], tree, below(known, key))
                    break
            else:
                self._unknown(variable)
        return tree

    def _of_named(
        self, key: str, table: Named, variable: str, value: str, tree: Tree, known_names: Tree
    ) -> None:
        """A variable that holds a name: of one that is known where it fits, else in lower case."""
        possible = endings(table.entry)
        rest = variable.removeprefix(table.variables).upper()
        after = "" if "" in possible else "__"  # what ends the name
        known = [
            name
            for name in known_names
            if (rest.startswith(folded(name) + after) if after else rest == folded(name))
        ]
        otherwise = rest.partition(after)[0] if after else rest
        short = max((folded(name) for name in known), key=len, default=otherwise)
        names = sorted(name for name in known if folded(name) == short)
        if len(names) > 1:
            self._problems.append(
                f"{variable}: fits more than one {table.noun}: {', '.join(names)}; rename one"
            )
            return
        name, ending = (names or [short.lower()])[0], rest.removeprefix(short).removeprefix(after)
        if not name.isprintable():
            self._problems.append(f"{variable}: the {table.noun}'s name has characters that are no text")
            return
        leaf: Leaf | None = possible.get(ending) if rest else None
        if leaf is None:
            near = did_you_mean(ending, possible) if ending else None
            right = f"{table.variables}{short}__{near}" if near else None
            self._problems.append(no_such(variable, right, table.hint))
            return
        if not _is_set(value, leaf.option):
            return
        given = _given(variable, value, leaf.option, (key, name, *leaf.keys))
        if (other := _place(tree, (key, name, *leaf.way), given)) is not None:
            self._problems.append(f"{variable}: sets the same as {other.where}; give one of them")

    def _unknown(self, variable: str) -> None:
        name = variable.removeprefix(PREFIX)
        first, nested, rest = name.partition("__")
        tables = {folded(key): key for key in self._layout.tables}
        near, hint = None, HINT
        if not nested and first in tables:
            hint = variable_hint(tables[first], self._layout.tables[tables[first]])
        elif not nested:
            known = [v for leaf in leaves(self._layout) for v in leaf.option.variables]
            near = did_you_mean(
                name, [v.removeprefix(PREFIX) for v in (*known, CONFIG_VARIABLE) if v.startswith(PREFIX)]
            )
        elif (of := did_you_mean(first, tables)) is not None:
            table = self._layout.tables[tables[of]]
            hint = variable_hint(tables[of], table)
            ending = rest if isinstance(table, Named) else did_you_mean(rest, map(folded, table.keys))
            near = f"{of}__{ending}" if ending else None
        self._problems.append(no_such(variable, PREFIX + near if near else None, hint))


def _place(tree: Tree, way: tuple[str, ...], given: Given) -> Given | None:
    """Put a value into the tree; what stood there before is returned."""
    *above, leaf = way
    for step in above:
        tree = cast("Tree", tree.setdefault(step, {}))
    before = tree.get(leaf)
    tree[leaf] = given
    return before if isinstance(before, Given) else None


def _given(variable: str, value: str, option: Option, keys: tuple[str, ...]) -> Given:
    return Given(
        name=dotted(keys),
        value=value.strip(),
        where=variable,
        source=f"environment {variable}",
        option=option,
    )


def _is_set(value: str | None, option: Option) -> bool:
    """Whether a variable counts: container files say "not set" of keys and addresses with an empty one."""
    return value is not None and not (value.strip() == "" and (option.secret or option.address))
