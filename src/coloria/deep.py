"""Pixels of more than 8 bits, which Pillow reads only in part.

Pillow gives grey of 12 and 16 bits whole. Of 16-bit colour its decoders give one byte of each
sample, and which one is a matter of the byte order they are told; so colour is decoded twice. TIFF
with separate planes or premultiplied alpha is read by tifffile (the extra `scan`).
"""

from __future__ import annotations

import sys
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from coloria.errors import MissingExtraError, UnreadablePictureError
from coloria.picture import PictureWarning, from_floats

__all__ = ["deep_color", "deep_gray"]

Deep = tuple[NDArray[np.uint16], NDArray[np.uint16] | None]
"""Pixels (H, W) or (H, W, 3), and alpha (H, W)."""

_BITS, _PHOTOMETRIC, _PLANES, _EXTRA_SAMPLES = 258, 262, 284, 338
_RGB, _SEPARATE, _PREMULTIPLIED = 2, 2, 1

_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Big-endian, little-endian, native: the byte order that shows the other byte of a sample."""


def deep_color(image: Image.Image, file: IO[bytes], name: str) -> Deep | None:
    """The pixels of a PNG or TIFF page of 16-bit colour, not loaded yet; None for any other.

    Raises:
        MissingExtraError: The page needs the extra `scan`, which is not installed.

    Warns:
        PictureWarning: The pixels can be read at 8 bits only.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        raw = str(image.tile[0].args) if image.tile else ""
        if raw in ("RGB;16B", "RGBA;16B") and "transparency" not in image.info:
            return _twice(image, file)
        if raw.endswith(";16B") and raw != "I;16B":
            _warn_shallow(name)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(_BITS, (1,))
        if 16 in bits and image.tag_v2.get(_PHOTOMETRIC) == _RGB:
            return _tiff(image, file, name)
        if 16 in bits and len(bits) > 1:
            _warn_shallow(name)
    return None


def _warn_shallow(name: str) -> None:
    message = f"{name}: 16-bit pixels of this kind are read at 8 bits; grey or RGB keeps them all"
    warnings.warn(message, PictureWarning, stacklevel=3)


def _twice(image: ImageFile.ImageFile, file: IO[bytes]) -> Deep:
    """High bytes and low bytes, one after the other."""
    page = image.tell()
    image.load()
    file.seek(0)
    twin = type(image)(file)
    twin.seek(page)
    twin.tile = [tile._replace(args=_other_byte(tile.args)) for tile in twin.tile]
    twin.load()
    return _split(np.asarray(image).astype(np.uint16) << 8 | np.asarray(twin))


def _other_byte(args: Any) -> Any:
    """A decoder's arguments (the raw mode, or a tuple that starts with it), for the other byte."""
    if isinstance(args, tuple):
        return (_other_byte(args[0]), *args[1:])
    return args[:-1] + _OTHER_BYTE[args[-1]]


def _tiff(image: TiffImagePlugin.TiffImageFile, file: IO[bytes], name: str) -> Deep:
    extra = image.tag_v2.get(_EXTRA_SAMPLES, (2,))[0]
    separate = image.tag_v2.get(_PLANES) == _SEPARATE
    if extra != _PREMULTIPLIED and not separate:
        return _twice(image, file)
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: reading 16-bit TIFF with separate planes or premultiplied alpha", "scan"
        ) from error
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        array = np.asarray(tiff.pages[image.tell()].asarray(), np.uint16)
    return _with_extra(np.moveaxis(array, 0, 2) if separate else array, extra)


def _with_extra(array: NDArray[np.uint16], meaning: int) -> Deep:
    """Channels with alpha: 0 is none, 1 is premultiplied, 2 is plain (TIFF 6.0, ExtraSamples)."""
    pixels, alpha = _split(array[..., :4] if meaning else array[..., :3])
    if meaning == 1 and alpha is not None:
        share = np.maximum(alpha, 1).astype(np.float32)[..., None] / 65535
        pixels = np.minimum(pixels / share + 0.5, 65535).astype(np.uint16)
    return pixels, alpha


def _split(array: NDArray[Any]) -> Deep:
    """(H, W, 1 to 4) into grey or RGB, and alpha."""
    channels = array.shape[2]
    colors = array[..., 0] if channels < 3 else array[..., :3]
    alpha = np.ascontiguousarray(array[..., -1]) if channels in (2, 4) else None
    return np.ascontiguousarray(colors), alpha


def deep_gray(image: Image.Image, name: str) -> Deep | None:
    """Grey of more than 8 bits; None for an image of 8.

    Mode I holds 0..65535. Mode F holds [0, 1], or [0, 255], or [0, 65535], whichever is the
    first that its values fit.

    Raises:
        UnreadablePictureError: Values outside these ranges.
    """
    levels: Any
    if image.mode.startswith("I;16"):
        levels = np.array(image).astype(np.uint16)
    elif image.mode == "I":
        levels = _from_integers(np.asarray(image), name)
    elif image.mode == "F":
        values = np.asarray(image)
        white = next((w for w in (1.0, 255.0) if values.max() <= w), 65535.0)
        levels = from_floats(values, name, white)
    else:
        return None
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_BITS) == (12,):
        levels = levels << 4 | levels >> 8
    if tags.get(_PHOTOMETRIC) == 0:  # WhiteIsZero, which Pillow undoes only up to 8 bits
        levels ^= 0xFFFF
    return levels, None


def _from_integers(values: NDArray[np.int32], name: str) -> NDArray[np.uint16]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnreadablePictureError(
            f"{name}: integer grey values must lie in 0..65535; these reach from {low} to {high}: "
            "scale them first"
        )
    return values.astype(np.uint16)
