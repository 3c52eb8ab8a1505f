"""A plot of costs against sizes, as SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from found import Fit

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 60
INK, SOFT, POINT, CURVE = "#222222", "#dddddd", "#1f5fa8", "#c2571a"


def plot(title: str, unit: str, costs: Mapping[int, Sequence[float]], fitted: Fit) -> str:
    """The least cost of each size, with a line up to the median, and the curve that was fitted.

    Sizes are on a logarithmic axis.

    Args:
        unit: what the sizes count.
        costs: microseconds by size, one for each round.
    """
    sizes = sorted(costs)
    top = _round_up(max(median(costs[size]) for size in sizes))
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(size: float) -> float:
        return LEFT + (math.log10(size) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def y(cost: float) -> float:
        return HEIGHT - BOTTOM - cost / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 20, title, size=15),
        _text(LEFT, 38, f"CPU of a call in µs: {fitted.kind}, last / first {fitted.growth:.2f}"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15, unit, anchor="middle"),
    ]
    for step in range(5):
        cost = top * step / 4
        parts.append(_line(LEFT, y(cost), WIDTH - RIGHT, y(cost), SOFT))
        parts.append(_text(LEFT - 8, y(cost) + 4, f"{cost:g}", anchor="end"))
    points = 60
    curve = [10 ** (low + (high - low) * point / points) for point in range(points + 1)]
    path = " ".join(f"{x(size):.1f},{y(max(0.0, fitted.at(size))):.1f}" for size in curve)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{CURVE}" stroke-width="1.5"/>')
    for size in sizes:
        found = costs[size]
        parts.append(_line(x(size), y(min(found)), x(size), y(median(found)), POINT))
        parts.append(f'<circle cx="{x(size):.1f}" cy="{y(min(found)):.1f}" r="4" fill="{POINT}"/>')
        parts.append(_text(x(size), HEIGHT - BOTTOM + 18, f"{size:,}", anchor="middle"))
    return "\n".join([*parts, "</svg>", ""])


def _round_up(most: float) -> float:
    step = 10 ** math.floor(math.log10(most))
    return next(step * number for number in (1, 2, 4, 6, 8, 10) if step * number >= most)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{text}</text>'
