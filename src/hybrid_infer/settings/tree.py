"""What was given, not checked yet, in the shape of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from hybrid_infer.settings.options import Option


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One value, not checked yet.

    Attributes:
        name: of the setting, e.g. ``"models.a.modal.url"``.
        value: not part of the repr, it may be secret.
        where: the setting as the user wrote it, for messages: a variable, ``"argument mode"``, file and key.
        source: for `Settings.sources`.
    """

    name: str
    value: object = field(repr=False)
    where: str
    source: str
    option: Option


Tree: TypeAlias = "dict[str, Given | Tree]"


def below(tree: Tree, *keys: str) -> Tree:
    """The tree below these keys; an empty one where there is none."""
    for key in keys:
        node = tree.get(key)
        tree = node if isinstance(node, dict) else {}
    return tree


def merged(upper: Tree, lower: Tree) -> Tree:
    """Both, the upper one over the lower one."""
    both = {**lower, **upper}
    for key, value in upper.items():
        other = lower.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            both[key] = merged(value, other)
    return both


def plain(tree: Tree) -> dict[str, object]:
    """The values alone."""
    return {key: node.value if isinstance(node, Given) else plain(node) for key, node in tree.items()}


def given_in(tree: Tree) -> Iterator[Given]:
    """All that was given, wherever it stands."""
    for node in tree.values():
        if isinstance(node, Given):
            yield node
        else:
            yield from given_in(node)
