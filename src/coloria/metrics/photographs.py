"""Which photographs are measured on: folders, pairs of folders, groups, the bundled ones."""

from __future__ import annotations

import csv
import random
from collections import Counter
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
    """Its path inside the folder, without the suffix where no other has the same."""
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
    names = {p: p.relative_to(folder) for p in paths}
    stems = Counter(name.with_suffix("") for name in names.values())
    return {  # a.jpg and a.png keep their suffixes
        (name.with_suffix("") if stems[name.with_suffix("")] == 1 else name).as_posix(): path
        for path, name in names.items()
    }


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
    """Name and group of each row; a name with and without its suffix."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = list(rows.fieldnames or [])
            if column not in columns:
                raise OptionError(
                    f"{path} has no column {column!r}; it has: {', '.join(columns) or 'none'}"
                )
            name = "file" if "file" in columns else columns[0]
            for row in rows:
                file_name, group = Path(row[name] or ""), row[column] or ""
                yield file_name.with_suffix("").as_posix(), group
                yield file_name.as_posix(), group
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


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
    photographs: Sequence[Photograph],
    size: int | None,
    smallest: Sequence[tuple[str, int]] = (),
) -> tuple[list[Photograph], dict[str, str]]:
    """Those that can be read and, where there are results, are as large as their truths.

    Args:
        photographs: Which ones.
        size: As :func:`pixels` takes it.
        smallest: Names of measures, and the shortest side that they want.

    Returns:
        Them, and what is wrong with the others, by name.
    """
    wrong: dict[str, str] = {}
    for photograph in photographs:
        try:
            _check(photograph, size, smallest)
        except ColoriaError as error:
            wrong[photograph.name] = str(error)
    return [p for p in photographs if p.name not in wrong], wrong


def _check(photograph: Photograph, size: int | None, smallest: Sequence[tuple[str, int]]) -> None:
    truth = pixels(photograph.truth, size)
    for title, side in smallest:
        if min(truth.shape[:2]) < side:
            raise PictureError(
                f"{title} wants at least {side} pixels on each side; the photograph is "
                f"{truth.shape[1]}x{truth.shape[0]}"
            )
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
