"""Shapes: what JSON from outside turns out to be."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """A JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """A JSON array."""
    return isinstance(value, list)


def object_or_empty(value: object) -> dict[str, Any]:
    """The object, or an empty one in place of anything else."""
    return value if is_object(value) else {}


def field_of(value: object, name: str) -> Any:
    """A field of an object; None where there is none, or no object."""
    return value.get(name) if is_object(value) else None
