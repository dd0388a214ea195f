"""Colour as classes: bins of (a*, b*), soft targets, and the way back to a colour.

Zhang, Isola, Efros 2016, "Colorful Image Colorization" (arXiv:1603.08511), section 2.2 and 2.3.
The table of the 313 bins is data of junyanz/interactive-deep-colorization (MIT).
"""

from __future__ import annotations

import torch
from torch import Tensor

STEP = 10.0
"""Side of a bin, in units of a* and b*."""

GRID_EDGE = 110.0
"""The whole grid reaches from minus this to this in a* and in b*: 23 x 23 bins."""

RUNS: tuple[tuple[int, int, int], ...] = (
    (-90, 50, 90),
    (-80, 20, 90),
    (-70, 0, 90),
    (-60, -20, 90),
    (-50, -30, 100),
    (-40, -40, 100),
    (-30, -50, 100),
    (-20, -50, 100),
    (-10, -60, 100),
    (0, -70, 100),
    (10, -80, 90),
    (20, -80, 90),
    (30, -90, 90),
    (40, -100, 90),
    (50, -100, 80),
    (60, -110, 80),
    (70, -110, 80),
    (80, -110, 70),
    (90, -110, 70),
    (100, -90, 0),
)
"""The bins that eccv16 tells apart, as runs: a*, then the first and the last b*. They are the
published ones, which no rule about sRGB gives exactly."""


def gamut_bins() -> Tensor:
    """The 313 bins of eccv16: (313, 2) float32 a*, b*, by a* and then by b*."""
    step = int(STEP)
    return torch.tensor(
        [(a, b) for a, first, last in RUNS for b in range(first, last + 1, step)],
        dtype=torch.float32,
    )


def grid_bins() -> Tensor:
    """The 529 bins of siggraph17: (529, 2) float32 a*, b*, by a* and then by b*."""
    axis = torch.arange(-GRID_EDGE, GRID_EDGE + STEP, STEP)
    return torch.cartesian_prod(axis, axis)


def soft_encode(ab: Tensor, bins: Tensor, neighbours: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The nearest bins of each colour, and how much it belongs to each (section 2.2).

    Args:
        ab: (N, 2) a*, b*.
        bins: (Q, 2).
        neighbours: k, how many bins share a colour; the paper has 5, the released layer 10, and
            1 is a hard class.
        sigma: Of the Gaussian weights exp(-d^2 / (2 sigma^2)), in units of a* and b*.

    Returns:
        Indices (N, k), the nearest first, and weights (N, k) that add up to 1.
    """
    # |bin|^2 - 2 ab.bin orders the bins as the distance does; the distances themselves are worked
    # out for the nearest ones only, and without the loss of digits of this form.
    order = torch.addmm((bins**2).sum(1), ab, bins.T, alpha=-2)
    index = order.topk(neighbours, largest=False).indices  # (N, k)
    squares = ((ab[:, None] - bins[index]) ** 2).sum(2)
    # Relative to the nearest, so that colours far outside all bins do not divide 0 by 0.
    exponent = (squares[:, :1] - squares) / (2 * sigma**2)
    return index, exponent.softmax(dim=1)


def annealed_mean(logits: Tensor, bins: Tensor, temperature: float) -> Tensor:
    """H_T of equation 5: the mean colour after the distribution was made sharper.

    Args:
        logits: (B, Q, H, W); their softmax is the distribution z.
        bins: (Q, 2).
        temperature: T: 1 the mean, towards 0 the mode; the paper takes 0.38.

    Returns:
        (B, 2, H, W) a*, b*.
    """
    # softmax(log z / T), as log z differs from the logits by a constant.
    sharp = (logits.float() / temperature).softmax(dim=1)
    return torch.einsum("bqhw,qc->bchw", sharp, bins)
