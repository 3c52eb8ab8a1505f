"""What `object_detection.py` calls: a detector on Modal, as a function, as a class, and as a generator.

    pip install modal && modal setup
    modal deploy detector.py

`detector/detect` loads the model at its first call in each container. `detector/Detector.detect` loads it
while the container starts, so no call waits for it once a container is up. `detector/detect_each` takes many
pictures and yields what is in each as soon as it is known:

    for found in client.functions.stream("detector/detect_each", pictures):
        print(found["boxes"])
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import modal

MODEL = "PekingU/rtdetr_r50vd"
WEIGHTS = "/weights"

app = modal.App("detector")

image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install("pillow==12.0.0", "torch==2.9.0", "torchvision==0.24.0", "transformers==4.57.1")
    .env({"HF_HOME": WEIGHTS})
)
weights = modal.Volume.from_name("detector-weights", create_if_missing=True)


@cache
def model() -> Any:
    """The detector, loaded once in a container. Its packages are there, not where you deploy from."""
    from transformers import pipeline  # type: ignore[import-not-found]

    return pipeline("object-detection", model=MODEL, device="cuda")


def look(picture: bytes, threshold: float) -> dict[str, Any]:
    """What is in a picture: ``{"boxes": [{"label", "score", "box"}]}``."""
    from PIL import Image  # type: ignore[import-not-found]

    opened = Image.open(io.BytesIO(picture)).convert("RGB")
    return boxes(model()(opened, threshold=threshold), opened.width, opened.height)


def boxes(found: Sequence[Mapping[str, Any]], width: int, height: int) -> dict[str, Any]:
    """The detector counts pixels; a caller who shows the picture at another size wants parts of it."""

    def box(pixels: Mapping[str, float]) -> list[float]:
        left, right = pixels["xmin"] / width, pixels["xmax"] / width
        return [left, pixels["ymin"] / height, right, pixels["ymax"] / height]

    return {
        "boxes": [
            {"label": str(one["label"]), "score": float(one["score"]), "box": box(one["box"])}
            for one in found
        ]
    }


# A container goes after a minute without work: the next call after that waits for another one to start.
# At most four of them, so that a mistake in a loop does not cost a fortune.
@app.function(
    image=image, gpu="L4", volumes={WEIGHTS: weights}, timeout=120, scaledown_window=60, max_containers=4
)
def detect(picture: bytes, *, threshold: float = 0.5) -> dict[str, Any]:
    return look(picture, threshold)


@app.function(
    image=image, gpu="L4", volumes={WEIGHTS: weights}, timeout=600, scaledown_window=60, max_containers=4
)
def detect_each(pictures: Sequence[bytes], *, threshold: float = 0.5) -> Iterator[dict[str, Any]]:
    for picture in pictures:
        yield look(picture, threshold)


@app.cls(
    image=image, gpu="L4", volumes={WEIGHTS: weights}, timeout=120, scaledown_window=60, max_containers=4
)
class Detector:
    @modal.enter()
    def load(self) -> None:
        model()

    @modal.method()
    def detect(self, picture: bytes, *, threshold: float = 0.5) -> dict[str, Any]:
        return look(picture, threshold)
