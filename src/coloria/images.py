"""Pictures as people have them: read from anything, written atomically.

Reading looks at the content, not the suffix. Pixels arrive upright and in sRGB; alpha, EXIF and
resolution are kept. The size is checked on the header; Pillow's global limit is left alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from coloria.deep import deep_color, deep_gray
from coloria.errors import (
    ColoriaError,
    MissingExtraError,
    PictureTooLargeError,
    UnreadablePictureError,
    UsageError,
)
from coloria.picture import (
    Kind,
    Picture,
    PictureWarning,
    Pixels,
    from_array,
    give_back,
    to_pil,
)
from coloria.profiles import ProfileError, lab_profile, to_srgb, to_srgb16
from coloria.saving import FORMATS, SUFFIXES, encode, is_picture_name, sub_directories, write

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "Kind",
    "Picture",
    "PictureWarning",
    "Source",
    "encode",
    "give_back",
    "is_picture_name",
    "look",
    "page_count",
    "read",
    "read_pages",
    "to_pil",
    "write",
]

Source: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | IO[bytes] | Image.Image | NDArray[Any]
)
"""A path, the bytes of a file, an open binary file, a PIL image, or an array."""

MAX_PIXELS = 128 * 1024 * 1024
"""Pixels of the largest picture that is decoded: 100-megapixel cameras pass (11648 x 8736), and
reading the largest takes about 1.5 GB of memory; small files that unpack to more are refused."""

_HEAD = 4096
"""Bytes looked at to tell the format."""

_ORIENTATION = 0x0112

_STRUCTURAL = frozenset(
    {*range(254, 269), 273, *range(277, 282), 284, *range(288, 294), 301}
    | {*range(317, 348), *range(512, 533), 700, 33723, 34377, 34675, 37724}
)
"""Tags of a TIFF directory that describe how the pixels lie in the file, not the photograph."""

_NO_LONGER_TRUE = (
    ExifTags.Base.ColorSpace,
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
)
"""What the Exif directory says of the pixels: upright and in sRGB they are others."""


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads one picture; of a file with several pages the first.

    Args:
        source: A path, the bytes of a file, an open binary file, a PIL image, or an array as in
            :func:`coloria.picture.from_array`.
        max_pixels: The most pixels that are decoded.

    Raises:
        UnreadablePictureError: Not a picture, truncated, empty or damaged.
        PictureTooLargeError: More than `max_pixels`; nothing was decoded.
        MissingExtraError: HEIC, or 16-bit TIFF in separate planes, without the extra `scan`.

    Warns:
        PictureWarning: A profile or EXIF that cannot be used was left out, or 16-bit pixels had
            to be read at 8 bits.
    """
    pages = read_pages(source, max_pixels=max_pixels)
    try:
        return next(pages)
    finally:
        pages.close()  # type: ignore[attr-defined]


def read_pages(source: Source, *, max_pixels: int = MAX_PIXELS) -> Iterator[Picture]:
    """Reads the pages of a TIFF one after the other; anything else has one.

    Reduced copies of a page inside the file (thumbnails, masks) are left out. Of an animation the
    first frame is read. Takes and raises what :func:`read` does.
    """
    if isinstance(source, np.ndarray):
        _check_size("<array>", source.shape[1::-1], max_pixels)
        yield from_array(source)
    elif isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "<image>")
        yield _decode(source, None, name, max_pixels)
    else:
        with _opened(source) as (file, name):
            image = _open(file, name)
            for number in _page_numbers(image, name):
                with _decoding(name):
                    image.seek(number)
                yield _decode(image, file, name, max_pixels)


def page_count(source: Source) -> int:
    """How many pictures :func:`read_pages` gives; reads only the headers.

    Raises:
        UnreadablePictureError: Not a picture.
    """
    if isinstance(source, np.ndarray | Image.Image):
        return 1
    with _opened(source) as (file, name):
        return len(_page_numbers(_open(file, name), name))


def look(source: Source, *, max_pixels: int = MAX_PIXELS) -> tuple[str, int, int]:
    """Format (by Pillow's name), width and height of a file, from its header; takes and raises
    what :func:`read` does, as far as that can be told without decoding.
    """
    with _opened(source) as (file, name):
        image = _open(file, name)
        _check_size(name, image.size, max_pixels)
        return {"MPO": "JPEG"}.get(image.format or "", image.format or ""), *image.size


@contextmanager
def _opened(source: Any) -> Iterator[tuple[IO[bytes], str]]:
    """A binary file that can be sought in, and its name."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield BytesIO(source), "<bytes>"
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "<file>"))
        data = source.read()
        if not isinstance(data, bytes):
            raise UsageError(f"{name}: a picture must be opened in binary mode ('rb')")
        yield BytesIO(data), name
    elif isinstance(source, str | os.PathLike):
        with _opened_path(Path(source)) as file:
            yield file, os.fspath(source)
    else:
        raise UsageError(
            "a picture must be a path, bytes, an open binary file, a PIL image or a NumPy array; "
            f"got {type(source).__name__}"
        )


def _opened_path(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadablePictureError(f"{path}: {reason}") from error


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Whatever a damaged file makes a decoder raise becomes one error with the file's name."""
    try:
        yield
    except (ColoriaError, PictureWarning):
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLargeError(
            f"{name}: too large to decode ({str(error) or 'out of memory'}); make it smaller first"
        ) from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UnreadablePictureError(
            f"{name}: the picture is damaged or incomplete ({reason})"
        ) from error


def _open(file: IO[bytes], name: str) -> ImageFile.ImageFile:
    """The header of a file; which format it is, its first bytes say."""
    with _decoding(name):
        head = file.read(_HEAD)
        format = _format_of(head)
        if format is None:
            raise UnreadablePictureError(f"{name}: {_what_else(head)}")
        file.seek(0)
        image: ImageFile.ImageFile = _OPENERS[format](file, None)
    return image


def _format_of(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))}
        return next((name for known, name in _BRANDS if brands & known), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)

_BRANDS = (
    (frozenset({b"avif", b"avis"}), "AVIF"),
    (frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"}), "HEIF"),
)


def _what_else(head: bytes) -> str:
    text = head.lstrip().lower()
    if not head:
        return "the file is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "this is a web page or XML, not a picture: was the download a log-in page?"
    if text.startswith(b"%pdf"):
        return "this is a PDF: save its pages as TIFF or PNG first"
    return f"not a picture in a known format ({', '.join(FORMATS)})"


def _heif(file: IO[bytes], filename: str | None) -> ImageFile.ImageFile:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError("reading HEIC", "scan") from error
    image: ImageFile.ImageFile = pillow_heif.HeifImageFile(file, filename)
    return image


_OPENERS: dict[str, Any] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "HEIF": _heif,
}
"""Pillow's readers, called directly: `Image.open` would apply the process-wide pixel limit."""


def _page_numbers(image: ImageFile.ImageFile, name: str) -> list[int]:
    """The frames to read; of a TIFF all but reduced copies and masks."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return [image.tell()]
    numbers = []
    with _decoding(name):
        for number in range(image.n_frames):
            image.seek(number)
            if not image.tag_v2.get(254, 0) & 0b101:  # NewSubfileType: reduced, mask
                numbers.append(number)
    return numbers or [0]


def _check_size(name: str, size: tuple[int, ...], max_pixels: int) -> None:
    width, height = (*size, 0, 0)[:2]
    if width * height > max_pixels:
        raise PictureTooLargeError(
            f"{name}: {width} x {height} is {width * height / 1e6:.1f} megapixels; the limit is "
            f"{max_pixels / 1e6:.1f}: raise max_pixels (--max-pixels), or make it smaller first"
        )


def _decode(image: Image.Image, file: IO[bytes] | None, name: str, max_pixels: int) -> Picture:
    """The current frame of an image; `file` is what it is read from, None for a PIL image."""
    _check_size(name, image.size, max_pixels)
    if 0 in image.size:
        raise UnreadablePictureError(f"{name}: the picture has no pixels; its size is {image.size}")
    with _decoding(name):
        # Pillow turns a TIFF while it loads it; the others are turned here.
        stored = getattr(image, "tag_v2", {}).get(_ORIENTATION, 1)
        pixels, alpha = _pixels(image, file, name)
        turn, exif = _exif(image, name)
        dpi = _dpi(image)
    if alpha is not None:
        alpha = _upright(alpha, turn)
    if dpi and max(turn, stored) > 4:
        dpi = dpi[1], dpi[0]
    format = {"MPO": "JPEG"}.get(image.format or "", image.format)
    kind = Kind.IMAGE if file is None else Kind.FILE
    return Picture(_upright(pixels, turn), alpha, exif, format, name, dpi, kind)


def _pixels(image: Image.Image, file: IO[bytes] | None, name: str) -> tuple[Pixels, Pixels | None]:
    icc = image.info.get("icc_profile")
    deep = deep_color(image, file, name) if file is not None else None
    if deep is None:
        image.load()
        deep = deep_gray(image, name)
    if deep is None:
        return _shallow(image, icc, name)
    pixels, alpha = deep
    return _with_profile(pixels, icc, name, to_srgb16), alpha


def _shallow(
    image: Image.Image, icc: bytes | None, name: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """8-bit pixels of any of Pillow's modes, in sRGB."""
    gray = image.mode in ("1", "L", "LA", "La")
    plain, alpha = "L" if gray else "RGB", None
    if image.has_transparency_data:
        image = image.convert("LA" if gray else "RGBA")
        alpha = np.array(image.getchannel("A"))
    if image.mode not in ("CMYK", "LAB", plain):  # `convert` would copy
        image = image.convert(plain)
    if image.mode == "LAB":
        icc = lab_profile()
    image = _with_profile(image, icc, name, to_srgb)
    return np.array(image if image.mode == plain else image.convert(plain)), alpha


def _with_profile(pixels: Any, icc: bytes | None, name: str, convert: Any) -> Any:
    if not icc:
        return pixels
    try:
        return convert(pixels, icc)
    except ProfileError as error:
        message = f"{name}: {error}; the pixels are taken for sRGB"
        warnings.warn(message, PictureWarning, stacklevel=2)
        return pixels


def _exif(image: Image.Image, name: str) -> tuple[int, bytes | None]:
    """The orientation (1 to 8) and the EXIF to carry: upright, without the thumbnail."""
    turn = 1
    try:
        source = image.getexif()
        turn = source.get(_ORIENTATION, 1)
        turn = turn if turn in range(1, 9) else 1
        return turn, _kept_exif(source)
    except Exception as error:
        message = f"{name}: the EXIF data are damaged ({error}) and were left out"
        warnings.warn(message, PictureWarning, stacklevel=2)
        return turn, None


def _kept_exif(source: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    left_out = {*_STRUCTURAL, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
    kept.update({tag: value for tag, value in source.items() if tag not in left_out})
    kept.update(sub_directories(source))
    if _ORIENTATION in kept:
        kept[_ORIENTATION] = 1
    # tifffile notes the shape of its array, which is no longer that of the result.
    if str(kept.get(ExifTags.Base.ImageDescription, "")).startswith('{"shape"'):
        del kept[ExifTags.Base.ImageDescription]
    camera = kept.get(ExifTags.IFD.Exif, {})
    for tag in _NO_LONGER_TRUE:
        camera.pop(tag, None)
    return kept.tobytes() if kept else None


def _upright(pixels: Any, orientation: int) -> Any:
    """Turned as the EXIF orientation says."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    across, down = (float(value) for value in dpi)
    # A TIFF that does not say has 1.
    return (across, down) if 1 < across < 1e6 and 1 < down < 1e6 else None
