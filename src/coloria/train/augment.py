"""Augmentation: what is drawn for a sample, and how it is applied.

Every draw comes from the sample's own generator, so a sample never depends on its neighbours.
What is cheap on bytes (crop, resizing, mirror, saturation, lighting) is done on each photograph by
Pillow, which lets other threads run; what costs floating-point work (rotation, and the film of
:mod:`coloria.train.film`) is done on the whole batch, on the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Augment", "Draw", "center_crop", "crop", "luma", "rotate"]


@dataclass(frozen=True)
class Augment:
    """How a training photograph is varied; truth and grey are varied together.

    Attributes:
        scale: range of the crop's area, as a share of the largest crop of its shape.
        aspect: largest width : height of the crop (and its inverse the smallest).
        flip: probability of a mirror image, left to right.
        rotate: probability of a rotation.
        degrees: largest rotation either way, in degrees; the picture is enlarged so that no
            corner is empty.
        lighting: probability of a change of lighting.
        brightness: largest shift of ``logit(value)``, either way (0.5: mid-grey 0.5 to 0.62).
        contrast: largest factor on ``logit(value)`` (and its inverse the smallest).
        saturation: largest relative change of the saturation, either way; 0 for none.
    """

    scale: tuple[float, float] = (0.35, 1.0)
    aspect: float = 1.25
    flip: float = 0.5
    rotate: float = 0.25
    degrees: float = 6.0
    lighting: float = 0.5
    brightness: float = 0.5
    contrast: float = 1.3
    saturation: float = 0.15

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> Draw:
        """What happens to one photograph of ``size`` (width, height) in pixels."""
        box = self._box(rng, size)
        flip = bool(rng.random() < self.flip)
        angle = rng.uniform(-self.degrees, self.degrees) if rng.random() < self.rotate else 0.0
        lit = rng.random() < self.lighting
        shift = rng.uniform(-self.brightness, self.brightness)
        factor = math.exp(rng.uniform(-1, 1) * math.log(self.contrast))
        saturation = 1 + rng.uniform(-self.saturation, self.saturation)
        lighting = (shift, factor) if lit else (0.0, 1.0)
        return Draw(box, flip, angle, *lighting, saturation)

    def _box(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        aspect = math.exp(rng.uniform(-1, 1) * math.log(self.aspect))
        largest = min(size[0], size[1] * aspect), min(size[0] / aspect, size[1])
        side = math.sqrt(rng.uniform(*self.scale))
        width, height = largest[0] * side, largest[1] * side
        left, top = rng.random() * (size[0] - width), rng.random() * (size[1] - height)
        return left, top, left + width, top + height


@dataclass(frozen=True)
class Draw:
    """What was drawn for one sample; the defaults change nothing."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom of the crop, in pixels of the photograph."""
    flip: bool = False
    angle: float = 0.0
    """Rotation in degrees."""
    shift: float = 0.0
    """Added to ``logit(value)``."""
    factor: float = 1.0
    """Factor on ``logit(value)``."""
    saturation: float = 1.0
    """Factor on the distance from grey."""


def center_crop(size: tuple[int, int]) -> Draw:
    """The largest square in the middle of ``size`` (width, height), unchanged."""
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    return Draw((left, top, left + side, top + side))


def crop(photo: NDArray[np.uint8], draw: Draw, size: int) -> NDArray[np.uint8]:
    """Crop, resize, mirror, saturate and light one photograph.

    Args:
        photo: ``(H, W, 3)`` uint8 sRGB.
        draw: what to do; the rotation is left to the batch.
        size: side of the result, in pixels.

    Returns:
        ``(size, size, 3)`` uint8 sRGB.
    """
    bicubic = Image.Resampling.BICUBIC
    image = Image.fromarray(photo).resize((size, size), bicubic, box=draw.box, reducing_gap=3.0)
    if draw.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if draw.saturation != 1.0:
        image = Image.blend(image.convert("L").convert("RGB"), image, draw.saturation)
    pixels = np.asarray(image)
    lit = (draw.shift, draw.factor) != (0.0, 1.0)
    return _lighting(draw.shift, draw.factor)[pixels] if lit else pixels


_LOGIT = np.log((np.arange(256) + 0.5) / (255.5 - np.arange(256)))


def _lighting(shift: float, factor: float) -> NDArray[np.uint8]:
    """The 256 values after ``logit(v) * factor + shift``; black and white stay near themselves."""
    values = 256 / (1 + np.exp(-(_LOGIT * factor + shift))) - 0.5
    return np.rint(values).clip(0, 255).astype(np.uint8)


def rotate(rgb: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Turn each picture by its angle, enlarged so that no corner is empty.

    Args:
        rgb: ``(B, C, S, S)`` float.
        degrees: ``(B,)``, counter-clockwise.

    Returns:
        ``(B, C, S, S)``, bilinearly sampled.
    """
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    shrink = 1 / (cos.abs() + sin.abs())
    zero = torch.zeros_like(angle)
    rows = [torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)]
    theta = torch.stack(rows, 1) * shrink[:, None, None]  # (B, 2, 3)
    grid = F.affine_grid(theta.to(rgb.dtype), list(rgb.shape), align_corners=False)
    return F.grid_sample(rgb, grid, padding_mode="reflection", align_corners=False)


def luma(rgb: torch.Tensor) -> torch.Tensor:
    """Grey as Pillow's ``convert("L")`` gives it, to the bit.

    Pillow's sum of 16-bit weights stays below 2**24, so float32 holds it exactly.

    Args:
        rgb: ``(B, 3, H, W)`` float32, whole values 0..255.

    Returns:
        ``(B, 1, H, W)`` float32, whole values 0..255.
    """
    gray = rgb[:, 0:1] * 19595
    gray.add_(rgb[:, 1:2], alpha=38470).add_(rgb[:, 2:3], alpha=7471).add_(0x8000)
    return gray.div_(0x10000).floor_()
