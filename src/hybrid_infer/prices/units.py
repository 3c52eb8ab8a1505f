"""What is not counted in tokens: images, audio, and jobs without a hurry. Pure; parts of a nano-dollar."""

from __future__ import annotations

from fractions import Fraction

from hybrid_infer.prices.tables import BatchDiscount, UnitPrice

MEGAPIXEL = 1_000_000


def images(
    price: UnitPrice, *, width: int, height: int, count: int = 1, steps: int | None = None
) -> Fraction:
    """Nano-dollars for `count` images, by their pixels and, where steps are priced, by these.

    More steps than the price holds for cost in proportion; fewer never cost less (docs.together.ai).
    """
    if price.unit != "megapixel":
        raise ValueError(f"{price.model} is paid by the {price.unit}")
    pixels = Fraction(width * height * count, MEGAPIXEL)
    more = Fraction(max(steps, price.steps), price.steps) if steps and price.steps else Fraction(1)
    return pixels * price.nano * more


def audio(price: UnitPrice, *, seconds: float) -> Fraction:
    """Nano-dollars for so much audio."""
    if price.unit != "minute":
        raise ValueError(f"{price.model} is paid by the {price.unit}")
    return Fraction(str(seconds)) / 60 * price.nano


def batched(nano: Fraction, discount: BatchDiscount) -> Fraction:
    """The least that the same costs as part of a batch job: the discount is "up to" so much."""
    return nano * (100 - discount.percent) / 100
