"""Before anything starts: what is missing, all of it at once, and what the run will be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.table import Table

from coloria.errors import ColoriaError, DataError, MissingExtraError, TrainingError

__all__ = ["PlannedStage", "Preflight", "plan_table"]


class Preflight:
    """Collects what is missing; :meth:`check` says it in one message."""

    def __init__(self) -> None:
        self._missing: list[str] = []
        self._only_data = True

    def add(self, text: str) -> None:
        """Note something that is missing; the text says what to give."""
        self._note(text, False)

    def _note(self, text: str, is_data: bool) -> None:
        if text not in self._missing:
            self._missing.append(text)
            self._only_data = self._only_data and is_data

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Note what the block complains of, instead of stopping at it.

        The rest of the block is left out, as with any error.
        """
        try:
            yield
        except ColoriaError as error:
            self._note(str(error), isinstance(error, DataError))

    def gpus(self, wanted: int) -> None:
        """So many CUDA devices are needed."""
        there = torch.cuda.device_count()
        if there < wanted:
            self.add(
                f"GPUs: wanted {wanted}, there are {there} that CUDA can use; give --gpus {there}"
                if there
                else f"GPUs: wanted {wanted}, and CUDA finds none; give --device cpu"
            )

    def extra(self, module: str, extra: str, what: str) -> None:
        """A top-level module of an optional extra is needed; looked for, not imported."""
        if find_spec(module) is None:
            self.add(str(MissingExtraError(what, extra)))

    def file(self, path: str | os.PathLike[str], what: str, give: str) -> None:
        """A file is needed; ``give`` says how to come by it."""
        if not Path(path).expanduser().is_file():
            self.add(f"{what}: {path} not found; {give}")

    def space(self, folder: str | os.PathLike[str], needed: int) -> None:
        """So many bytes are needed in a folder, which need not exist yet."""
        there = Path(folder).expanduser().absolute()
        while not there.is_dir():
            there = there.parent
        free = shutil.disk_usage(there).free
        if free < needed:
            self.add(
                f"disk space: the run needs about {needed / 1e9:.1f} GB in {folder}, "
                f"{free / 1e9:.1f} GB are free; make room, or give another folder"
            )

    def check(self) -> None:
        """End here if anything is missing.

        Raises:
            DataError: only training data are missing.
            TrainingError: something is missing; the message names everything.
        """
        if not self._missing:
            return
        kind = DataError if self._only_data else TrainingError
        if len(self._missing) == 1:
            raise kind(f"training cannot start: {self._missing[0]}")
        lines = "\n  - ".join(self._missing)
        raise kind(f"training cannot start; {len(self._missing)} things are missing:\n  - {lines}")


@dataclass(frozen=True)
class PlannedStage:
    """One line of the plan that ``--dry-run`` shows."""

    stage: str
    """Its name."""
    size: int
    """Side of the training pictures, in pixels."""
    batch: int
    """Pictures a step, over all processes."""
    epochs: float
    """Passes over the data."""
    steps: int
    """Optimiser steps."""
    pictures: int
    """Pictures, over all epochs."""
    memory: int | None = None
    """Estimated memory of the largest step, in bytes."""
    note: str = ""
    """Anything to add, such as ``skipped``."""


def plan_table(stages: Sequence[PlannedStage], title: str = "Plan") -> Table:
    """The plan as a table for the terminal, with sums of steps and pictures."""
    table = Table(title=title, show_footer=True)
    table.add_column("stage", "all")
    for name in ("size", "batch", "epochs"):
        table.add_column(name, justify="right")
    table.add_column("steps", f"{sum(s.steps for s in stages):,}", justify="right")
    table.add_column("pictures", f"{sum(s.pictures for s in stages):,}", justify="right")
    table.add_column("memory", justify="right")
    table.add_column("note")
    for s in stages:
        memory = f"{s.memory / 1e9:.1f} GB" if s.memory is not None else ""
        numbers = (str(s.size), str(s.batch), f"{s.epochs:g}", f"{s.steps:,}", f"{s.pictures:,}")
        table.add_row(s.stage, *numbers, memory, s.note)
    return table
