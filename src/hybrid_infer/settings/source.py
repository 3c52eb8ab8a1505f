"""Where settings come from: arguments over environment over file, each under the name its writer gave it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, cast

from hybrid_infer.calls.call import MODES
from hybrid_infer.settings.options import PREFIX, Option
from hybrid_infer.settings.wording import assignment, did_you_mean, dotted, found

CONFIG_VARIABLE = PREFIX + "CONFIG"
_MODELS_PREFIX = PREFIX + "MODELS__"
_HINT = "the settings page of the documentation lists them all"
_NO_TEXT = "the model's name has characters that are no text"
_MODEL_HINT = f"a model has {_MODELS_PREFIX}<NAME>__MODE, …__<MODE> and such as …__<MODE>__URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One value, not checked yet.

    Attributes:
        value: not part of the repr, it may be secret.
        where: the setting as the user wrote it, for messages: a variable, ``"argument mode"``, file and key.
        source: for `Settings.sources`.
    """

    value: object = field(repr=False)
    where: str
    source: str
    option: Option


Tree: TypeAlias = "dict[str, Given | Tree]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The options that exist: of the client, of a model, and of a model in one mode."""

    top: Mapping[str, Option]
    model: Mapping[str, Option]
    target: Mapping[str, Option]


# `base_url` and `api_key` given as arguments mean the mode that the client is made for. From environment
# and file they are those of openai-compatible alone: otherwise a change of HYBRID_INFER_MODE would send one
# provider's key to another's address.
_ARGUMENTS_OF_MODE: Mapping[str, Mapping[str, str]] = {
    "together-serverless": {"base_url": "together_base_url", "api_key": "together_api_key"},
    "together-dedicated": {"base_url": "together_base_url", "api_key": "together_api_key"},
    "modal": {"base_url": "modal_url", "api_key": "modal_api_key"},
    "openai-compatible": {},
}


class Source:
    """Collects what is given and, on the way, every problem with names."""

    def __init__(self, layout: Layout) -> None:
        self.problems: list[str] = []
        self._layout = layout

    def read(
        self,
        arguments: Mapping[str, object],
        environ: Mapping[str, str],
        config: str | os.PathLike[str] | None,
    ) -> Tree:
        """Everything given, the stronger over the weaker."""
        given = self._table(arguments, prefix="argument ", source="argument")
        from_file = self._file(config, environ)
        from_environment = self._environment(
            environ, known_models=_under(_merged(given, from_file), "models")
        )
        lower = _merged(from_environment, from_file)
        self._move_arguments(given, lower)
        return _merged(given, lower)

    def _move_arguments(self, given: Tree, lower: Tree) -> None:
        chosen = given.get("mode", lower.get("mode"))
        mode = chosen.value if isinstance(chosen, Given) else self._layout.top["mode"].default
        names = _ARGUMENTS_OF_MODE.get(mode) if isinstance(mode, str) else None  # a wrong mode is told later
        for mine, full in (names or {}).items():
            if mine in given and full in given:
                self.problems.append(
                    f"argument {mine}: in mode {mode} this is {full}, given too; give one of them"
                )
            if isinstance(leaf := given.pop(mine, None), Given):
                given[full] = replace(leaf, option=self._layout.top[full])

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
        return self._table(table, prefix=f"{path}: ", source=f"file {path}")

    def _table(self, table: Mapping[str, object], *, prefix: str, source: str) -> Tree:
        """What a file or the arguments give; None is "not given"."""
        tree: Tree = {}
        for key, value in table.items():
            if value is None:
                continue
            if key == "models":
                tree["models"] = self._models(value, prefix=prefix, source=source)
            elif (option := self._layout.top.get(key)) is not None:
                tree[key] = Given(value=value, where=prefix + key, source=source, option=option)
            else:
                self._unknown(prefix, (key,), key, [*self._layout.top, "models"])
        return tree

    def _models(self, value: object, *, prefix: str, source: str) -> Tree:
        models: Tree = {}
        for name, entry in self._items(value, prefix, ("models",), "a table of models"):
            if not name.isprintable():
                self.problems.append(f"{prefix}{dotted(('models', name))}: {_NO_TEXT}")
                continue
            targets: Tree = {}
            model: Tree = {"targets": targets}
            models[name] = model
            for key, inner in self._items(entry, prefix, ("models", name), "a table of modes"):
                keys = ("models", name, key)
                if key in self._layout.model:
                    option = self._layout.model[key]
                    model[key] = Given(value=inner, where=prefix + dotted(keys), source=source, option=option)
                elif key in MODES:
                    targets[key] = self._target(inner, keys, prefix=prefix, source=source)
                else:
                    self._unknown(prefix, keys, key, [*self._layout.model, *MODES])
        return models

    def _target(self, value: object, keys: tuple[str, ...], *, prefix: str, source: str) -> Tree:
        options = self._layout.target
        if isinstance(value, str):  # the short form: the provider's name of the model
            where = prefix + dotted(keys)
            return {"model": Given(value=value, where=where, source=source, option=options["model"])}
        target: Tree = {}
        for key, inner in self._items(value, prefix, keys, "the provider's name of the model, or a table"):
            path = (*keys, key)
            if key in options:
                where = prefix + dotted(path)
                target[key] = Given(value=inner, where=where, source=source, option=options[key])
            else:
                self._unknown(prefix, path, key, options)
        return target

    def _items(
        self, value: object, prefix: str, keys: tuple[str, ...], wanted: str
    ) -> list[tuple[str, object]]:
        if not isinstance(value, Mapping):
            self.problems.append(f"{prefix}{dotted(keys)}: must be {wanted}, not {found(value)}")
            return []
        table = cast("Mapping[object, object]", value)
        return [(str(key), inner) for key, inner in table.items() if inner is not None]

    def _environment(self, environ: Mapping[str, str], *, known_models: Tree) -> Tree:
        tree: Tree = {}
        ours = {CONFIG_VARIABLE}
        for name, option in self._layout.top.items():
            ours.update(option.variables)
            variable = next((v for v in option.variables if _is_set(environ.get(v), option)), None)
            if variable is not None:
                tree[name] = _variable(variable, environ[variable], option)
        models: Tree = {}
        for variable in sorted(name for name in environ if name.startswith(PREFIX) and name not in ours):
            if variable.startswith(_MODELS_PREFIX):
                self._model_variable(variable, environ[variable], models, known_models)
            else:
                wrong, nested, rest = variable.removeprefix(PREFIX).partition("__")
                near = did_you_mean(wrong, [*(name.upper() for name in self._layout.top), "CONFIG"])
                if nested:  # only models have settings below them
                    near = f"MODELS__{rest}"
                self._no_such(variable, PREFIX + near if near else None)
        return {**tree, "models": models} if models else tree

    def _model_variable(self, variable: str, value: str, models: Tree, known_models: Tree) -> None:
        rest = variable.removeprefix(_MODELS_PREFIX).upper()
        known = [name for name in known_models if rest.startswith(_folded(name) + "__")]
        folded = max((_folded(name) for name in known), key=len, default=rest.partition("__")[0])
        names = sorted(name for name in known if _folded(name) == folded)
        if len(names) > 1:
            self.problems.append(f"{variable}: fits more than one model: {', '.join(names)}; rename one")
            return
        name, key = (names or [folded.lower()])[0], rest.removeprefix(folded).removeprefix("__")
        if not name.isprintable():
            self.problems.append(f"{variable}: {_NO_TEXT}")
            return
        endings = self._endings()
        if key not in endings:
            near = did_you_mean(key, endings)
            self._no_such(variable, f"{_MODELS_PREFIX}{folded}__{near}" if near else None, _MODEL_HINT)
            return
        *path, leaf = endings[key]
        option = self._layout.target[leaf] if path else self._layout.model[leaf]
        if not _is_set(value, option):
            return
        node = cast("Tree", models.setdefault(name, {"targets": {}}))
        for step in path:
            node = cast("Tree", node.setdefault(step, {}))
        if isinstance(other := node.get(leaf), Given):
            self.problems.append(f"{variable}: sets the same as {other.where}; give one of them")
        node[leaf] = _variable(variable, value, option)

    def _endings(self) -> dict[str, tuple[str, ...]]:
        """What may follow a model's name in a variable, and the place in the tree that it fills."""
        endings: dict[str, tuple[str, ...]] = {name.upper(): (name,) for name in self._layout.model}
        for mode in MODES:
            start = mode.upper().replace("-", "_")
            endings[start] = ("targets", mode, "model")
            endings |= {
                f"{start}__{field.upper()}": ("targets", mode, field) for field in self._layout.target
            }
        return endings

    def _unknown(
        self, prefix: str, keys: tuple[str, ...], wrong: str, known: Mapping[str, Option] | list[str]
    ) -> None:
        near = did_you_mean(wrong, known)
        hint = _HINT if len(keys) == 1 else f"use one of {', '.join(known)}"
        self._no_such(prefix + dotted(keys), dotted((*keys[:-1], near)) if near else None, hint)

    def _no_such(self, where: str, near: str | None, hint: str = _HINT) -> None:
        self.problems.append(f"{where}: no such setting; {f'did you mean {near}?' if near else hint}")


def problem(given: Given, reason: str | None) -> str:
    """One sentence on a value that was refused; `reason` where there is more to say than what is allowed."""
    option = given.option
    if reason is None and option.choices:
        near = did_you_mean(given.value, option.choices) if isinstance(given.value, str) else None
        what = "not a mode" if option.choices == MODES else "not known"
        reason = f"{what}; use {option.allowed}" + (f"; did you mean {near}?" if near else "")
    if reason is None:
        plain = isinstance(given.value, str | int | float)
        reason = f"must be {option.allowed}" + ("" if plain else f", not {found(given.value)}")
    return f"{assignment(given.where, given.value, option)}: {reason}"


def _variable(variable: str, value: str, option: Option) -> Given:
    return Given(value=value.strip(), where=variable, source=f"environment {variable}", option=option)


def _is_set(value: str | None, option: Option) -> bool:
    """Whether a variable counts: container files say "not set" of keys and addresses with an empty one."""
    return value is not None and not (value.strip() == "" and (option.secret or option.address))


def _folded(name: str) -> str:
    """A model's name as a variable can write it."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _under(tree: Tree, key: str) -> Tree:
    node = tree.get(key, {})
    return {} if isinstance(node, Given) else node


def _merged(upper: Tree, lower: Tree) -> Tree:
    merged = {**lower, **upper}
    for key, value in upper.items():
        below = lower.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(value, below)
    return merged
