"""Where settings come from: arguments over environment over file, each under the name its writer gave it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from hybrid_infer.calls.call import CHOICES, MODES
from hybrid_infer.calls.timeouts import PARTS, Timeouts
from hybrid_infer.settings.environment import CONFIG_VARIABLE, HINT, Environment
from hybrid_infer.settings.layout import Entry, Named, Table
from hybrid_infer.settings.options import PREFIX, Option
from hybrid_infer.settings.tree import Given, Tree, below, merged
from hybrid_infer.settings.wording import assignment, did_you_mean, dotted, found, no_such

_TOGETHER = {"base_url": "together_base_url", "api_key": "together_api_key"}
# `base_url` and `api_key` given as arguments mean the mode that the client is made for. From environment
# and file they are those of openai-compatible alone: otherwise a change of HYBRID_INFER_MODE would send one
# provider's key to another's address.
_ARGUMENTS_OF_MODE: Mapping[str, Mapping[str, str]] = {
    "together-serverless": _TOGETHER,
    "together-dedicated": _TOGETHER,
    "modal": {"base_url": "modal_url", "api_key": "modal_api_key"},
    "openai-compatible": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Who gives a table: how that begins in messages, and what it is called in `Settings.sources`."""

    prefix: str
    source: str


_ARGUMENTS = _Writer(prefix="argument ", source="argument")


class Source:
    """Collects what is given and, on the way, every problem with names."""

    def __init__(self, layout: Table) -> None:
        self.problems: list[str] = []
        self._layout = layout

    def read(
        self,
        arguments: Mapping[str, object],
        environ: Mapping[str, str],
        config: str | os.PathLike[str] | None,
    ) -> Tree:
        """Everything given, the stronger over the weaker."""
        timeouts = arguments.get("timeout")
        if isinstance(timeouts, Timeouts):
            arguments = {key: value for key, value in arguments.items() if key != "timeout"}
        given = self._table(self._layout, arguments, (), _ARGUMENTS)
        if isinstance(timeouts, Timeouts):
            self._expand(timeouts, given)
        from_file = self._file(config, environ)
        environment = Environment(self._layout, self.problems)
        from_environment = environment.read(environ, known=merged(given, from_file))
        lower = merged(from_environment, from_file)
        self._move_arguments(given, lower)
        return merged(given, lower)

    def _expand(self, timeouts: Timeouts, given: Tree) -> None:
        """The parts of a `Timeouts`, each under the name of its setting."""
        for part in PARTS:
            value = cast("float | None", getattr(timeouts, part))
            name = "timeout" if part == "total" else f"{part}_timeout"
            if value is None:
                continue
            where = f"{_ARGUMENTS.prefix}timeout.{part}"
            if isinstance(other := given.get(name), Given):
                self.problems.append(f"{where}: sets the same as {other.where}; give one of them")
            option = self._layout.options[name]
            given[name] = Given(name=name, value=value, where=where, source=_ARGUMENTS.source, option=option)

    def _move_arguments(self, given: Tree, lower: Tree) -> None:
        mode = self._text("mode", given, lower) or self._layout.options["mode"].default
        modes = [mode]
        if mode == "hybrid":
            both = [below(tree, "hybrid") for tree in (given, lower)]
            modes = [self._text(key, *both) for key in ("base", "overflow")]
        meant = [_ARGUMENTS_OF_MODE[mode] for mode in modes if isinstance(mode, str) and mode in MODES]
        if len(meant) < len(modes):
            return  # a mode that is wrong or missing is told later
        for mine in ("base_url", "api_key"):
            leaf = given.get(mine)
            if not isinstance(leaf, Given):
                continue
            names = [names.get(mine, mine) for names in meant]
            full = names[0]
            if len(set(names)) > 1:
                instead = " or ".join(
                    f"{PREFIX}{mine.upper()} (for {mode})" if name == mine else f"{name} (for {mode})"
                    for name, mode in zip(names, modes, strict=True)
                )
                self.problems.append(
                    f"{leaf.where}: in mode hybrid it does not say whose it is; give {instead}"
                )
            elif full != mine:
                if full in given:
                    self.problems.append(
                        f"{leaf.where}: in mode {mode} this is {full}, given too; give one of them"
                    )
                del given[mine]
                given[full] = replace(leaf, name=full, option=self._layout.options[full])

    @staticmethod
    def _text(key: str, *trees: Tree) -> object:
        """The value of the strongest tree that has one."""
        nodes = [node for tree in trees if isinstance(node := tree.get(key), Given)]
        return nodes[0].value if nodes else None

    def _file(self, config: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Tree:
        named = CONFIG_VARIABLE if config is None else "argument config"
        chosen = environ.get(CONFIG_VARIABLE) or None if config is None else config
        if chosen is None:
            return {}
        import tomllib  # needed where a file is named only

        try:
            path = os.fsdecode(chosen)
        except TypeError:
            self.problems.append(f"{named}: must be the path of a TOML file, not {found(chosen)}")
            return {}
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self.problems.append(f"{named}={json.dumps(path)}: cannot read the file: {why}")
            return {}
        try:
            table = tomllib.loads(content.decode())
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.problems.append(f"{path}: not TOML: not UTF-8 text (at line {line})")
            return {}
        except (ValueError, RecursionError) as error:
            self.problems.append(f"{path}: not TOML: {error}")
            return {}
        return self._table(self._layout, table, (), _Writer(prefix=f"{path}: ", source=f"file {path}"))

    def _node(self, entry: Entry, value: object, keys: tuple[str, ...], writer: _Writer) -> Given | Tree:
        """What a file or the arguments give in one place."""
        if isinstance(entry, Option):
            return _given(entry, value, dotted(keys), keys, writer)
        if isinstance(entry, Table) and entry.short is not None and isinstance(value, str):
            option = entry.options[entry.short]
            return {entry.short: _given(option, value, dotted((*keys, entry.short)), keys, writer)}
        return self._table(entry, value, keys, writer)

    def _table(self, table: Table | Named, value: object, keys: tuple[str, ...], writer: _Writer) -> Tree:
        tree: Tree = {}
        if not isinstance(value, Mapping):
            wrong = f"{writer.prefix}{dotted(keys)}"
            self.problems.append(f"{wrong}: must be {table.wanted}, not {found(value)}")
            return tree
        for key, inner in cast("Mapping[object, object]", value).items():
            key = str(key)
            path = (*keys, key)
            if inner is None:  # "not given"
                continue
            if isinstance(table, Named):
                if key.isprintable():
                    tree[key] = self._node(table.entry, inner, path, writer)
                else:
                    why = f"the {table.noun}'s name has characters that are no text"
                    self.problems.append(f"{writer.prefix}{dotted(path)}: {why}")
            elif (entry := table.below(key)) is None:
                self._unknown(table, path, writer)
            else:
                node = tree
                *way, leaf = table.way(key)
                for step in way:
                    node = cast("Tree", node.setdefault(step, {}))
                node[leaf] = self._node(entry, inner, path, writer)
        return tree

    def _unknown(self, table: Table, keys: tuple[str, ...], writer: _Writer) -> None:
        *above, wrong = keys
        near = did_you_mean(wrong, table.keys)
        hint = HINT if not above else f"use one of {', '.join(table.keys)}"
        self.problems.append(
            no_such(writer.prefix + dotted(keys), dotted((*above, near)) if near else None, hint)
        )


def problem(given: Given, reason: str | None) -> str:
    """One sentence on a value that was refused; `reason` where there is more to say than what is allowed."""
    option = given.option
    if reason is None and option.choices:
        near = did_you_mean(given.value, option.choices) if isinstance(given.value, str) else None
        what = "not a mode" if option.choices in (MODES, CHOICES) else "not known"
        reason = f"{what}; use {option.allowed}" + (f"; did you mean {near}?" if near else "")
    if reason is None:
        plain = isinstance(given.value, str | int | float)
        reason = f"must be {option.allowed}" + ("" if plain else f", not {found(given.value)}")
    return f"{assignment(given.where, given.value, option)}: {reason}"


def _given(option: Option, value: object, name: str, keys: tuple[str, ...], writer: _Writer) -> Given:
    return Given(
        name=name, value=value, where=writer.prefix + dotted(keys), source=writer.source, option=option
    )
