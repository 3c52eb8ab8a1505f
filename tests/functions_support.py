"""What tests of functions share."""

from __future__ import annotations

from hybrid_infer.calls.functions import FunctionName, function_name

TOKEN = ("ak-0123456789", "as-9876543210")


def named(text: str) -> FunctionName:
    return function_name(text)
