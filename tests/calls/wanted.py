"""Classes that answers are asked for in, and what tests ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal, NotRequired

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from hybrid_infer.calls.structured import Shape, wire_format


class Mood(Enum):
    CALM = "calm"
    TENSE = "tense"


@dataclass
class Task:
    what: str
    owner: str | None = None
    due: date | None = None


@dataclass
class Minutes:
    title: str
    tasks: list[Task]
    first: Task
    mood: Mood = Mood.CALM
    scores: dict[str, int] = field(default_factory=dict[str, int])


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, description="in years")
    kind: Literal["guest", "host"] = "guest"


class Party(BaseModel):
    """Who comes."""

    host: Person = Field(description="who invites")
    guests: list[Person] = []


class Node(BaseModel):
    label: str
    left: Node | None = Field(default=None, description="before")
    children: list[Node] = []


class Cat(BaseModel):
    is_a: Literal["cat"]
    lives: int


class Dog(BaseModel):
    is_a: Literal["dog"]
    tricks: list[str]


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="is_a")


class Place(TypedDict):
    city: str
    country: NotRequired[str]


def schema_of(kind: Any) -> Any:
    return wire_format(kind)[0]["json_schema"]["schema"]


def shape_of(response_format: Any) -> Shape:
    shape = wire_format(response_format)[1]
    assert shape is not None
    return shape


# What no schema can be made of


class Hooked(BaseModel):
    name: str
    on_end: Callable[[], None]


@dataclass
class Holding:
    inner: list[Hooked]


class Opaque:
    pass


@dataclass
class HasOpaque:
    what: Opaque


@dataclass
class Endless:
    again: Endless


class Circle(TypedDict):
    again: NotRequired[Circle]


Unnamed = make_dataclass("Unnamed", [("what", "Missing")])
