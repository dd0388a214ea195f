"""Chroma from the network, lightness from the original: the two ways to join them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from coloria.borders import Box
from coloria.color import Tone, fit_gamut, lab_to_srgb, srgb_to_lab, transfer_chroma_u8
from coloria.images import Picture

STRIP_PIXELS = 1 << 19
"""Pixels joined at a time: enough to be fast, and a 100-megapixel picture needs no more memory
for its colours than a small one."""


@dataclass(frozen=True)
class Chroma:
    """What the network gave for one picture."""

    rgb: NDArray[np.float32]
    """(h, w, 3) sRGB at the network's size, not clipped; its lightness is not used."""
    box: Box
    """The part of the picture it belongs to; what lies outside stays grey."""

    def ab(self) -> Tensor:
        """(2, h, w) a*, b*."""
        rgb = torch.from_numpy(self.rgb).permute(2, 0, 1).clamp(0, 1)
        return srgb_to_lab(rgb)[1:]


def join(picture: Picture, chroma: Chroma, tone: Tone) -> Picture:
    """Original lightness and predicted chroma in Lab, at full resolution and inside sRGB.

    The result has the dtype and the alpha of the original, and three channels.
    """
    height, width = picture.height, picture.width
    top = np.iinfo(picture.pixels.dtype).max
    result = np.empty((height, width, 3), picture.pixels.dtype)
    ab = chroma.ab()
    rows = max(1, STRIP_PIXELS // width)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        light = _lightness(picture.pixels[start:stop], top)
        full = _strip(ab, chroma.box, start, stop, width)
        lab = torch.cat([tone.lightness(light), tone.chroma(full, light)])
        rgb = fit_gamut(lab).mul_(top).round_()
        result[start:stop] = rgb.permute(1, 2, 0).numpy().astype(result.dtype)
    return replace(picture, pixels=result)


def _lightness(pixels: NDArray[np.uint8] | NDArray[np.uint16], top: int) -> Tensor:
    """L* (1, H, W) of grey or sRGB rows."""
    rgb = torch.from_numpy(pixels.astype(np.float32)) / top
    rgb = rgb[None].expand(3, -1, -1) if rgb.ndim == 2 else rgb.permute(2, 0, 1)
    return srgb_to_lab(rgb)[:1]


def _strip(ab: Tensor, box: Box, start: int, stop: int, width: int) -> Tensor:
    """Rows `start` to `stop` of the chroma at full size (2, rows, width), bilinear; 0 outside
    the box.
    """
    full = torch.zeros(2, stop - start, width)
    first, last = max(start, box.top), min(stop, box.bottom)
    if first >= last:
        return full
    # Row y of the content lies at (y + 1/2) * h / H - 1/2 of the small map.
    height = ab.shape[1]
    at = (torch.arange(first, last) - box.top + 0.5) * (height / box.height) - 0.5
    at = at.clamp(0, height - 1)
    low = at.floor().long()
    share = (at - low)[None, :, None]
    rows = torch.lerp(ab[:, low], ab[:, (low + 1).clamp(max=height - 1)], share)
    wide = F.interpolate(rows, size=box.width, mode="linear", align_corners=False)
    full[:, first - start : last - start, box.left : box.right] = wide
    return full


def transfer_luma(picture: Picture, chroma: Chroma) -> Picture:
    """DeOldify's own way: the result truncated to 8 bits, scaled up by Pillow, and its U and V
    put under the Y of the original. The picture becomes 8-bit.
    """
    small = (chroma.rgb.clip(0, 1) * 255).astype(np.uint8)
    size = (picture.width, picture.height)
    color = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BILINEAR))
    pixels = picture.pixels8()
    rgb = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    return replace(picture, pixels=transfer_chroma_u8(rgb, color), alpha=picture.alpha8())


def transfer_legacy(picture: Picture, chroma: Chroma) -> Picture:
    """BigColor's own way: the result scaled up as RGB, and its a*, b* put under L* = 100 times the
    grey value, which makes middle tones darker than they are; clipped to sRGB.
    """
    rgb = torch.from_numpy(chroma.rgb).permute(2, 0, 1).clamp(0, 1)
    size = (picture.height, picture.width)
    full = F.interpolate(rgb[None], size, mode="bilinear", align_corners=False)[0]
    top = np.iinfo(picture.pixels.dtype).max
    light = 100 * (torch.from_numpy(picture.gray().astype(np.float32)) / top)[None]
    lab = torch.cat([light, srgb_to_lab(full)[1:]])
    result = np.empty((*size, 3), picture.pixels.dtype)
    result[:] = lab_to_srgb(lab).clamp(0, 1).mul(top).round().permute(1, 2, 0).numpy()
    return replace(picture, pixels=result)
