"""ICC profiles: from whatever a picture says of its pixels to sRGB.

8-bit pixels go through LittleCMS (in Pillow). It has no 16-bit colour there, so 16-bit RGB with a
profile of three curves and a matrix (Adobe RGB, ProPhoto, Display P3) is computed here, after
ICC.1:2022, sections 10.6 (curveType), 10.18 (parametricCurveType) and F.3 (the model).
"""

from __future__ import annotations

import struct
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["ProfileError", "gray_profile", "lab_profile", "srgb_profile", "to_srgb", "to_srgb16"]

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""Pillow's mode to the colour space a profile must be for."""

_ROUNDING = 2
"""Editions of sRGB differ by this much (of 255); below it the pixels are left as they are."""

_STRIP_PIXELS = 1 << 18
"""16-bit pixels converted at a time."""


class ProfileError(ValueError):
    """A profile that is damaged, or not one for these pixels."""


@cache
def srgb_profile() -> bytes:
    """The sRGB profile that every result carries; the same bytes every time."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return icc[:24] + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + icc[36:]


@cache
def gray_profile() -> bytes:
    """The profile of grey pixels with the curve of sRGB."""
    tags = _tags(srgb_profile())
    kept = {name: tags[name] for name in (b"desc", b"cprt", b"wtpt")} | {b"kTRC": tags[b"rTRC"]}
    start = 128 + 4 + 12 * len(kept)
    table, body = struct.pack(">I", len(kept)), b""
    for name, data in kept.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = srgb_profile()[4:16] + b"GRAY" + srgb_profile()[20:128]
    return struct.pack(">I", start + len(body)) + header + table + body


@cache
def lab_profile() -> bytes:
    """The profile of L*a*b* pixels, D50."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """8-bit pixels in sRGB.

    Args:
        image: Mode L, RGB, CMYK or LAB.
        icc: Its profile. Grey pixels may have one for RGB.

    Returns:
        Mode L for L, else RGB; the image itself where the profile is sRGB.

    Raises:
        ProfileError: The profile is damaged or not one for these pixels.
    """
    space = _space(icc)
    if image.mode == "L" and space == "RGB":
        return to_srgb(image.convert("RGB"), icc).convert("L")
    transform = _transform(icc, space, image.mode)
    if image.mode in ("L", "RGB") and _changes_nothing(transform, image.mode):
        return image
    return _applied(image, transform)


def to_srgb16(pixels: NDArray[np.uint16], icc: bytes) -> NDArray[np.uint16]:
    """16-bit pixels in sRGB, (H, W) or (H, W, 3); the array itself where the profile is sRGB.

    Raises:
        ProfileError: The profile is damaged, not one for these pixels, or one of tables, which
            needs 8-bit pixels.
    """
    space = _space(icc)
    if pixels.ndim == 2 and space == "GRAY":
        return _through_curve(pixels, icc)
    if _changes_nothing(_transform(icc, space, "RGB"), "RGB"):
        return pixels
    return _through_matrix(pixels, _tags(icc))


def _space(icc: bytes) -> str:
    try:
        return ImageCms.ImageCmsProfile(BytesIO(icc)).profile.xcolor_space.strip()
    except (OSError, TypeError) as error:
        raise ProfileError(f"the profile is damaged ({error})") from error


def _transform(icc: bytes, space: str, mode: str) -> ImageCms.ImageCmsTransform:
    """Relative colorimetric with black point compensation, as photographs are usually printed."""
    if space != _SPACES[mode]:
        raise ProfileError(f"the profile is for {space} pixels, these are {_SPACES[mode]}")
    gray = mode == "L"
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(icc)),
            ImageCms.ImageCmsProfile(BytesIO(gray_profile() if gray else srgb_profile())),
            mode,
            mode if gray else "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError as error:
        raise ProfileError(f"the profile cannot be used ({error})") from error


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """A new image; the one given stays as it is."""
    return transform.apply(image)


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the transform is sRGB to sRGB, seen on all greys and a grid of colours."""
    ramp: NDArray[Any] = np.arange(256, dtype=np.uint8)[None]
    if mode == "RGB":
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        ramp = np.concatenate([np.repeat(ramp[..., None], 3, axis=2), grid], axis=1)
    after = np.asarray(_applied(Image.fromarray(ramp), transform), np.int16)
    return int(np.abs(after - ramp).max()) <= _ROUNDING


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """The tags of a profile."""
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(min(count, 200))]
    return {name: icc[offset : offset + size] for name, offset, size in entries}


def _through_curve(pixels: NDArray[np.uint16], icc: bytes) -> NDArray[np.uint16]:
    """Grey: its curve to linear light, and the curve of sRGB."""
    curve = _tags(icc).get(b"kTRC", b"")
    if icc[20:24] != b"XYZ ":
        raise ProfileError("the profile is not one of a curve to XYZ")
    try:
        levels = _encode(_curve(curve).astype(np.float32))
    except (struct.error, ValueError) as error:
        raise ProfileError(f"the profile is damaged ({error})") from error
    change = np.abs(levels.astype(np.int32) - np.arange(65536)).max()
    return pixels if change <= _ROUNDING * 257 else levels[pixels]


def _through_matrix(pixels: NDArray[np.uint16], tags: dict[bytes, bytes]) -> NDArray[np.uint16]:
    """Curves, matrix to XYZ D50, matrix of sRGB, curve of sRGB; grey is taken for R = G = B."""
    names = (b"rTRC", b"gTRC", b"bTRC", b"rXYZ", b"gXYZ", b"bXYZ")
    if b"A2B0" in tags or not all(name in tags for name in names):
        raise ProfileError("the profile consists of tables, which are used with 8-bit pixels only")
    try:
        curves = [_curve(tags[name]).astype(np.float32) for name in names[:3]]
        matrix = np.linalg.inv(_matrix(_tags(srgb_profile()))) @ _matrix(tags)
    except (struct.error, ValueError, FloatingPointError) as error:
        raise ProfileError(f"the profile is damaged ({error})") from error
    result = np.empty_like(pixels)
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for start in range(0, len(pixels), rows):
        part = pixels[start : start + rows]
        rgb = [curves[i][part if part.ndim == 2 else part[..., i]] for i in range(3)]
        encoded = _encode(np.stack(rgb, axis=-1) @ matrix.T.astype(np.float32))
        result[start : start + rows] = encoded if part.ndim == 3 else encoded[..., 1]
    return result


def _encode(linear: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Linear light to sRGB (IEC 61966-2-1), 0..65535."""
    linear = linear.clip(0, 1)
    high = 1.055 * linear ** np.float32(1 / 2.4) - 0.055
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, high)
    return (encoded * 65535 + 0.5).astype(np.uint16)


def _matrix(tags: dict[bytes, bytes]) -> NDArray[np.float64]:
    columns = [_fixed(tags[name], 8, 3) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return np.stack(columns, axis=1)


def _fixed(data: bytes, offset: int, count: int) -> NDArray[np.float64]:
    """Numbers of 16.16 bits with sign."""
    return np.array(struct.unpack_from(f">{count}i", data, offset)) / 65536


def _curve(data: bytes) -> NDArray[np.float64]:
    """A tone curve at 0..65535, as linear light in [0, 1]."""
    x = np.linspace(0, 1, 65536)
    if data[:4] == b"para":
        return _parametric(data, x).clip(0, 1)
    if data[:4] != b"curv":
        raise ValueError(f"unknown kind of curve {data[:4]!r}")
    (count,) = struct.unpack_from(">I", data, 8)
    if count == 0:
        return x
    points: NDArray[Any] = np.frombuffer(data, ">u2", count, 12)
    if count == 1:
        return x ** float(points[0] / 256)
    return np.interp(x, np.linspace(0, 1, count), points / 65535)


def _parametric(data: bytes, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equations of ICC.1:2022, table 68: one power, and below `d` a line."""
    (kind,) = struct.unpack_from(">H", data, 8)
    if kind > 4:
        raise ValueError(f"unknown parametric curve {kind}")
    given = _fixed(data, 12, (1, 3, 4, 5, 7)[kind])
    g, a, b, c, d, e, f = np.pad(given, (0, 7 - len(given)))
    if kind == 0:
        a = 1.0
    elif kind < 3:
        e = f = c
        c, d = 0.0, -b / a
    y: NDArray[np.float64] = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
    return y
