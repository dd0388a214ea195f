"""Plain borders around a scanned photograph: white paper, the black edge of a film.

A border is a band along one side that has one very dark or very light tone, is at most
:data:`MAX_DEPTH` deep, and ends abruptly, along a line that is straight to within
:data:`MAX_TILT`, on most of the side. Anything less clear is taken for picture: a night sky, or a
white studio wall, must not be cut off. Handwriting, sprocket holes and a border within a border
(film edge on paper) are expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_DEPTH", "MAX_TILT", "Box", "find_border"]

MAX_DEPTH = 0.12
"""Deepest border of a side, all nested ones together, as a share of the height or width."""

MAX_TILT = 0.02
"""How far the inner edge may stray from parallel, as a share of the length of the side."""

_DARK, _LIGHT = 44, 215
"""Film edges are no lighter, paper no darker than this (of 255)."""

_SPREAD = 24
"""Largest distance between the quartiles of a plain band (of 255)."""

_TOLERANCE = 24
"""A pixel this far from the border's tone (of 255) does not belong to it."""

_EDGE_SHARE = 0.55
"""Share of the side on which the inner edge must be found at one depth."""

_EARLY_SHARE = 0.35
"""Share of the side that may be broken before it: handwriting, holes, dust."""

_SAMPLES = 1024
"""Lines looked at along a side; more of them tell nothing new."""

_SMALLEST = 32
"""Pictures with a shorter side, in pixels, are left whole."""

_NESTED = 2
"""Borders looked for inside each other."""


class _Sized(Protocol):
    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...


@dataclass(frozen=True)
class Box:
    """A part of a picture: rows `top` up to `bottom`, columns `left` up to `right`, in pixels,
    the ends not included.
    """

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def whole(cls, picture: _Sized) -> Box:
        """The box that leaves nothing out."""
        return cls(0, picture.height, 0, picture.width)

    @property
    def height(self) -> int:
        """Rows inside."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns inside."""
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut the content out of an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def find_border(gray: NDArray[Any]) -> Box:
    """The content of a scan without its plain borders.

    Args:
        gray: (H, W) grey, uint8 or uint16, upright.

    Returns:
        The content; the whole picture where no border is beyond doubt.
    """
    height, width = gray.shape
    if min(height, width) < _SMALLEST:
        return Box(0, height, 0, width)
    # A side is looked at as (depth, length), outermost row first.
    return Box(
        top=_depth(gray),
        bottom=height - _depth(gray[::-1]),
        left=_depth(gray.T),
        right=width - _depth(gray.T[::-1]),
    )


def _depth(side: NDArray[Any]) -> int:
    """Depth in pixels of the borders along row 0, nested ones together."""
    reach = round(MAX_DEPTH * len(side))
    tilt = max(2, min(round(MAX_TILT * side.shape[1]), reach // 3))
    band = _eight_bits(_sampled(side[: reach + 2 * tilt]))
    total = 0
    for _ in range(_NESTED):
        depth = _first_edge(band[total:], tilt)
        if not 0 < depth <= reach - total:
            break
        total += depth
    return total


def _sampled(side: NDArray[Any]) -> NDArray[Any]:
    """The middle of the side, away from the borders of its neighbours, thinned out."""
    length = side.shape[1]
    margin = round(MAX_DEPTH * length)
    step = max(1, length // _SAMPLES)
    return side[:, margin : length - margin : step]


def _eight_bits(band: NDArray[Any]) -> NDArray[np.int16]:
    return (band >> 8 if band.dtype == np.uint16 else band).astype(np.int16)


def _first_edge(band: NDArray[np.int16], tilt: int) -> int:
    """Depth at which a plain band that starts at row 0 ends; 0 where there is none."""
    tone = np.median(band[: max(2, tilt // 8)])
    if _DARK < tone < _LIGHT:
        return 0
    breaks = _breaks(np.abs(band - tone) > _TOLERANCE, run=max(2, tilt // 3))
    counts = np.bincount(breaks, minlength=len(band) + 1)[: len(band)]
    in_window = np.convolve(counts, np.ones(tilt, int))[tilt - 1 :]
    start = int(in_window.argmax())
    early = counts[:start].sum()
    if in_window[start] < _EDGE_SHARE * len(breaks) or early > _EARLY_SHARE * len(breaks):
        return 0
    edge = breaks[(breaks >= start) & (breaks < start + tilt)]
    near, far = np.percentile(edge, (10, 75))
    plain = band[: int(near)]
    if near < 2 or np.subtract(*np.percentile(plain, (75, 25))) > _SPREAD:
        return 0
    return int(far)


def _breaks(outside: NDArray[np.bool_], run: int) -> NDArray[np.intp]:
    """For each column the first row that starts `run` rows outside the tone; else the height."""
    height = len(outside)
    sums = np.cumsum(outside, axis=0, dtype=np.int32)
    sums[run:] -= sums[:-run]
    full = sums[run - 1 :] == run
    return np.where(full.any(axis=0), full.argmax(axis=0), height)
