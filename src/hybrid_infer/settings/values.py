"""The kinds of value a setting can have, and how each is checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator, SecretStr
from pydantic_core import PydanticCustomError

from hybrid_infer.errors import ConfigurationError

Secret: TypeAlias = SecretStr | Callable[[], str]
"""A credential, or a function without arguments that returns it and is asked at every use (rotation)."""

REASON = "reason"
"""Type of the validation errors whose message is already the sentence that the user reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a value may be, in words.

    Attributes:
        allowed: completes "must be …".
        secret: the value is never shown.
        address: an http address; user name, password and query are never shown.
    """

    allowed: str
    secret: bool = False
    address: bool = False


@dataclass(frozen=True, slots=True)
class Also:
    """The provider's own variable for a setting, read after ours."""

    variable: str


def reveal(secret: Secret) -> str:
    """The text of a credential, for the moment it is sent.

    Raises:
        ConfigurationError: the function given as a credential returned something that cannot be one. What the
            function itself raises passes through.
    """
    if isinstance(secret, SecretStr):
        return secret.get_secret_value()
    value = cast("object", secret())
    if not isinstance(value, str):
        raise ConfigurationError(
            f"the function given as a credential returned {type(value).__name__}, not text"
        )
    if not _CREDENTIAL.fullmatch(value.strip()):
        raise ConfigurationError(f"the function given as a credential returned text that {_NO_CREDENTIAL}")
    return value.strip()


# What a header can carry as one word. A line break inside would end the header.
_CREDENTIAL = re.compile(r"[!-~]+")
_NO_CREDENTIAL = 'is not one word of printable ASCII; give the credential alone, without "Bearer" before it'


def _credential(value: object) -> Secret | None:
    if value is None or callable(value):
        return cast("Callable[[], str] | None", value)  # what it returns is looked at in `reveal`
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError
    text = text.strip()
    if not text:
        raise PydanticCustomError(REASON, "is empty")
    if not _CREDENTIAL.fullmatch(text):
        raise PydanticCustomError(REASON, _NO_CREDENTIAL)
    return SecretStr(text)


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def _address(value: str | None) -> str | None:
    """`http://host`, `http://host/`, `http://host/v1` and `http://host/v1/` all become `http://host`."""
    if value is None:
        return None
    text = value.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise PydanticCustomError(REASON, "not an address: its host or port is not one") from None
    if "@" in parts.netloc:
        raise PydanticCustomError(
            REASON,
            "an address must not hold a user name or password, it would show in logs; give a key instead",
        )
    if parts.query or parts.fragment:
        raise PydanticCustomError(REASON, "an address of a server has no query (?…) and no fragment (#…)")
    # urlsplit drops tabs and line breaks silently, so the text itself is looked at.
    plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    if (
        parts.scheme not in ("http", "https")
        or not plain
        or not _HOST.fullmatch(parts.netloc.lower())
        or port == 0
    ):
        raise ValueError
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc.lower()}{path.removesuffix('/v1').rstrip('/')}"


def _label(value: str | None) -> str | None:
    if value is None:
        return None
    text = value.strip()
    if not text:
        raise PydanticCustomError(REASON, "is empty; give a name")
    if not text.isprintable():
        raise PydanticCustomError(REASON, "has characters that are no text")
    if "://" in text:
        raise PydanticCustomError(
            REASON, "is an address, and a name is wanted here; an address is given as `url`"
        )
    return text


def names_in(value: object) -> tuple[str, ...]:
    """The names in a list, or in a text with commas; an empty text has none.

    Raises:
        ValueError: it is neither, or an entry is no name.
    """
    if isinstance(value, str):
        parts: list[object] = [*value.split(",")] if value.strip() else []
    elif isinstance(value, list | tuple):
        parts = [*cast("Sequence[object]", value)]
    else:
        raise ValueError
    names: list[str] = []
    for part in parts:
        if not isinstance(part, str):
            raise PydanticCustomError(REASON, "has an entry that is not text")
        if not (name := part.strip()):
            raise PydanticCustomError(REASON, "has an empty entry; leave it out, or give a name")
        if not name.isprintable():
            raise PydanticCustomError(REASON, "has characters that are no text")
        names.append(name)
    return tuple(names)


_FUNCTION = re.compile(r"(?!\d)\w+(\.(?!\d)\w+)*:(?!\d)\w+(\.(?!\d)\w+)*")


def _functions(value: object) -> tuple[str, ...]:
    names = names_in(value)
    if not all(map(_FUNCTION.fullmatch, names)):
        raise ValueError
    return names


def _schedules(value: object) -> tuple[str, ...]:
    """The lines of a list, or of a text with semicolons; commas belong to a line."""
    return names_in([*filter(str.strip, value.split(";"))] if isinstance(value, str) else value)


def _redis_url(value: object) -> SecretStr | None:
    if value is None:
        return None
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError
    text = text.strip()
    if not text:
        raise PydanticCustomError(REASON, "is empty")
    try:
        parts = urlsplit(text)
        port = parts.port if parts.scheme != "unix" else None
    except ValueError:
        raise PydanticCustomError(REASON, "not an address: its host or port is not one") from None
    there = parts.path.strip("/") if parts.scheme == "unix" else parts.hostname
    if not re.fullmatch(r"(redis|rediss|unix)://[!-~]+", text) or not there or port == 0:
        raise ValueError
    return SecretStr(text)


def _path(value: object) -> object:
    """Text, or an object such as `pathlib.Path` that names a file."""
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError(REASON, "is empty; give the path of a file")
    return os.fsdecode(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value


_FLAGS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _flag(value: object) -> bool:
    known = _FLAGS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if known is None:
        raise ValueError
    return known


def _not_a_flag(value: object) -> object:
    if isinstance(value, bool):  # Python counts True as the number 1
        raise ValueError
    return value


Credential = Annotated[
    Secret | None,
    PlainValidator(_credential),
    Kind(allowed="text, or (as an argument) a function without arguments that returns it", secret=True),
]
Address = Annotated[
    str | None,
    AfterValidator(_address),
    Kind(allowed="an http:// or https:// address with a host", address=True),
]
Label = Annotated[str | None, AfterValidator(_label), Kind(allowed="a name")]
Name = Annotated[str, AfterValidator(_label), Kind(allowed="a name")]
FilePath = Annotated[str | None, BeforeValidator(_path), Kind(allowed="the path of a TOML file")]
CacheFile = Annotated[str | None, BeforeValidator(_path), Kind(allowed="the path of a file")]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(names_in),
    Kind(allowed="modes or names of models, in a list or in a text with commas"),
]
Functions = Annotated[
    tuple[str, ...],
    BeforeValidator(_functions),
    Kind(allowed="package.module:function, or several in a list or in a text with commas"),
]
Schedules = Annotated[
    tuple[str, ...],
    BeforeValidator(_schedules),
    Kind(allowed="times such as Mon-Fri 08:00-19:00 Europe/Berlin, in a list or in a text with semicolons"),
]
RedisUrl = Annotated[
    SecretStr | None,
    PlainValidator(_redis_url),
    Kind(allowed="an address such as redis://host:6379/0 (or rediss://, or unix:///path)", secret=True),
]
Flag = Annotated[bool, BeforeValidator(_flag), Kind(allowed="true or false (or 1/0, yes/no, on/off)")]
Number = Annotated[float, BeforeValidator(_not_a_flag), Kind(allowed="a number")]
Count = Annotated[int, BeforeValidator(_not_a_flag), Kind(allowed="a whole number")]
