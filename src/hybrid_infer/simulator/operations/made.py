"""Made: an operation's answer before anybody has worked on it, and the request that it is made from. Pure.

How long an operation takes is said in tokens, whatever it makes: so many of the prompt and so many of an
answer would keep a machine as busy. So it shares a replica's batch, queue and speed with chat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic_core import from_json, to_json

from hybrid_infer.calls.call import Mode
from hybrid_infer.simulator import engine_wire, together_wire
from hybrid_infer.simulator.ask import NotAcceptedError
from hybrid_infer.simulator.exchange import Headers, Request, Response, Work
from hybrid_infer.simulator.operations.forms import Form, is_form, read_form
from hybrid_infer.simulator.shapes import is_list, is_object
from hybrid_infer.simulator.together_wire import Stamp
from hybrid_infer.simulator.units import Billed

_MANY = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An answer and the work it takes.

    Attributes:
        model: None where the request names none.
        input_tokens, output_tokens: the work. `pieces` wait for the output tokens.
        billed: what a provider that is not paid by the second puts on the bill.
        whole_text: a text that is not streamed; some models refuse that.
    """

    model: str | None
    input_tokens: int
    output_tokens: int
    headers: Headers
    pieces: tuple[tuple[int, bytes], ...]
    billed: Billed = "tokens"
    whole_text: bool = False

    def answered(self, work: Work, headers: Headers = ()) -> Response:
        """The response, once somebody works on it."""
        return Response(status=200, headers=(*self.headers, *headers), pieces=self.pieces, work=work)


class Posted:
    """A request for an operation, with its fields read as strictly as a provider reads them.

    Args:
        mode: whose shape the answer has.
        model: what is served where the request names no model.
        seed: of the world.
    """

    def __init__(self, request: Request, *, mode: Mode, stamp: Stamp, model: str | None, seed: int) -> None:
        self.request = request
        self.mode: Mode = mode
        self.stamp = stamp
        self.served = model
        self.seed = seed

    @property
    def together(self) -> bool:
        """Whether Together answers."""
        return self.mode.startswith("together")

    @property
    def json_headers(self) -> Headers:
        return together_wire.JSON if self.together else engine_wire.JSON

    @property
    def model(self) -> str | None:
        """The model that is asked for."""
        return self.text("model")

    @property
    def named(self) -> str:
        """The model as the answer names it."""
        return self.model or self.served or ""

    @cached_property
    def form(self) -> Form:
        """The body as a form."""
        return read_form(self.request)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The fields of the body, JSON or form; one that comes several times in a form is a list."""
        if is_form(self.request):
            return {
                name: values[0] if len(values) == 1 else values for name, values in self.form.fields.items()
            }
        try:
            read: Any = from_json(self.request.body)
        except ValueError:
            raise NotAcceptedError("The body is not valid JSON.", code="invalid_json") from None
        if not is_object(read):
            raise NotAcceptedError("The body is not a JSON object.")
        return read

    def text(self, name: str) -> str | None:
        """A text; None where there is none."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise NotAcceptedError(f'"{name}" must be a string.', param=name)
        return value

    def needed(self, name: str) -> str:
        """A text that must be there, and not be empty."""
        value = self.text(name)
        if not value:
            raise missing(name)
        return value

    def whole(self, name: str, default: int, *, least: int = 1, most: int | None = None) -> int:
        """A whole number within its bounds."""
        value = self.fields.get(name)
        if value is None:
            return default
        if isinstance(value, str) and is_form(self.request) and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise NotAcceptedError(f'"{name}" must be a whole number.', param=name)
        if value < least or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"from {least} to {most}"
            raise NotAcceptedError(f'"{name}" must be {bounds}, not {value}.', param=name)
        return value

    def flag(self, name: str) -> bool:
        """Yes or no; no where nothing is said."""
        value = self.fields.get(name)
        if isinstance(value, str) and is_form(self.request):
            value = {"true": True, "false": False, "1": True, "0": False}.get(value.lower(), value)
        if value is not None and not isinstance(value, bool):
            raise NotAcceptedError(f'"{name}" must be true or false.', param=name)
        return bool(value)

    def choice(self, name: str, among: tuple[str, ...], default: str) -> str:
        """One of several words."""
        value = self.text(name)
        if value is not None and value not in among:
            raise NotAcceptedError(f'"{name}" must be one of {", ".join(among)}.', param=name)
        return value or default

    def words(self, name: str) -> tuple[str, ...]:
        """One text or a list of them, as one list."""
        value = self.fields.get(name)
        given = value if is_list(value) else [] if value is None else [value]
        if any(not isinstance(each, str) for each in given):
            raise NotAcceptedError(f'"{name}" must be a string or a list of strings.', param=name)
        if len(given) > _MANY:
            raise NotAcceptedError(f'"{name}" must not hold more than {_MANY}.', param=name)
        return tuple(given)

    def json(
        self, body: Any, *, input_tokens: int, output_tokens: int = 1, billed: Billed = "tokens"
    ) -> Made:
        """A JSON answer that is there when all the work is done."""
        indent = 2 if self.together else None
        return Made(
            model=self.model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            headers=self.json_headers,
            pieces=((output_tokens, to_json(body, indent=indent)),),
            billed=billed,
        )


Room = Callable[[Posted], Made]
"""Makes an answer.

Raises:
    NotAcceptedError: the request is wrong.
"""


def missing(name: str) -> NotAcceptedError:
    """A field that must be there is not."""
    return NotAcceptedError(f'"{name}" is missing.', param=name, code="missing_required_parameter")
