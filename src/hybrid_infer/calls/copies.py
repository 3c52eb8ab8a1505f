"""Answers as JSON that reads back as their equal."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json


def json_of(model: Any) -> bytes:
    """A pydantic model as JSON that reads back as its equal, numbers that are none (NaN) included."""
    # What was not set reads back as its default.
    return to_json(model.model_dump(exclude_unset=True), inf_nan_mode="constants")
