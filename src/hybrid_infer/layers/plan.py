"""Plan: from the name an application uses to the targets that may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from hybrid_infer.calls.call import Call, Mode, Service, Target
from hybrid_infer.calls.reply import Reply


class Named(Protocol):
    """A model of the configuration, as far as planning looks at it."""

    @property
    def mode(self) -> Mode | None: ...


class Plan:
    """Chooses the mode of a call and attaches its candidates.

    Args:
        mode: of the client, for calls and models that name none.
        model: the logical model of calls that name none.
        models: the configured models by name.
        target: the target for a mode and a logical model, made at first use.
    """

    def __init__(
        self,
        *,
        mode: Mode,
        model: str | None,
        models: Mapping[str, Named],
        target: Callable[[Mode, str | None], Target],
    ) -> None:
        self._mode: Mode = mode
        self._model = model
        self._models = models
        self._target = target

    async def __call__(self, call: Call, inner: Service) -> Reply:
        name = call.model if call.model is not None else self._model
        entry = self._models.get(name) if name is not None else None
        mode = self._mode
        why = "it is the client's mode"
        if call.mode is not None:
            mode, why = call.mode, "this call asks for it"
        elif entry is not None and entry.mode is not None:
            mode, why = entry.mode, f'it is the mode of model "{name}"'
        target = self._target(mode, name)
        call.tally.why.append(f"{mode}: {why}")
        return await inner(replace(call, candidates=(target,)))
