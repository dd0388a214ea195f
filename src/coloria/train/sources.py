"""Where photographs come from: folders and zip files, listed and read the same way everywhere.

A :class:`Entry` is one picture file; :func:`list_entries` finds them in an order that depends on
the names alone, and :func:`decode` turns one into pixels.
"""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coloria.errors import DataError

__all__ = ["Entry", "Opener", "check_there", "decode", "list_entries", "resolve_sources"]

SUFFIXES = frozenset(
    {".avif", ".bmp", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File names that are taken for pictures, in lower case."""

MAX_PIXELS = 80_000_000
"""Pictures with more pixels are refused before they are decoded."""

MAX_BYTES = 256 * 2**20
"""Files larger than this many bytes (unpacked) are refused before they are read."""

MIN_SIDE = 16
"""Pictures with a shorter side, in pixels, teach nothing and are refused."""

EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by the value of its EXIF orientation."""


@dataclass(frozen=True, order=True)
class Entry:
    """One picture file.

    Attributes:
        source: position of its folder or zip file among the sources.
        name: path inside the source, with forward slashes.
    """

    source: int
    name: str

    @property
    def group(self) -> tuple[int, str]:
        """The sub-folder it lies in: what ``limit`` is spread over."""
        return self.source, str(PurePosixPath(self.name).parent)


def resolve_sources(
    given: str | Path | Sequence[str | Path] | None,
    recipe: str | Path | Sequence[str | Path] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[Path]:
    """The folders and zip files to train on: ``--data``, else the recipe, else ``COLORIA_DATA``.

    Args:
        given: what ``--data`` says; ``None`` or empty when it was not given.
        recipe: what the recipe's ``data.train`` says; ``None`` or empty when it says nothing.
        environ: the environment; ``COLORIA_DATA`` holds paths separated as ``PATH`` is.

    Returns:
        Existing paths, ``~`` expanded, in the order given.

    Raises:
        DataError: nothing was given anywhere, or a path does not exist.
    """
    where, paths = _first_given(given, recipe, environ.get("COLORIA_DATA", ""))
    check_there(paths, f" (from {where})")
    return paths


def check_there(paths: Sequence[Path], origin: str = "") -> None:
    """Refuse paths that do not exist.

    Args:
        paths: folders and zip files.
        origin: where they were given, for the message.

    Raises:
        DataError: some are missing; it names them all.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"training data: {', '.join(missing)}{origin} not found; {_WHAT_TO_GIVE}")


_WHAT_TO_GIVE = (
    "give a folder or a .zip of colour photographs by --data DIR, by the recipe's data.train, "
    "or by the environment variable COLORIA_DATA"
)


def _first_given(
    given: str | Path | Sequence[str | Path] | None,
    recipe: str | Path | Sequence[str | Path] | None,
    variable: str,
) -> tuple[str, list[Path]]:
    split = [part for part in variable.split(os.pathsep) if part]
    for where, value in (("--data", given), ("data.train", recipe), ("COLORIA_DATA", split)):
        values = [value] if isinstance(value, str | Path) else list(value or [])
        paths = [Path(one).expanduser() for one in values if str(one)]
        if paths:
            return where, paths
    raise DataError(f"no training data was given; {_WHAT_TO_GIVE}")


def list_entries(sources: Sequence[Path]) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Every picture file of the sources, sorted by source and name.

    Returns:
        The entries, and ``(name, reason)`` of the sub-folders that cannot be listed.

    Raises:
        DataError: a source is neither a folder nor a readable zip file, or all of them together
            hold no picture file.
    """
    closed: list[tuple[str, str]] = []
    found = {
        Entry(number, name)
        for number, source in enumerate(sources)
        for name in (_folder_names(source, closed) if source.is_dir() else _zip_names(source))
        if _is_picture(name)
    }
    if not found:
        raise DataError(_nothing_found(sources, closed))
    return sorted(found), closed


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _folder_names(folder: Path, closed: list[tuple[str, str]]) -> Iterator[str]:
    def note(error: OSError) -> None:
        closed.append((str(error.filename), str(error.strerror)))

    seen: set[str] = set()  # real folders, so that a link to a parent is no endless walk
    for root, folders, files in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for file in files:
            yield (Path(root) / file).relative_to(folder).as_posix()


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as file:
            return [info.filename for info in file.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: wanted a folder or a .zip of colour photographs, but it cannot be read as "
            f"one: {error}"
        ) from error


def _nothing_found(sources: Sequence[Path], closed: list[tuple[str, str]]) -> str:
    looked = ", ".join(str(source) for source in sources)
    zips = [str(z) for s in sources if s.is_dir() for z in sorted(s.glob("*.zip"))]
    hint = f"; name the zip files there themselves: {', '.join(zips)}" if zips else ""
    hint += f"; {': '.join(closed[0])}" if closed else ""
    return f"no picture file ({' '.join(sorted(SUFFIXES))}) in {looked or 'no source'}{hint}"


class Opener:
    """Reads the bytes of entries; safe to share between threads.

    Each zip file is opened once and read under a lock: Python does not promise that one
    ``ZipFile`` may be read by several threads at once.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        self.sources = tuple(sources)
        self._zips: dict[int, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    def path(self, entry: Entry) -> str:
        """The entry's full name, for messages."""
        return str(self.sources[entry.source] / entry.name)

    def read(self, entry: Entry) -> bytes:
        """The bytes of one file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is larger than ``MAX_BYTES``.
        """
        source = self.sources[entry.source]
        return self._read_zip(entry) if source.is_file() else _read_file(source / entry.name)

    def _read_zip(self, entry: Entry) -> bytes:
        with self._lock:
            if entry.source not in self._zips:
                self._zips[entry.source] = zipfile.ZipFile(self.sources[entry.source])
            file = self._zips[entry.source]
            _check_bytes(file.getinfo(entry.name).file_size)
            return file.read(entry.name)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        _check_bytes(os.fstat(file.fileno()).st_size)
        return file.read()


def _check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes, more than the {MAX_BYTES} allowed")


def decode(data: bytes, short_side: int | None = None) -> NDArray[np.uint8]:
    """Pixels of one picture file: upright, alpha laid on white, no larger than asked for.

    JPEG files are decoded at a fraction of their size where that is enough.

    Args:
        data: the file's bytes.
        short_side: the shorter side of the result, in pixels; smaller pictures keep their size.

    Returns:
        ``(H, W, 3)`` uint8 sRGB.

    Raises:
        ValueError: too many pixels, or a side shorter than ``MIN_SIDE``.
        OSError: not a picture that Pillow can read (Pillow raises others, too).
    """
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels, more than the {MAX_PIXELS} allowed")
        if min(width, height) < MIN_SIDE:
            raise ValueError(f"{width} x {height} pixels; sides of at least {MIN_SIDE} are wanted")
        target = _reduced((width, height), short_side)
        image.draft("RGB", target)
        small = _to_rgb(image)
        turn = image.getexif().get(EXIF_ORIENTATION, 1)  # after decoding, which turns TIFF files
        if target != small.size:
            small = small.resize(target, Image.Resampling.BICUBIC, reducing_gap=2.0)
        return np.asarray(small.transpose(UPRIGHT[turn]) if turn in UPRIGHT else small)


def _reduced(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    if short_side is None or min(size) <= short_side:
        return size
    scale = short_side / min(size)
    return max(short_side, round(size[0] * scale)), max(short_side, round(size[1] * scale))


def _to_rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")
