"""One photograph by every model, side by side on one sheet."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from coloria import images
from coloria.classes import NOBODY, chosen
from coloria.colorizer import FACTOR_PIXELS, load
from coloria.errors import OptionError
from coloria.models import registry
from coloria.picture import Picture, to_pil
from coloria.weightfile import atomic
from coloria.weights import classes, find

SUFFIXES = (".png", ".html")

FACTORS = (10, 15, 20, 25, 30, 35, 40)
"""Render factors that a sweep shows of weights made for squares, as DeOldify's notebook does."""

SHARES = (0.67, 1.0, 1.33, 1.67, 2.0)
"""Shares of its default size that a sweep shows of other weights."""

CELL = 480
"""Largest side of a picture on the sheet, pixels."""

LABEL = 30
"""Height of the words below a picture, pixels."""

GAP = 8
"""Between pictures, pixels."""


@dataclass(frozen=True)
class Cell:
    """One picture of the sheet."""

    label: str
    image: Image.Image


def cells(
    source: str | Path,
    models: Sequence[str],
    weights: str = "auto",
    *,
    sweep: bool = False,
    class_: int | str | None = None,
    samples: int = 1,
    device: str = "auto",
    precision: str = "auto",
) -> list[Cell]:
    """The photograph itself, and what each model makes of it.

    Args:
        source: The photograph.
        models: Their names.
        weights: Of all of them, as :func:`coloria.load` takes them.
        sweep: Also at several sizes for the network.
        class_: What it shows, as :meth:`coloria.Colorizer.colorize` takes it, for weights that know
            classes.
        samples: Colourings by each model that gives many, with the seeds 0, 1 and so on.
        device: As :func:`coloria.load` takes it.
        precision: As :func:`coloria.load` takes it.

    Raises:
        PictureError: It cannot be read.
        WeightsError: A model has no weights here.
        OptionError: None of the models takes a class, or gives several answers.
    """
    labels = {
        name: chosen(class_, classes(name, find(name, weights)))
        for name in (registry.get(model).name for model in models)
    }
    if class_ is not None and not any(label is not None for label in labels.values()):
        raise OptionError(f"none of the models {NOBODY}")
    if samples > 1 and not any(registry.get(name).draws for name in labels):
        raise OptionError("none of the models gives several answers: samples are for bigcolor")
    picture = images.read(source)
    found = [Cell("original", _shown(picture))]
    for name, label in labels.items():
        colorizer = load(name, weights, device, precision)
        sizes: list[tuple[str, dict[str, int]]] = [("", {})]
        if sweep:
            sizes = _sweep(colorizer.card.default_size if colorizer.card else None)
        for (words, options), sample in product(sizes, range(samples if colorizer.draws else 1)):
            made = colorizer.predict(picture, class_=label, seed=sample, **options)
            number = f"s{sample + 1}" if samples > 1 and colorizer.draws else ""
            told = filter(None, (f"{name} {words}".strip(), number, str(made.label or "")))
            found.append(Cell(", ".join(told), _shown(made.render())))
    return found


def _sweep(default_size: int | None) -> list[tuple[str, dict[str, int]]]:
    """Words and options of every size."""
    if default_size is None:
        return [
            (f"render factor {f} ({f * FACTOR_PIXELS} px)", {"render_factor": f}) for f in FACTORS
        ]
    sizes = [round(default_size * share) for share in SHARES]
    return [(f"render size {size}", {"render_size": size}) for size in sizes]


def _shown(picture: Picture) -> Image.Image:
    image = to_pil(picture).convert("RGB")
    image.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return image


def write(sheet: Sequence[Cell], path: Path) -> None:
    """Writes the sheet as a picture, or as a page with a slider over each result.

    Raises:
        OptionError: The file ends neither in .png nor in .html.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"the sheet ends in {' or '.join(SUFFIXES)}; got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        if path.suffix.lower() == ".png":
            lay_out(sheet).save(temporary, "PNG")
        else:
            temporary.write_text(page(sheet), encoding="utf-8")


def lay_out(sheet: Sequence[Cell]) -> Image.Image:
    """All pictures on one, in rows, each with its label."""
    columns = min(len(sheet), max(2, round(len(sheet) ** 0.5 + 0.4)))
    rows = -(-len(sheet) // columns)
    width = max(cell.image.width for cell in sheet) + GAP
    height = max(cell.image.height for cell in sheet) + LABEL + GAP
    whole = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(size=16)
    for index, cell in enumerate(sheet):
        left, top = GAP + index % columns * width, GAP + index // columns * height
        whole.paste(cell.image, (left, top))
        pen.text((left, top + cell.image.height + 4), cell.label, "black", font)
    return whole


def page(sheet: Sequence[Cell]) -> str:
    """The sheet as one HTML file."""
    original, *results = sheet
    gray = Image.fromarray(np.asarray(original.image.convert("L")))
    before = _data(gray)
    figures = "".join(
        f'<figure><div class="pair"><img src="{before}" alt="the photograph in grey">'
        f'<img class="after" src="{_data(cell.image)}" alt="{escape(cell.label)}"></div>'
        f'<input type="range" min="0" max="100" value="50" step="0.5" '
        f'aria-label="how much of {escape(cell.label)} is shown">'
        f"<figcaption>{escape(cell.label)}</figcaption></figure>"
        for cell in results
    )
    text = (files("coloria") / "compare.html").read_text(encoding="utf-8")
    return text.replace("<!--figures-->", figures)


def _data(image: Image.Image) -> str:
    file = BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
