"""Plots as SVG by plain arithmetic, in the colours of the page that they stand in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from coloria.metrics import table
from coloria.metrics.results import Result, RowResult, Summary

__all__ = ["distribution", "history", "ticks"]

WIDTH = 720
LEFT = 170
"""For the names of the rows."""
RIGHT = 16
LINE = 34
"""Height of a row."""
FOOT = 24
"""For the numbers below the axis."""
NAME = 24
"""Most letters of a name; the whole one is shown on hovering."""
DOTS = 500
"""Most dots of a row: more would be a bar."""
CURVE, TOP = 240, 10
"""Height of the curve, and the space above it."""
GOLDEN = 0.618034
"""Spreads dots evenly, however many there are."""


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers in [low, high], 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= 0.75 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def distribution(result: Result, measure: str) -> str:
    """A dot for each photograph, a box for the middle half of them, a line for the median."""
    rows = [(row, _finite(row.figures[measure])) for row in result.rows_of(measure)]
    rows = [(row, values) for row, values in rows if values.size]
    if not rows:
        return ""
    low = min(0.0, *(float(values.min()) for _, values in rows))
    high = max(float(values.max()) for _, values in rows)
    if high <= low:
        high = low + 1
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    height = LINE * len(rows) + FOOT
    parts = list(_below(ticks(low, high), lambda v: LEFT + (v - low) * scale, height))
    for place, (row, values) in enumerate(rows):
        parts += _row(row, LEFT + (values - low) * scale, LINE * place)
    title = f"{result.title(measure)}, each photograph"
    return _figure(title, _svg("".join(parts), height, title))


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    return found[np.isfinite(found)]


def _row(row: RowResult, x: NDArray[np.float64], top: int) -> Iterator[str]:
    middle = top + LINE / 2
    short = row.name if len(row.name) <= NAME else f"{row.name[: NAME - 1]}…"
    kind = "base" if row.is_baseline else "model"
    yield (
        f'<g class="{kind}"><text x="0" y="{middle + 4:g}">{escape(short)}'
        f"<title>{escape(row.name)}</title></text>"
    )
    some = x if len(x) <= DOTS else x[np.linspace(0, len(x) - 1, DOTS).round().astype(int)]
    for i, at in enumerate(some):
        y = middle + (i * GOLDEN % 1 - 0.5) * LINE * 0.6
        yield f'<circle cx="{at:.1f}" cy="{y:.1f}" r="2.5"/>'
    low, median, high = np.quantile(x, [0.25, 0.5, 0.75])
    yield (
        f'<rect x="{low:.1f}" y="{top + 6}" width="{max(high - low, 0.5):.1f}" '
        f'height="{LINE - 12}" rx="2"/><line class="median" x1="{median:.1f}" '
        f'x2="{median:.1f}" y1="{top + 5}" y2="{top + LINE - 5}"/></g>'
    )


def _below(at: Sequence[float], place: Callable[[float], float], height: int) -> Iterator[str]:
    for value in at:
        x = place(value)
        yield (
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - FOOT}"/>'
            f'<text class="tick" x="{x:.1f}" y="{height - 6}">{value:g}</text>'
        )


def history(result: Result) -> str:
    """The first measure with a direction over the steps of a run's checkpoints."""
    measure = next((n for n in result.pairwise if table.get(n).better != "none"), None)
    steps = [row for row in result.rows if row.step is not None]
    if measure is None or len(steps) < 2:
        return ""
    points = [(row.step or 0, result.summary(row, measure)) for row in steps]
    title = f"{result.title(measure)} by steps of the training"
    return _figure(title, _curve(points, title))


def _curve(points: Sequence[tuple[int, Summary]], title: str) -> str:
    """A line with its 95 % band."""
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    low, high = min(s.low for _, s in points), max(s.high for _, s in points)
    left = 60
    across = (WIDTH - left - RIGHT) / max(last - first, 1)
    down = (CURVE - TOP - FOOT) / ((high - low) or 1)

    def x(step: float) -> float:
        return left + (step - first) * across

    def y(value: float) -> float:
        return TOP + (high - value) * down

    parts = list(_below(ticks(first, last), x, CURVE))
    parts += [_level(y(value), value, left) for value in ticks(low, high, 4)]
    band = [f"{x(step):.1f},{y(s.high):.1f}" for step, s in points]
    band += [f"{x(step):.1f},{y(s.low):.1f}" for step, s in reversed(points)]
    line = " ".join(f"{x(step):.1f},{y(s.mean):.1f}" for step, s in points)
    dots = "".join(f'<circle cx="{x(step):.1f}" cy="{y(s.mean):.1f}" r="3"/>' for step, s in points)
    parts.append(
        f'<g class="model"><polygon points="{" ".join(band)}"/><polyline points="{line}"/>'
        f"{dots}</g>"
    )
    return _svg("".join(parts), CURVE, title)


def _level(y: float, value: float, left: int) -> str:
    return (
        f'<line class="axis" x1="{left}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _figure(caption: str, svg: str) -> str:
    return (
        f'<figure><figcaption>{escape(caption)}</figcaption><div class="wide">{svg}</div></figure>'
    )


def _svg(inner: str, height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{inner}</svg>'
    )
