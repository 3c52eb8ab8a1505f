"""What is known of each setting, read from the fields of the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hybrid_infer.settings.values import Also, Kind

PREFIX = "HYBRID_INFER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting.

    Attributes:
        name: of the argument and of the key in the file: ``"timeout"``, ``"models.<name>.<mode>.url"``.
        variables: environment variables, the one that wins first.
        default: None is "not set".
        allowed: completes "must be …", e.g. ``"a whole number from 0 to 20"``.
        choices: the values, where they are a fixed list of words.
        text: what it is for, in one line.
        secret: its value is never shown.
        address: its value is an http address.
    """

    name: str
    variables: tuple[str, ...]
    default: object
    allowed: str
    choices: tuple[str, ...] = ()
    text: str
    secret: bool = False
    address: bool = False


def read_options(
    model: type[BaseModel], *, under: str = "", variables_under: str = PREFIX
) -> dict[str, Option]:
    """The options of a model's fields, by field name. Fields without a description are not options."""
    return {
        name: _option(name, info, under, variables_under)
        for name, info in model.model_fields.items()
        if info.description is not None
    }


def _option(name: str, info: FieldInfo, under: str, variables_under: str) -> Option:
    marks = [*_marks(info.annotation), *info.metadata]
    kind = next((mark for mark in marks if isinstance(mark, Kind)), None)
    also = [mark.variable for mark in info.metadata if isinstance(mark, Also)]
    choices = _choices(info.annotation)
    return Option(
        name=under + name,
        variables=(variables_under + name.upper(), *also),
        default=None if info.default_factory is not None else info.default,
        allowed=f"one of {', '.join(choices)}" if kind is None else kind.allowed + _range(info.metadata),
        choices=choices,
        text=info.description or "",
        secret=kind is not None and kind.secret,
        address=kind is not None and kind.address,
    )


def _marks(annotation: Any) -> list[Any]:
    """What `Annotated` says of the value inside `… | None`; pydantic takes it off where it stands alone."""
    return [mark for part in get_args(annotation) for mark in getattr(part, "__metadata__", ())]


def _choices(annotation: Any) -> tuple[str, ...]:
    """The words of a Literal, also of one inside `… | None` or `Mapping[…]`."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _range(metadata: list[Any]) -> str:
    above, least, most = (
        next((bound for mark in metadata if (bound := getattr(mark, name, None)) is not None), None)
        for name in ("gt", "ge", "le")
    )
    if above is not None:
        return f" above {above}" + (f", at most {most}" if most is not None else "")
    if least is not None:
        return f" from {least} to {most}" if most is not None else f" of at least {least}"
    return ""
