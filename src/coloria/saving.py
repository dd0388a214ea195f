"""Pictures into files: every format, and writing that is all or nothing."""

from __future__ import annotations

import errno
import os
import secrets
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from PIL import ExifTags, Image

from coloria.errors import (
    ColoriaError,
    MissingExtraError,
    OptionError,
    OutputExistsError,
    OutputIsInputError,
    PictureWriteError,
    did_you_mean,
)
from coloria.picture import Picture, PictureWarning, to_pil
from coloria.rawfiles import write_png16, write_tiff

__all__ = ["FORMATS", "SUFFIXES", "Format", "encode", "is_picture_name", "write"]


@dataclass(frozen=True)
class Format:
    """What a file format can hold."""

    suffixes: tuple[str, ...]
    """The first is the usual one."""
    alpha: bool
    quality: int | None
    """Default quality, 1 to 100; None for a format without loss."""
    longest: int
    """Longest side, in pixels."""
    options: tuple[tuple[str, Any], ...] = ()
    """Passed on to Pillow."""


FORMATS: dict[str, Format] = {
    # Chroma is what these pictures are about: no subsampling.
    "JPEG": Format((".jpg", ".jpeg", ".jpe"), False, 95, 65500, (("subsampling", 0),)),
    "PNG": Format((".png",), True, None, 2**31 - 1),
    "WEBP": Format((".webp",), True, 90, 16383),
    "TIFF": Format((".tif", ".tiff"), True, None, 2**31 - 1),
    "BMP": Format((".bmp",), False, None, 2**31 - 1),
    "GIF": Format((".gif",), True, None, 65535),
    "AVIF": Format((".avif",), True, 90, 65536, (("subsampling", "4:4:4"),)),
    "HEIF": Format((".heic", ".heif"), True, 90, 16384, (("chroma", 444),)),
}
"""By Pillow's name. PNG and TIFF hold 16 bits; in the others results are rounded to 8."""

SUFFIXES: dict[str, str] = {s: name for name, f in FORMATS.items() for s in f.suffixes}
"""Suffix, with its dot and in small letters, to format."""

_JPEG_EXIF_BYTES = 65533 - 6
"""Largest EXIF that fits a JPEG marker."""


def is_picture_name(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix is one of a format that can be read."""
    return Path(path).suffix.lower() in SUFFIXES


def find_format(name: str) -> str:
    """The format of a name, in Pillow's spelling: "jpg", ".TIF", "heic" and "JPEG" are known.

    Raises:
        OptionError: No such format.
    """
    wanted = name.lower().lstrip(".")
    for format, about in FORMATS.items():
        if wanted == format.lower() or f".{wanted}" in about.suffixes:
            return format
    known = [suffix.lstrip(".") for suffix in SUFFIXES]
    raise OptionError(
        f"unknown picture format {name!r}{did_you_mean(wanted, known)}; "
        f"there are: {', '.join(known)}"
    )


def encode(picture: Picture, format: str, quality: int | None = None) -> bytes:
    """The bytes of a file.

    Args:
        picture: What to write.
        format: "jpeg", "png", "webp", "tiff", "bmp", "gif", "avif" or "heic".
        quality: 1 to 100, for JPEG, WebP, AVIF and HEIC; the others lose nothing and ignore it.

    Returns:
        The file: tagged sRGB, with the EXIF and the resolution, in the formats that hold them. A
        format without alpha gets the picture over white.

    Raises:
        OptionError: Unknown format, or a quality out of its range.
        PictureWriteError: The format cannot hold this picture.
        MissingExtraError: HEIC without the extra `scan`.

    Warns:
        PictureWarning: Transparency or EXIF did not fit the format.
    """
    file = BytesIO()
    with _writing(picture.name):
        _save([picture], file, find_format(format), quality)
    return file.getvalue()


def write(
    pictures: Picture | Iterable[Picture],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> Path:
    """Writes a file whole or not at all.

    It is written beside its place under another name, flushed to the disk, and renamed: at any
    moment `path` is what it was or what it shall be. A link is followed.

    Args:
        pictures: One picture, or several for the pages of a TIFF (taken one by one).
        path: Where to.
        format: As in :func:`encode`; by default what the suffix says.
        quality: As in :func:`encode`.
        overwrite: Replace a file that is there.
        inputs: Files that are never replaced, by whatever name or link `path` reaches them.

    Returns:
        The path.

    Raises:
        OutputIsInputError: `path` is one of `inputs`.
        OutputExistsError: `path` is there and `overwrite` is not set.
        PictureWriteError: No such folder, no permission, a full disk, or a picture that the
            format cannot hold. No file is left.
        OptionError: No or another format in the suffix, or several pages and not a TIFF.
    """
    name = _format_for(Path(path), format)
    target = Path(os.path.realpath(path))
    pages = [pictures] if isinstance(pictures, Picture) else pictures
    with _writing(os.fspath(path)):
        _check_target(target, path, overwrite, inputs)
        with _new_file(target) as (file, temporary):
            _save(pages, file, name, quality)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            _move(temporary, target, overwrite)
    return Path(path)


def _format_for(path: Path, format: str | None) -> str:
    by_suffix = SUFFIXES.get(path.suffix.lower())
    if format is None:
        return by_suffix or find_format(path.suffix or path.name)
    name = find_format(format)
    if by_suffix not in (None, name):
        raise OptionError(
            f"{path}: the suffix says {by_suffix}, the format asked for is {name}: "
            f"call it {path.with_suffix(FORMATS[name].suffixes[0]).name}"
        )
    return name


def _check_target(target: Path, path: Any, overwrite: bool, inputs: Iterable[Any]) -> None:
    if not target.exists():
        return
    for source in inputs:
        if Path(source).exists() and target.samefile(source):
            raise OutputIsInputError(
                f"{path}: this is the input {source}; choose another name for the output"
            )
    if target.is_dir():
        raise PictureWriteError(f"{path}: this is a folder; give the name of a file")
    if not overwrite:
        raise _exists(path)


def _exists(path: Any) -> OutputExistsError:
    return OutputExistsError(
        f"{path}: the file is there already; overwrite=True (--overwrite) replaces it"
    )


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Whatever goes wrong below becomes one error that names the file."""
    try:
        yield
    except (ColoriaError, PictureWarning):
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOENT:
            reason = "the folder does not exist; make it first"
        raise PictureWriteError(f"{name}: cannot be written ({reason})") from error
    except Exception as error:
        raise PictureWriteError(f"{name}: cannot be encoded ({error})") from error


@contextmanager
def _new_file(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file beside the target with the mode of any new file; gone at the end unless moved."""
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("x+b") as file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _move(temporary: Path, target: Path, overwrite: bool) -> None:
    """To its place; without `overwrite` never onto a file that appeared meanwhile."""
    if overwrite:
        temporary.replace(target)
        return
    try:
        target.hardlink_to(temporary)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError:  # a file system without hard links
        temporary.replace(target)


def _save(pages: Iterable[Picture], file: IO[bytes], format: str, quality: int | None) -> None:
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"quality must lie in 1..100; got {quality}")
    count = 0
    for count, picture in enumerate(pages, start=1):
        if count > 1 and format != "TIFF":
            raise OptionError(f"{format} holds one picture; several pages need .tif")
        _check_side(picture, format)
        _save_one(picture, file, format, quality)
    if not count:
        raise OptionError("there is no picture to write")


def _check_side(picture: Picture, format: str) -> None:
    longest = FORMATS[format].longest
    if max(picture.height, picture.width) > longest:
        raise PictureWriteError(
            f"{picture.name}: {format} holds at most {longest} pixels a side, this picture is "
            f"{picture.width} x {picture.height}: write .png or .tif"
        )


def _save_one(picture: Picture, file: IO[bytes], format: str, quality: int | None) -> None:
    if format == "TIFF":
        exif = _loaded(picture.exif)
        write_tiff(file, picture, {**exif, **sub_directories(exif)})
    elif format == "PNG" and picture.pixels.dtype != "uint8":
        write_png16(file, picture)
    else:
        _save_pillow(picture, file, format, quality)


def _save_pillow(picture: Picture, file: IO[bytes], format: str, quality: int | None) -> None:
    about = FORMATS[format]
    image = to_pil(picture)
    options: dict[str, Any] = {
        key: image.info[key] for key in ("icc_profile", "exif", "dpi") if key in image.info
    }
    if picture.alpha is not None and not about.alpha:
        _warn(picture, f"{format} has no transparency; the picture is put on white")
        image = _on_white(image)
    if format == "JPEG" and len(options.get("exif", b"")) > _JPEG_EXIF_BYTES:
        _warn(picture, "the EXIF data are too long for JPEG and were left out")
        del options["exif"], image.info["exif"]
    if about.quality:
        options["quality"] = quality or about.quality
    options.update(about.options)
    if format == "HEIF":
        _save_heif(image, file, options)
    else:
        image.save(file, format, **options)


def _save_heif(image: Image.Image, file: IO[bytes], options: dict[str, Any]) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError("writing HEIC", "scan") from error
    pillow_heif.from_pillow(image).save(file, **options)


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
    result = flat.convert("L" if image.mode == "LA" else "RGB")
    result.info = image.info
    return result


def _warn(picture: Picture, what: str) -> None:
    warnings.warn(f"{picture.name}: {what}", PictureWarning, stacklevel=2)


def _loaded(exif: bytes | None) -> Image.Exif:
    result = Image.Exif()
    if exif:
        result.load(exif)
    return result


def sub_directories(exif: Image.Exif) -> dict[int, dict[int, Any]]:
    """The Exif and GPS directories of EXIF data, as dictionaries."""
    found = {int(ifd): dict(exif.get_ifd(ifd)) for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)}
    return {ifd: tags for ifd, tags in found.items() if tags}
