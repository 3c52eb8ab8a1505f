"""A model that is served worse than it could be: with a wrong chat template, or with less context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pydantic_core import from_json, to_json

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator.exchange import Request
from hybrid_infer.simulator.shapes import is_object

MARK = "simulated"
"""The field of a request's body that tells the engines how the model is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """How the model of a mode is served.

    Attributes:
        template: with ``"wrong"`` the messages reach the model as text that it does not know to be a
            conversation: it echoes it, goes on with it, and does not find an end.
        context: tokens of prompt and answer together; None is what all models have.
    """

    template: Literal["right", "wrong"] = "right"
    context: int | None = None


def marked(request: Request, mode: Mode, served: Mapping[Mode, ServedModel]) -> Request:
    """The request as the model of that mode gets it."""
    model = served.get(mode)
    if model is None or not request.path.startswith("/v1/chat/completions"):
        return request
    try:
        body = from_json(request.body)
    except ValueError:
        return request
    if not is_object(body):
        return request
    mark = {"template": model.template, "context": model.context}
    return replace(request, body=to_json({**body, MARK: mark}))


def rambling(question: str, limit: int) -> str:
    """What a model says that got the template as text, in at most so many characters."""
    echo = f"user\n{question}\nassistant\n"
    return (echo * (limit // len(echo) + 1))[:limit]
