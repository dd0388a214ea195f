"""What a worker does with one picture. The only part of the site that decodes pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from coloria import images
from coloria.borders import Box
from coloria.color import Tone
from coloria.colorizer import Colorizer, Prediction
from coloria.errors import PictureWriteError
from coloria.join import Chroma
from coloria.picture import Picture, PictureWarning
from coloria.saving import FORMATS
from coloria.web.orders import Color, Done, Render, Written

__all__ = ["VIEW_SIDE", "color", "render", "without_location"]

VIEW_SIDE = 1024
"""Longest side, in pixels, of what is shown on a page."""

VIEW_QUALITY = 90

_TYPES = {"HEIF": "image/heic"}
"""Where Pillow has no media type."""


def color(order: Color, colorizer: Colorizer, progress: Callable[[float], None]) -> Done:
    """Colours one picture and writes the result, its view, the original's view and the chroma.

    The result is what ``coloria colorize`` writes, but for the location.
    """
    with _notes(order.name) as notes:
        picture = _read(order.source, order)
        progress(0.2)
        prediction = colorizer.predict(
            picture, render_size=order.size, class_=order.class_, seed=order.seed
        )
        progress(0.7)
        files = {"chroma": _save_chroma(prediction.chroma, Path(f"{order.stem}.npz"))}
        tone = Tone(**order.tone)
        files["result"] = _write(prediction.render(tone=tone), order.stem)
        progress(0.9)
        small = _shrunk(prediction)
        files["view"] = _write_view(small.render(tone=tone), order.stem)
        files["original"] = _write(picture, order.original_stem)
        files["original_view"] = _write_view(small.picture, order.original_stem)
    if prediction.label and prediction.label.probability is not None:
        notes.append(str(prediction.label))
    return Done(width=picture.width, height=picture.height, notes=tuple(notes), files=files)


def render(order: Render) -> Done:
    """Writes a picture with another tone; the network does not run."""
    with _notes(order.name):
        picture = _read(order.source, order)
        if order.chroma is None:
            chroma = Chroma(np.zeros((1, 1, 3), np.float32), Box.whole(picture))
        else:
            chroma = _load_chroma(Path(order.chroma))
        prediction = Prediction(picture, chroma)
        prediction = _shrunk(prediction) if order.view else prediction
        plain = order.chroma is None
        result = prediction.picture if plain else prediction.render(tone=Tone(**order.tone))
        file = _write_view(result, order.target) if order.view else _write(result, order.target)
    return Done(width=result.width, height=result.height, files={"result": file})


def _read(source: str, order: Color | Render) -> Picture:
    """The first page, under the visitor's name for it."""
    file = BytesIO(Path(source).read_bytes())
    file.name = order.name
    pages = images.page_count(file)
    file.seek(0)
    picture = images.read(file, max_pixels=order.max_pixels)
    if pages > 1:
        message = f"{order.name}: it has {pages} pages; this is the first"
        warnings.warn(message, PictureWarning, stacklevel=2)
    if picture.exif and not order.keep_location:
        picture = replace(picture, exif=without_location(picture.exif))
    return picture


def without_location(exif: bytes) -> bytes | None:
    """EXIF data without the GPS directory; None where nothing else is in them."""
    tags = Image.Exif()
    tags.load(exif)
    camera = dict(tags.get_ifd(ExifTags.IFD.Exif))
    kept = Image.Exif()
    kept.update({t: v for t, v in tags.items() if t not in (ExifTags.IFD.GPSInfo,)})
    kept.pop(ExifTags.IFD.Exif, None)
    # The maker's own notes are in a form that nobody published, and may hold a place.
    camera.pop(ExifTags.Base.MakerNote, None)
    if camera:
        kept[ExifTags.IFD.Exif] = camera
    return kept.tobytes() if kept else None


def _shrunk(prediction: Prediction) -> Prediction:
    """The same at the size of a page, 8-bit."""
    picture, chroma = prediction.picture, prediction.chroma
    scale = VIEW_SIDE / max(picture.width, picture.height)
    plain = replace(picture, pixels=picture.pixels8(), alpha=picture.alpha8(), exif=None, dpi=None)
    if scale >= 1:
        return Prediction(plain, chroma)
    width, height = (max(1, round(side * scale)) for side in (picture.width, picture.height))

    def small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(resized)

    box = chroma.box
    across, down = width / picture.width, height / picture.height
    moved = Box(
        top=round(box.top * down),
        bottom=max(round(box.top * down) + 1, round(box.bottom * down)),
        left=round(box.left * across),
        right=max(round(box.left * across) + 1, round(box.right * across)),
    )
    alpha = plain.alpha8()
    plain = replace(
        plain, pixels=small(plain.pixels8()), alpha=None if alpha is None else small(alpha)
    )
    return Prediction(plain, replace(chroma, box=moved))


def _save_chroma(chroma: Chroma, path: Path) -> Written:
    box = chroma.box
    with path.open("wb") as file:
        np.savez(file, rgb=chroma.rgb, box=[box.top, box.bottom, box.left, box.right])
    return _written(path, "application/octet-stream")


def _load_chroma(path: Path) -> Chroma:
    with np.load(path, allow_pickle=False) as stored:
        return Chroma(stored["rgb"], Box(*(int(side) for side in stored["box"])))


def _write(picture: Picture, stem: str) -> Written:
    """In the format it came in, or PNG where that cannot hold a photograph in colour."""
    format = "PNG" if picture.format in (None, "GIF") else str(picture.format)
    path = Path(f"{stem}{FORMATS[format].suffixes[0]}")
    if not path.exists():  # it is whole, then: another model's turn has written the original
        _put(picture, path)
    return _written(path, _TYPES.get(format) or Image.MIME[format])


def _write_view(picture: Picture, stem: str) -> Written:
    path = Path(f"{stem}.view.jpg")
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PictureWarning)  # white below what is transparent
            _put(picture, path, VIEW_QUALITY)
    return _written(path, "image/jpeg")


def _put(picture: Picture, path: Path, quality: int | None = None) -> None:
    """Whole or not at all, and never into a folder that has been deleted meanwhile."""
    try:
        images.write(picture, path, quality=quality, overwrite=True)
    except PictureWriteError as error:
        raise PictureWriteError(str(error).replace(str(path), picture.name)) from error


def _written(path: Path, kind: str) -> Written:
    return Written(path=str(path), type=kind, bytes=path.stat().st_size)


@contextmanager
def _notes(name: str) -> Iterator[list[str]]:
    """Collects what had to be left out of a picture."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PictureWarning)
        yield told
    for warning in caught:
        text = str(warning.message).removeprefix(f"{name}: ")
        if issubclass(warning.category, PictureWarning) and text not in told:
            told.append(text)
