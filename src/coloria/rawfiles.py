"""PNG and TIFF of 16 bits a channel, which Pillow cannot write in colour.

PNG after the W3C's Portable Network Graphics Specification (third edition), TIFF after TIFF 6.0
with Adobe's Deflate and the horizontal predictor.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from coloria.picture import Picture, with_alpha
from coloria.profiles import gray_profile, srgb_profile

__all__ = ["write_png16", "write_tiff"]

_STRIP_BYTES = 1 << 20
"""Pixels compressed at a time."""

_INCH = 0.0254
"""Metres."""

_PNG_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
"""Channels to grey, RGB, RGBA."""

_PNG_SUB = 1
"""The filter that stores the difference from the pixel on the left."""


def write_png16(file: IO[bytes], picture: Picture) -> None:
    """Writes a 16-bit PNG: grey, RGB or RGBA, tagged, with EXIF and resolution."""
    array = _channels(picture)
    height, width, channels = array.shape
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOR_TYPES[channels], 0, 0, 0)
    _chunk(file, b"IHDR", header)
    _chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(_profile(array)))
    if picture.dpi:
        across, down = (round(value / _INCH) for value in picture.dpi)
        _chunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))
    if picture.exif:
        _chunk(file, b"eXIf", picture.exif.removeprefix(b"Exif\0\0"))
    packer = zlib.compressobj(6)
    for strip in _strips(array):
        _chunk(file, b"IDAT", packer.compress(_png_rows(strip)))
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    crc = zlib.crc32(data, zlib.crc32(kind))
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))


def _png_rows(strip: NDArray[Any]) -> bytes:
    """Rows of bytes, each after its filter; differences are of bytes, not of samples."""
    samples = np.ascontiguousarray(strip, ">u2").view(np.uint8)
    rows = samples.reshape(len(strip), -1, 2 * strip.shape[2])
    rows = np.diff(rows, axis=1, prepend=np.zeros_like(rows[:, :1]))
    return np.insert(rows.reshape(len(strip), -1), 0, _PNG_SUB, axis=1).tobytes()


def write_tiff(file: IO[bytes], picture: Picture, exif: dict[int, Any]) -> None:
    """Writes, or appends, one page of a TIFF: grey, RGB or RGBA of 8 or 16 bits.

    Args:
        file: Readable, writable, and empty or a TIFF that this function wrote.
        picture: The page.
        exif: Its tags; directories inside are dictionaries.
    """
    array = _channels(picture)
    strips = [zlib.compress(_predicted(strip), 6) for strip in _strips(array)]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in exif.items():
        directory[tag] = value
    for tag, value in _layout(array, picture).items():
        directory[tag] = value
    sizes = [len(strip) for strip in strips]
    directory[279] = tuple(sizes)
    directory[273] = tuple(int(n) for n in np.cumsum([0, *sizes[:-1]]))  # made absolute by Pillow
    start = _append(file)
    directory.save(file)
    file.writelines(strips)
    if start:
        _link(file, start)


def _layout(array: NDArray[Any], picture: Picture) -> dict[int, Any]:
    """Baseline tags (TIFF 6.0, section 8), profile and resolution."""
    height, width, channels = array.shape
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (array.itemsize * 8,) * channels,
        259: 8,  # Deflate
        262: 1 if channels == 1 else 2,  # BlackIsZero, RGB
        277: channels,
        278: _rows_a_strip(array),
        317: 2,  # horizontal predictor
        34675: _profile(array),
    }
    if channels == 4:
        tags[338] = 2  # alpha, not premultiplied
    if picture.dpi:
        tags |= {282: picture.dpi[0], 283: picture.dpi[1], 296: 2}
    return tags


def _append(file: IO[bytes]) -> int:
    """Goes to where the next directory belongs, on an even offset; 0 in an empty file."""
    end = file.seek(0, os.SEEK_END)
    if end % 2:
        file.write(b"\0")
    return end + end % 2


def _link(file: IO[bytes], start: int) -> None:
    """Chains the directory at `start` to the last of those before it."""
    place = 4
    while True:
        file.seek(place)
        (following,) = struct.unpack("<I", file.read(4))
        if following in (0, start):
            break
        file.seek(following)
        (entries,) = struct.unpack("<H", file.read(2))
        place = following + 2 + 12 * entries
    file.seek(place)
    file.write(struct.pack("<I", start))
    file.seek(0, os.SEEK_END)


def _predicted(strip: NDArray[Any]) -> bytes:
    """Each sample less the one on its left."""
    zero = np.zeros_like(strip[:, :1])
    return np.diff(strip, axis=1, prepend=zero).astype(strip.dtype.newbyteorder("<")).tobytes()


def _channels(picture: Picture) -> NDArray[Any]:
    """(H, W, 1, 3 or 4)."""
    array = with_alpha(picture)
    return array[..., None] if array.ndim == 2 else array


def _profile(array: NDArray[Any]) -> bytes:
    return gray_profile() if array.shape[2] == 1 else srgb_profile()


def _rows_a_strip(array: NDArray[Any]) -> int:
    return max(1, min(len(array), _STRIP_BYTES // int(array[0].nbytes)))


def _strips(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = _rows_a_strip(array)
    return (array[start : start + rows] for start in range(0, len(array), rows))
