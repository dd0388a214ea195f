"""Which photographs are measured on: folders, pairs of folders, groups, the bundled ones."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from coloria import images
from coloria.errors import ColoriaError, OptionError, PictureError
from coloria.metrics.sets import Pixels

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic")
"""Files of other names are not taken for photographs."""


@dataclass(frozen=True)
class Photograph:
    """One colour photograph, and perhaps somebody's result for it."""

    name: str
    """Its path inside the folder, without the suffix."""
    truth: Path
    prediction: Path | None = None
    group: str = ""


def bundled() -> Path:
    """The dozen small photographs that come with the package, with their attribution."""
    return Path(str(files("coloria") / "assets" / "eval"))


def in_folder(folder: Path) -> dict[str, Path]:
    """The pictures in a folder and the folders in it, by their paths without suffix.

    Raises:
        OptionError: It is no folder, or there is no picture in it.
    """
    if not folder.is_dir():
        raise OptionError(f"wanted a folder of pictures; {folder} is none")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise OptionError(f"there is no picture in {folder}; known are: {', '.join(SUFFIXES)}")
    return {p.relative_to(folder).with_suffix("").as_posix(): p for p in paths}


def find(data: Path, limit: int | None = None, seed: int = 0) -> list[Photograph]:
    """The photographs of a folder in the order of their names.

    Args:
        data: The folder.
        limit: Take so many of them, drawn by `seed`.
        seed: Of that choice.

    Raises:
        OptionError: There is none.
    """
    found = [Photograph(name, path) for name, path in in_folder(data).items()]
    return _drawn(found, limit, seed)


def pair(
    predictions: Path, truths: Path, limit: int | None = None, seed: int = 0
) -> tuple[list[Photograph], dict[str, str]]:
    """Results and their truths, paired by name; suffixes may differ.

    Returns:
        The pairs, and why others were left out, by name.

    Raises:
        OptionError: A folder is missing or empty, or no two names are the same.
    """
    made, true = in_folder(predictions), in_folder(truths)
    both = [Photograph(name, true[name], path) for name, path in made.items() if name in true]
    if not both:
        raise OptionError(
            f"no name in {predictions} is one in {truths} (for example {next(iter(made))!r} and "
            f"{next(iter(true))!r}): give the results the names of their photographs"
        )
    alone = dict.fromkeys(made.keys() - true.keys(), f"there is no such name in {truths}")
    alone |= dict.fromkeys(true.keys() - made.keys(), f"there is no such name in {predictions}")
    return _drawn(both, limit, seed), dict(sorted(alone.items()))


def _drawn(found: list[Photograph], limit: int | None, seed: int) -> list[Photograph]:
    if limit is None or limit >= len(found):
        return found
    chosen = random.Random(seed).sample(range(len(found)), limit)  # noqa: S311 a choice, no secret
    return [found[i] for i in sorted(chosen)]


def grouped(photographs: Sequence[Photograph], data: Path, column: str) -> list[Photograph]:
    """The photographs with their groups from the one CSV file in or beside their folder.

    Args:
        photographs: Of that folder.
        data: The folder.
        column: Which column names the group; the column `file`, or the first one, names the
            photograph.

    Raises:
        OptionError: There is no such file or column, or a photograph is not in it.
    """
    rows = dict(_groups(_table(data), column))
    missing = [p.name for p in photographs if p.name not in rows]
    if missing:
        raise OptionError(f"{len(missing)} photographs are in no row, first {missing[0]!r}")
    return [Photograph(p.name, p.truth, p.prediction, rows[p.name]) for p in photographs]


def _table(data: Path) -> Path:
    beside = data.parent / f"{data.resolve().name}.csv"
    found = [beside] if beside.is_file() else sorted(data.glob("*.csv"))
    if len(found) != 1:
        raise OptionError(
            f"groups are read from {beside.name} beside {data} or from the one CSV file in it; "
            f"there are {len(found)}"
        )
    return found[0]


def _groups(path: Path, column: str) -> Iterator[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or [])
        if column not in columns:
            raise OptionError(f"{path} has no column {column!r}; it has: {', '.join(columns)}")
        name = "file" if "file" in columns else columns[0]
        for row in rows:
            yield Path(row[name] or "").with_suffix("").as_posix(), row[column] or ""


def pixels(path: Path, size: int | None = None) -> Pixels:
    """A picture as sRGB (H, W, 3) uint8, upright.

    Args:
        path: The file.
        size: Scale its short side to this, in pixels (Lanczos).

    Raises:
        PictureError: It cannot be read.
    """
    image = Image.fromarray(images.read(path).pixels8()).convert("RGB")
    if size is not None:
        scale = size / min(image.size)
        sides = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(sides, Image.Resampling.LANCZOS)
    return np.array(image)


def gray_of(truth: Pixels) -> Pixels:
    """The photograph as it would be in black and white, (H, W) uint8: Pillow's ``convert("L")``."""
    return np.array(Image.fromarray(truth).convert("L"))


def readable(
    photographs: Sequence[Photograph], size: int | None
) -> tuple[list[Photograph], dict[str, str]]:
    """Those that can be read and, where there are results, are as large as their truths.

    Returns:
        Them, and what is wrong with the others, by name.
    """
    wrong: dict[str, str] = {}
    for photograph in photographs:
        try:
            _check(photograph, size)
        except ColoriaError as error:
            wrong[photograph.name] = str(error)
    return [p for p in photographs if p.name not in wrong], wrong


def _check(photograph: Photograph, size: int | None) -> None:
    truth = pixels(photograph.truth, size)
    if photograph.prediction is None:
        return
    made = pixels(photograph.prediction, size)
    if made.shape != truth.shape:
        raise PictureError(
            f"the result is {made.shape[1]}x{made.shape[0]} and the photograph "
            f"{truth.shape[1]}x{truth.shape[0]}; they must be of one size"
        )


def credits(folder: Path) -> Mapping[str, str]:
    """Author, licence and source of the bundled photographs, by name."""
    with (folder / "eval.csv").open(newline="", encoding="utf-8") as file:
        return {
            Path(row["file"]).stem: f"{row['title']}, {row['author'] or 'see source'}, "
            f"{row['licence']}, {row['source']}"
            for row in csv.DictReader(file)
        }
