"""Colour hints as a person would give them, drawn for training.

Zhang et al. 2017 (arXiv:1705.02999), section 3.2: a few squares, mostly near the middle of the
picture, each with the mean of the true colours under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SIDES = (1, 9)
"""Shortest and longest side of a hint, in pixels."""


class Hint(NamedTuple):
    """A square of the picture, in pixels."""

    top: int
    left: int
    side: int


def draw_hints(
    rng: np.random.Generator, size: int, stop: float, count: int | None = None
) -> list[Hint]:
    """The squares of one picture.

    Args:
        rng: The sample's own generator.
        size: Side of the picture, in pixels.
        stop: The number of hints is geometric: before each one, the probability that there are no
            more. The paper has 1/8, so one picture in eight has none; 1 means never any.
        count: So many hints instead.
    """
    number = int(rng.geometric(stop)) - 1 if count is None else count
    return [_draw(rng, size) for _ in range(number)]


def _draw(rng: np.random.Generator, size: int) -> Hint:
    side = int(rng.integers(SIDES[0], min(SIDES[1], size) + 1))
    room = size - side
    # Both places from a normal distribution about the middle, a quarter of the room wide.
    top, left = rng.normal((room + 1) / 2, (room + 1) / 4, 2).clip(0, room).astype(int).tolist()
    return Hint(top, left, side)


def place_hints(ab: Tensor, hints: Sequence[Sequence[Hint]]) -> tuple[Tensor, Tensor]:
    """The hints of a batch as the networks take them.

    Args:
        ab: (B, 2, H, W) the true a*, b*.
        hints: Those of each picture; where they overlap, the later one holds.

    Returns:
        Colours (B, 2, H, W), 0 where there is no hint, and mask (B, 1, H, W), 1 where there is.
    """
    colours, mask = torch.zeros_like(ab), torch.zeros_like(ab[:, :1])
    for row, squares in enumerate(hints):
        for top, left, side in squares:
            part = row, slice(None), slice(top, top + side), slice(left, left + side)
            colours[part] = ab[part].mean(dim=(1, 2), keepdim=True)
            mask[part] = 1.0
    return colours, mask
