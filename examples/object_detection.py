"""Object detection: functions of your own on Modal, called as if they were here.

`modal_apps/detector.py` is what has to be deployed for it. One picture is waited for, several go out at the
same time, and one is handed over and fetched later, as a web request would do it that cannot wait.

    HYBRID_INFER_SIMULATE=1 python object_detection.py      # no token: the boxes are invented

    pip install modal && modal setup && modal deploy modal_apps/detector.py
    HYBRID_INFER_CONFIG=models.toml HYBRID_INFER_MODEL=detector/detect python object_detection.py street.jpg

The file says which machine the detector has, for the cost. Functions are what Modal has and the other modes
have not, so this example names its mode.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hybrid_infer import APIError, Client, Hybrid

PICTURES = Path(__file__).parent / "pictures"
DETECT = "detector/detect"
LOADED = "detector/Detector.detect"
"""The same as a method of a class, whose containers load the model once."""


@dataclass
class Detection:
    """One thing in a picture; the box is left, top, right, bottom, as parts of width and height."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass
class Detections:
    """What the function returns."""

    boxes: list[Detection]


def checked(value: Any) -> list[Detection]:
    """What came back over the network, as objects; a deployed function of another shape is an error here."""
    return TypeAdapter(Detections).validate_python(value).boxes


def detect(client: Client, picture: Path) -> list[Detection]:
    """Call the function, and wait for it for at most two minutes."""
    reply = client.with_options(timeout=120).functions.call(DETECT, picture.read_bytes(), threshold=0.6)
    return show(picture, checked(reply.value), reply.hybrid)


def detect_all(client: Client, pictures: Sequence[Path]) -> dict[Path, list[Detection] | APIError]:
    """All pictures, four at a time, in their order. One that fails leaves the others alone."""
    found: dict[Path, list[Detection] | APIError] = {}
    with client.functions.map(LOADED, (path.read_bytes() for path in pictures), concurrency=4) as replies:
        for picture in pictures:
            try:
                reply = next(replies)
            except APIError as error:
                found[picture] = error
                print(f"{picture.name}: {error}")
            else:
                found[picture] = show(picture, checked(reply.value), reply.hybrid)
    return found


def hand_over(client: Client, picture: Path) -> str:
    """Begin, and return the id, which any other process can ask with."""
    return client.functions.spawn(LOADED, picture.read_bytes()).id


def fetch(client: Client, picture: Path, id: str) -> list[Detection]:
    """What became of it."""
    reply = client.functions.spawned(LOADED, id).get(timeout=120)
    return show(picture, checked(reply.value), reply.hybrid)


def show(picture: Path, found: list[Detection], hybrid: Hybrid) -> list[Detection]:
    """Print a line about a picture."""
    things = ", ".join(f"{one.label} ({one.score:.0%})" for one in found) or "nothing"
    cost = "cost unknown" if hybrid.cost.amount is None else f"${hybrid.cost.amount:.8f}"
    print(f"{picture.name}: {things} [{hybrid.target}, {hybrid.latency or 0:.2f} s, {cost}]")
    return found


def main() -> None:
    pictures = [Path(name) for name in sys.argv[1:]] or sorted(PICTURES.glob("*.png"))
    with Client(mode="modal") as client:
        print("one:")
        detect(client, pictures[0])
        print("all at once:")
        detect_all(client, pictures)
        print("handed over:")
        id = hand_over(client, pictures[0])
        print(f"{pictures[0].name} is {id}")
        fetch(client, pictures[0], id)


if __name__ == "__main__":
    main()
