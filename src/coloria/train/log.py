"""What a run records of itself: a CSV of figures, TensorBoard events and picture grids."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from coloria.errors import TrainingError
from coloria.train.events import Events
from coloria.weightfile import atomic

__all__ = ["COLUMNS", "Log", "picture_grid", "written"]

COLUMNS = ("step", "stage", "epoch", "name", "value")
"""Of ``log.csv``: one row a figure, so that stages with different figures share a file."""

_GAP = 2  # pixels between the pictures of a grid


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn a refusal of the system within the block into an error that says what to do.

    Raises:
        TrainingError: an ``OSError`` came.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} could not be written: {error.strerror or error}; the last checkpoint is "
            "intact: make room and go on with --resume"
        ) from error


class Log:
    """The one writer of ``log.csv``, ``tensorboard/`` and ``pictures/`` of a run folder.

    Args:
        folder: the run folder.
        step: the step that the run goes on from; what was recorded after it is cut off, for it is
            recorded again.

    Raises:
        MissingExtraError: TensorBoard is not installed.
        TrainingError: a file cannot be written.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / "log.csv"
        self.pictures = folder / "pictures"
        self._events_folder = folder / "tensorboard"
        with written(folder):
            self.pictures.mkdir(exist_ok=True)
            _cut(self.path, step)
            self._file = self.path.open("a", newline="", encoding="utf-8")
            self._events = Events(self._events_folder, step)
        self._csv = csv.writer(self._file)

    def scalars(self, step: int, values: Mapping[str, float], stage: str, epoch: int) -> None:
        """Record figures of one step; they are in the file when this returns.

        Args:
            step: steps since the beginning of the run, over all stages.
            values: figures by name; ``train/loss`` and ``val/ciede2000`` are drawn in groups.
            stage: name of the stage.
            epoch: of the stage, from 0.
        """
        rows = [(step, stage, epoch, name, repr(float(v))) for name, v in values.items()]
        with written(self.path):
            self._csv.writerows(rows)
            self._file.flush()
        with written(self._events_folder):
            for name, value in values.items():
                self._events.scalar(step, name, value)

    def grid(self, step: int, name: str, columns: Sequence[Tensor]) -> Path:
        """Record a grid of pictures as a PNG and in TensorBoard.

        Args:
            step: steps since the beginning of the run.
            name: what they show, fit for a file name.
            columns: see :func:`picture_grid`.

        Returns:
            The PNG, ``pictures/<step>-<name>.png``.
        """
        grid = picture_grid(columns)
        png = io.BytesIO()
        Image.fromarray(grid).save(png, "PNG")
        path = self.pictures / f"{step:09d}-{name}.png"
        with written(path), atomic(path) as temporary:
            temporary.write_bytes(png.getvalue())
        with written(self._events_folder):
            self._events.image(step, name, png.getvalue(), (grid.shape[1], grid.shape[0]))
        return path

    def flush(self) -> None:
        """Have everything in the files."""
        with written(self.path):
            self._file.flush()
        with written(self._events_folder):
            self._events.flush()

    def close(self) -> None:
        """Write what is left and close the files."""
        try:
            with written(self.path):
                self._file.close()
        finally:
            with written(self._events_folder):
                self._events.close()


def _cut(path: Path, step: int) -> None:
    """Leave the header and the whole rows up to a step; begin the file if there is none."""
    rows = _rows(path)
    kept = [row for row in rows if int(row[0]) <= step]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([COLUMNS, *kept])
    with atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _rows(path: Path) -> list[list[str]]:
    """The whole rows: a process that was killed may have left half of one at the end."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = csv.reader(io.StringIO(whole, newline=""))
    return [row for row in rows if len(row) == len(COLUMNS) and row[0].isdecimal()]


def picture_grid(columns: Sequence[Tensor]) -> NDArray[np.uint8]:
    """Lay pictures side by side, one sample a row.

    Args:
        columns: for each column ``(B, 3, H, W)`` or ``(B, 1, H, W)``, sRGB or grey in [0, 1], any
            device; values outside are clipped.

    Returns:
        ``(B * H + gaps, columns * W + gaps, 3)`` uint8 sRGB.
    """
    size = columns[0].shape[-2:]
    same = [_rgb(column, (size[0], size[1])) for column in columns]
    padded = [F.pad(column, (0, _GAP, 0, _GAP), value=1.0) for column in same]
    rows = torch.cat(padded, dim=3)  # (B, 3, H + gap, columns * (W + gap))
    whole = torch.cat(list(rows), dim=1)[:, :-_GAP, :-_GAP]  # (3, B * (H + gap), ...)
    pixels = (whole * 255).round().to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())


def _rgb(batch: Tensor, size: tuple[int, int]) -> Tensor:
    batch = batch.detach().float().cpu().nan_to_num(0.0).clamp(0, 1)
    if tuple(batch.shape[-2:]) != size:
        batch = F.interpolate(batch, size, mode="bilinear", antialias=True).clamp(0, 1)
    return batch.expand(-1, 3, -1, -1)
