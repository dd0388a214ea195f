"""How colourful a picture is: M3 of Hasler and Süsstrunk (2003), doi:10.1117/12.477378.

For a picture with channels R, G, B on the scale 0..255::

    rg = R - G
    yb = (R + G) / 2 - B
    M3 = sqrt(std(rg)^2 + std(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2)

The paper's own words for the scale: 0 not, 15 slightly, 33 moderately, 45 averagely, 59 quite,
82 highly and 109 extremely colourful. Published code often takes ``|rg|`` and ``|yb|`` first;
the two forms are not comparable, so say which one a number is.

For checking: a grey picture gives 0 in both forms; solid red (255, 0, 0) gives 85.53 in both;
half red and half green (0, 255, 0) gives 293.25 signed and 85.53 absolute.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Form", "colorfulness"]

Form = Literal["signed", "absolute"]


def colorfulness(rgb: NDArray[Any], form: Form = "signed") -> NDArray[np.float64]:
    """Colourfulness M3 of pictures.

    Args:
        rgb: ``(..., H, W, 3)`` sRGB on the scale 0..255 (integers or floats).
        form: ``"signed"`` as in the paper, or ``"absolute"``, which takes ``|rg|`` and ``|yb|``.

    Returns:
        One value a picture, shape ``(...)``; 0 for grey, no unit (the scale is in the module's
        docstring).

    Raises:
        ValueError: ``rgb`` is not ``(..., H, W, 3)`` with at least one pixel, or ``form`` is
            unknown.
    """
    if rgb.ndim < 3 or rgb.shape[-1] != 3 or rgb.size == 0:
        raise ValueError(f"wanted pixels of shape (..., H, W, 3), got {rgb.shape}")
    if form not in ("signed", "absolute"):
        raise ValueError(f"form is 'signed' or 'absolute', not {form!r}")
    R, G, B = np.moveaxis(np.asarray(rgb, dtype=np.float64), -1, 0)
    rg = R - G
    yb = (R + G) / 2 - B
    if form == "absolute":
        rg, yb = np.abs(rg), np.abs(yb)
    pixels = (-2, -1)
    spread = np.sqrt(rg.var(axis=pixels) + yb.var(axis=pixels))
    shift = np.sqrt(rg.mean(axis=pixels) ** 2 + yb.mean(axis=pixels) ** 2)
    return np.asarray(spread + 0.3 * shift)
