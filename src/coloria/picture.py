"""One picture in memory, whatever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coloria.errors import UnreadablePictureError
from coloria.profiles import gray_profile, srgb_profile

__all__ = [
    "Kind",
    "Picture",
    "PictureWarning",
    "Pixels",
    "from_array",
    "from_floats",
    "give_back",
    "to_pil",
]

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_STRIP_PIXELS = 1 << 20
"""16-bit pixels made grey at a time."""


class PictureWarning(UserWarning):
    """Something in a picture was not usable and was left out; the message names the picture."""


class Kind(Enum):
    """What a picture was given as, so that the result can be given back as the same."""

    FILE = "file"
    """A path, bytes or an open file."""
    IMAGE = "image"
    """A PIL image."""
    ARRAY = "array"
    """An array of uint8 or uint16."""
    FLOATS = "floats"
    """An array of floating-point numbers in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels in sRGB, upright, and what came with them."""

    pixels: Pixels
    """(H, W, 3) RGB or (H, W) grey, uint8 or uint16, sRGB."""
    alpha: Pixels | None = None
    """(H, W), of the dtype of the pixels; 0 is transparent. Not premultiplied."""
    exif: bytes | None = None
    """Orientation 1, without the thumbnail."""
    format: str | None = None
    """The format it came in, by Pillow's name: "JPEG"."""
    name: str = "<array>"
    """For messages: the path, "<bytes>", "<stdin>", "<image>" or "<array>"."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, across and down."""
    kind: Kind = Kind.ARRAY
    """What it was given as."""

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    def gray(self) -> Pixels:
        """(H, W) of the same dtype: the luma of Pillow's ``convert("L")`` (ITU-R 601-2)."""
        if self.pixels.ndim == 2:
            return self.pixels
        if self.pixels.dtype == np.uint8:
            return np.array(Image.fromarray(self.pixels).convert("L"))
        gray = np.empty(self.pixels.shape[:2], np.uint16)
        rows = max(1, _STRIP_PIXELS // self.width)
        for start in range(0, self.height, rows):
            gray[start : start + rows] = _luma16(self.pixels[start : start + rows])
        return gray

    def pixels8(self) -> NDArray[np.uint8]:
        """The pixels at 8 bits, rounded to the nearest; the array itself where they are."""
        return _eight_bits(self.pixels)

    def alpha8(self) -> NDArray[np.uint8] | None:
        """The alpha at 8 bits, as :meth:`pixels8`."""
        return None if self.alpha is None else _eight_bits(self.alpha)


def _luma16(rgb: NDArray[Any]) -> NDArray[np.uint16]:
    wide = rgb.astype(np.uint32)
    luma = 19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768
    return (luma >> 16).astype(np.uint16)


def _eight_bits(values: Pixels) -> NDArray[np.uint8]:
    """The nearest of 256 levels, without leaving 16 bits."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return ((np.minimum(values, 65535 - 128) + 128) // 257).astype(np.uint8)


def from_array(array: NDArray[Any], name: str = "<array>") -> Picture:
    """A picture of an array; its memory is not kept.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, sRGB; uint8, uint16, or
            floating-point numbers in [0, 1], which become 16-bit.
        name: What messages call it.

    Raises:
        UnreadablePictureError: Another shape or dtype, no pixels, or numbers outside [0, 1].
    """
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise UnreadablePictureError(
            f"{name}: an array must have the shape (H, W), (H, W, 3) or (H, W, 4); got {shape}"
        )
    if array.size == 0:
        raise UnreadablePictureError(f"{name}: the array has no pixels; its shape is {shape}")
    pixels: Any
    pixels, kind = _checked(array, name)
    pixels = pixels[..., 0] if shape[2:] == (1,) else pixels
    if shape[2:] != (4,):
        return Picture(pixels, name=name, kind=kind)
    rgb, alpha = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    return Picture(rgb, alpha, name=name, kind=kind)


def _checked(array: NDArray[Any], name: str) -> tuple[Pixels, Kind]:
    if array.dtype.kind == "f":
        return from_floats(array, name), Kind.FLOATS
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise UnreadablePictureError(
            f"{name}: an array must be uint8, uint16, or floating-point in [0, 1]; got "
            f"{array.dtype}: convert it, for example with .astype('uint8')"
        )
    return np.array(array, array.dtype.newbyteorder("=")), Kind.ARRAY


def from_floats(values: NDArray[Any], name: str, white: float = 1.0) -> NDArray[np.uint16]:
    """Numbers in [0, `white`] as 16-bit levels.

    Raises:
        UnreadablePictureError: Some are outside, or not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= white):  # NaN is neither
        raise UnreadablePictureError(
            f"{name}: floating-point values must lie in [0, {white:g}] and be finite; "
            f"these reach from {low:g} to {high:g}"
        )
    wide = np.result_type(values.dtype, np.float32)
    return (values.astype(wide, copy=False) * (65535 / white) + 0.5).astype(np.uint16)


def to_pil(picture: Picture) -> Image.Image:
    """An 8-bit PIL image: L, LA, RGB or RGBA; profile, EXIF and resolution are in its `info`."""
    image = Image.fromarray(picture.pixels8())
    alpha = picture.alpha8()
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    image.info["icc_profile"] = gray_profile() if picture.pixels.ndim == 2 else srgb_profile()
    if picture.exif:
        image.info["exif"] = picture.exif
    if picture.dpi:
        image.info["dpi"] = picture.dpi
    return image


def give_back(picture: Picture) -> Any:
    """The picture as what it was given as.

    Returns:
        A PIL image; for an array one of (H, W), (H, W, 3) or, with alpha, (H, W, 4), of the
        dtype of `pixels`, or float32 in [0, 1] where floating-point numbers were given.
    """
    if picture.kind in (Kind.FILE, Kind.IMAGE):
        return to_pil(picture)
    array = with_alpha(picture)
    return array.astype(np.float32) / 65535 if picture.kind is Kind.FLOATS else array


def with_alpha(picture: Picture) -> Pixels:
    """The pixels, where there is an alpha as (H, W, 4) RGBA."""
    if picture.alpha is None:
        return picture.pixels
    rgb: Any = picture.pixels
    rgb = np.repeat(rgb[..., None], 3, axis=2) if rgb.ndim == 2 else rgb
    result: Pixels = np.concatenate([rgb, picture.alpha[..., None]], axis=2)
    return result
