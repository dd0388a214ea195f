"""The rows that every table has, whatever is measured: grey, a constant tint, the oracle.

A model is better than nothing only where it beats the constant tint; nothing that keeps the
lightness of the grey picture can beat the oracle.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coloria.color import fit_gamut, srgb_to_lab
from coloria.metrics.ciede2000 import delta_e00
from coloria.metrics.pairs import lab_of
from coloria.metrics.photographs import gray_of
from coloria.metrics.sets import Pixels

SPARSE = 12
"""The tint is found on every 12th pixel both ways: it has two parameters."""

STEP = 4.0
"""First step of that search, in units of a* and b*; the last one is half a unit."""

Tint = tuple[float, float]
"""a*, b*."""


def gray_picture(gray: Pixels) -> Pixels:
    """(H, W) as sRGB (H, W, 3)."""
    return np.repeat(gray[..., None], 3, axis=2)


def oracle(gray: Pixels, truth: Pixels) -> Pixels:
    """The true a*, b* on the lightness of the grey picture, inside the gamut."""
    return _pixels(torch.cat([_lightness(gray), lab_of(truth)[1:]]))


def tinted(gray: Pixels, tint: Tint) -> Pixels:
    """The grey picture in one tint."""
    light = _lightness(gray)
    return _pixels(torch.cat([light, _plane(tint, light)]))


def best_tint(truths: Iterable[Pixels]) -> Tint:
    """The tint that is nearest to all photographs, by descent on a grid of a* and b*."""
    pairs = [_sparse(truth) for truth in truths]
    # All pixels in one row; each photograph counts the same, whatever its size.
    light, lab = (torch.cat(parts, dim=1)[:, None] for parts in zip(*pairs, strict=True))
    weight = torch.cat([torch.full((x.shape[1],), 1 / x.shape[1]) for x, _ in pairs]) / len(pairs)

    def cost(tint: Tint) -> float:
        colored = srgb_to_lab(fit_gamut(torch.cat([light, _plane(tint, light)])))
        return float((delta_e00(colored, lab, channel_axis=0)[0] * weight).sum())

    best, step = (0.0, 0.0), STEP
    lowest = cost(best)
    while step >= 0.5:
        around = [(best[0] + i * step, best[1] + j * step) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        value, tint = min((cost(tint), tint) for tint in around)
        if value < lowest:
            best, lowest = tint, value
        else:
            step /= 2
    return best


def _sparse(truth: Pixels) -> tuple[Tensor, Tensor]:
    """Lightness (1, N) of the grey picture and L*a*b* (3, N) of a few pixels."""
    gray, few = (np.ascontiguousarray(x[::SPARSE, ::SPARSE]) for x in (gray_of(truth), truth))
    return _lightness(gray).flatten(1), lab_of(few).flatten(1)


def _lightness(gray: Pixels) -> Tensor:
    return lab_of(gray_picture(gray))[:1]


def _plane(tint: Tint, light: Tensor) -> Tensor:
    return torch.tensor(tint).view(2, 1, 1).expand(2, *light.shape[1:])


def _pixels(lab: Tensor) -> Pixels:
    rgb = (fit_gamut(lab.float()) * 255).round().permute(1, 2, 0)
    result: NDArray[np.uint8] = rgb.to(torch.uint8).numpy()
    return result
