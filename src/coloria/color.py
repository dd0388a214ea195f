"""Colour spaces, the join of lightness and chroma, gamut and tone.

The only place that knows the white point: D65, CIE 1931 2° observer. sRGB <-> Lab is kornia's,
measured here against scikit-image: 3e-13 apart in float64, 6e-5 in float32, and about 0.1 s a
megapixel. The 8-bit YUV of DeOldify is written out below: its published pictures depend on the
exact rounding of OpenCV's integers, which kornia does not have.

Shapes: pictures are (..., 3, H, W) tensors; sRGB in [0, 1]; Lab with L* in [0, 100] and a*, b*
in about [-128, 127]. The YUV functions take (H, W, 3) uint8 arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import kornia.color
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coloria.errors import OptionError

SRGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to XYZ, as kornia has it; for code in other frameworks."""

WHITE_XYZ = (0.95047, 1.0, 1.08883)
"""D65, as kornia has it."""

GAMUT_TOLERANCE = 1e-4
"""How far outside [0, 1] an sRGB value may lie before its chroma is reduced; a 16-bit step is
1.5e-5, an 8-bit step 4e-3."""

GAMUT_STEPS = 12
"""Bisections of the chroma of a pixel outside sRGB: chroma is then right to 1 part in 4096."""

WARMTH_AB = (4.0, 14.0)
"""What warmth 1 adds to (a*, b*) at middle lightness: about the step from D65 to 4800 K."""


def srgb_to_lab(rgb: Tensor) -> Tensor:
    """SRGB (..., 3, H, W) in [0, 1] to Lab, differentiable."""
    lab: Tensor = kornia.color.rgb_to_lab(rgb)
    return lab


def lab_to_srgb(lab: Tensor) -> Tensor:
    """Lab (..., 3, H, W) to sRGB, not clipped: values outside [0, 1] lie outside the gamut."""
    rgb: Tensor = kornia.color.lab_to_rgb(lab, clip=False)
    return rgb


def lightness(gray: Tensor) -> Tensor:
    """L* in [0, 100] of grey sRGB values (..., 1, H, W) in [0, 1]."""
    return srgb_to_lab(gray.expand(*gray.shape[:-3], 3, *gray.shape[-2:]))[..., :1, :, :]


def fit_gamut(lab: Tensor) -> Tensor:
    """Lab (3, H, W) to sRGB in [0, 1]: where a colour lies outside sRGB, its chroma is reduced
    at constant lightness and hue until it is inside, by bisection.
    """
    rgb = lab_to_srgb(lab)
    outside = ~_inside(rgb)
    if outside.any():
        rgb[:, outside] = _reduce_chroma(lab[:, outside])
    return rgb.clamp_(0, 1)


def _inside(rgb: Tensor) -> Tensor:
    return ((rgb >= -GAMUT_TOLERANCE) & (rgb <= 1 + GAMUT_TOLERANCE)).all(dim=0)


def _reduce_chroma(lab: Tensor) -> Tensor:
    """The most colourful sRGB values (3, N) on the line from Lab (3, N) to its grey."""

    def at(share: Tensor) -> Tensor:
        scaled = torch.stack([lab[0], lab[1] * share, lab[2] * share])
        return lab_to_srgb(scaled[..., None])[..., 0]

    low, high = torch.zeros_like(lab[0]), torch.ones_like(lab[0])
    for _ in range(GAMUT_STEPS):
        middle = (low + high) / 2
        fits = _inside(at(middle))
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return at(low)


@dataclass(frozen=True, kw_only=True)
class Tone:
    """What a person may change after the network has run. The defaults change nothing.

    Raises:
        OptionError: A value lies outside its range.
    """

    strength: float = 1.0
    """Share of the colour, 0 (grey) to 1."""
    saturation: float = 1.0
    """Factor on the chroma, 0 to 4."""
    warmth: float = 0.0
    """-1 (cooler) to 1 (warmer)."""
    contrast: float = 1.0
    """Factor on the distance of L* from 50, 0 to 4."""
    brightness: float = 0.0
    """-1 (darker) to 1 (brighter); black stays black and white stays white."""

    def __post_init__(self) -> None:
        for name, (low, high) in TONE_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"{name} must lie in {low:g}..{high:g}; got {value:g}")

    def lightness(self, light: Tensor) -> Tensor:
        """L* in [0, 100] with brightness and contrast applied."""
        if self.brightness:
            light = 100 * (light / 100).clamp(min=0) ** (2.0**-self.brightness)
        if self.contrast != 1:
            light = (50 + (light - 50) * self.contrast).clamp(0, 100)
        return light

    def chroma(self, ab: Tensor, light: Tensor) -> Tensor:
        """(2, H, W) a*, b* with strength, saturation and warmth applied; `light` is L*."""
        ab = ab * self.saturation
        if self.warmth:
            # Nothing at black and at white, where a tint would look like a stain.
            weight = self.warmth * 4 * (light / 100) * (1 - light / 100)
            ab = ab + weight * ab.new_tensor(WARMTH_AB)[:, None, None]
        return ab * self.strength


TONE_RANGES: dict[str, tuple[float, float]] = {
    "strength": (0.0, 1.0),
    "saturation": (0.0, 4.0),
    "warmth": (-1.0, 1.0),
    "contrast": (0.0, 4.0),
    "brightness": (-1.0, 1.0),
}
"""Lowest and highest value of each part of :class:`Tone`."""


_SHIFT = 14
_HALF = 1 << (_SHIFT - 1)


def rgb_to_yuv_u8(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's 8-bit RGB to YUV (BT.601 luma) in its integer form, bit for bit."""
    r, g, b = (rgb[..., i].astype(np.int32) for i in range(3))
    y = (4899 * r + 9617 * g + 1868 * b + _HALF) >> _SHIFT
    u = (8061 * (b - y) + (128 << _SHIFT) + _HALF) >> _SHIFT
    v = (14369 * (r - y) + (128 << _SHIFT) + _HALF) >> _SHIFT
    return np.stack([y, u, v], axis=-1).clip(0, 255).astype(np.uint8)


def yuv_to_rgb_u8(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's 8-bit YUV to RGB in its integer form, bit for bit."""
    y = yuv[..., 0].astype(np.int32)
    u, v = (yuv[..., i].astype(np.int32) - 128 for i in (1, 2))
    r = y + ((18678 * v + _HALF) >> _SHIFT)
    g = y + ((-6472 * u - 9519 * v + _HALF) >> _SHIFT)
    b = y + ((33292 * u + _HALF) >> _SHIFT)
    return np.stack([r, g, b], axis=-1).clip(0, 255).astype(np.uint8)


def transfer_chroma_u8(light: NDArray[np.uint8], color: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """DeOldify's transfer: Y of `light`, U and V of `color`, both (H, W, 3) uint8 sRGB."""
    yuv = rgb_to_yuv_u8(color)
    yuv[..., 0] = rgb_to_yuv_u8(light)[..., 0]
    return yuv_to_rgb_u8(yuv)
