"""TensorBoard's event files, written at once.

TensorBoard's own writer works in a thread of its own: there, a full disk ends in a traceback on
the terminal, and the run learns of it later. Here an error comes where it happens.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from coloria.errors import MissingExtraError

__all__ = ["Events", "check_tensorboard"]


def check_tensorboard() -> None:
    """Make sure that TensorBoard is there.

    Raises:
        MissingExtraError: it is not installed.
    """
    _parts()


def _parts() -> tuple[Any, Any, Any, Any]:
    """Import TensorBoard's messages and its form of a record."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise MissingExtraError("the TensorBoard log of a training run", "train") from error
    return Event, SessionLog, Summary, RecordWriter


class Events:
    """One event file, begun anew by each process.

    Args:
        folder: what ``tensorboard --logdir`` is given; made if it is not there.
        step: the step that the run goes on from; what earlier files hold after it is not shown.

    Raises:
        MissingExtraError: TensorBoard is not installed.
        OSError: the file cannot be written (every method may raise it).
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._event, session, self._summary, record_writer = _parts()
        folder.mkdir(exist_ok=True)
        self._file = _free_name(folder).open("xb")
        self._records = record_writer(self._file)
        self._add(file_version="brain.Event:2")
        if step:
            self._add(step=step + 1, session_log=session(status=session.START))
        self.flush()

    def scalar(self, step: int, name: str, value: float) -> None:
        """Add a figure."""
        self._add(step=step, summary=self._one(tag=name, simple_value=value))

    def image(self, step: int, name: str, png: bytes, size: tuple[int, int]) -> None:
        """Add a picture of ``size`` (width, height), as the bytes of a PNG file."""
        width, height = size
        image = self._summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=png
        )
        self._add(step=step, summary=self._one(tag=name, image=image))

    def _one(self, **value: Any) -> Any:
        return self._summary(value=[self._summary.Value(**value)])

    def _add(self, **what: Any) -> None:
        event = self._event(wall_time=time.time(), **what)
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Have everything in the file."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file; doing it twice does no harm."""
        self._file.close()


def _free_name(folder: Path) -> Path:
    """Name a file so that TensorBoard, which goes by names, reads it after the earlier ones."""
    stem, number = f"events.out.tfevents.{time.time():010.0f}", 0
    while (path := folder / f"{stem}.{number:03d}.coloria").exists():
        number += 1
    return path
