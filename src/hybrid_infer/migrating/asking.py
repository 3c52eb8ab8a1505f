"""Asking: one prompt through one mode of a client, as both are compared."""

from __future__ import annotations

from typing import Any

from hybrid_infer.calls.ask import chat_call
from hybrid_infer.calls.call import Mode
from hybrid_infer.calls.chat import ChatCompletion
from hybrid_infer.calls.structured import wire_format
from hybrid_infer.core import Core
from hybrid_infer.errors import AnswerFormatError, APIError
from hybrid_infer.migrating.prompts import Prompt
from hybrid_infer.migrating.verify import Answered, Ask

TAG = "migration"


def asking(core: Core, mode: Mode, model: str | None) -> Ask:
    """What asks that mode, and no other: at temperature 0, without the cache, without a fallback."""

    async def ask(prompt: Prompt) -> Answered:
        options: dict[str, Any] = {
            "mode": mode,
            "temperature": 0,
            "cache": False,
            "never_leave": True,
            "hedge": False,
            "tag": TAG,
            "max_tokens": prompt.max_tokens,
            "response_format": prompt.response_format,
        }
        given = {name: value for name, value in options.items() if value is not None}
        call = chat_call({}, prompt.messages, prompt.model or model, False, given)
        try:
            completion = (await core.run(call)).value
        except AnswerFormatError as error:
            if isinstance(error.completion, ChatCompletion):
                return _answered(error.completion, fits=False)
            return Answered(error=_told(error))
        except APIError as error:
            return Answered(error=_told(error))
        return _answered(completion, fits=_fits(prompt, completion))

    return ask


def _answered(completion: ChatCompletion, *, fits: bool | None) -> Answered:
    usage, hybrid = completion.usage, completion.hybrid
    return Answered(
        text=_text(completion),
        fits=fits,
        seconds=None if hybrid.latency is None else hybrid.latency - hybrid.cold_wait,
        tokens=None if usage is None else usage.completion_tokens,
        cost=hybrid.cost.amount,
    )


def _text(completion: ChatCompletion) -> str:
    return (completion.choices[0].message.content or "") if completion.choices else ""


def _fits(prompt: Prompt, completion: ChatCompletion) -> bool | None:
    """Also of the provider's own formats, whose misfits are no error of the call."""
    if prompt.response_format is None:
        return None
    shape = wire_format(prompt.response_format)[1]
    if shape is None:
        return None
    try:
        shape.parse(_text(completion))
    except AnswerFormatError:
        return False
    return True


def _told(error: APIError) -> str:
    return f"{type(error).__name__}: {error.message}"
