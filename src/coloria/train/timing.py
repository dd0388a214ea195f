"""How long each stage took, and how much of it went into waiting for data."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from coloria.weightfile import atomic

__all__ = ["StageTime", "Timing", "clock", "timing_table"]


def clock(seconds: float) -> str:
    """``h:mm:ss`` with two digits for hours: 5587 s is 01:33:07."""
    whole = round(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@dataclass
class StageTime:
    """One stage of a run."""

    stage: str
    """Its name."""
    size: int
    """Side of the training pictures, in pixels."""
    pictures: int = 0
    """Pictures trained on, over all epochs."""
    epochs: float = 0.0
    """Passes over the data."""
    steps: int = 0
    """Optimiser steps."""
    seconds: float = 0.0
    """Time spent, without that of interruptions."""
    waiting: float = 0.0
    """Seconds of it spent waiting for data."""
    skipped: bool = False
    """Whether the recipe leaves it out."""

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds if self.seconds else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting for data, 0..1."""
        return self.waiting / self.seconds if self.seconds else 0.0

    @contextmanager
    def running(self) -> Iterator[StageTime]:
        """Count the time of the block; :meth:`tick` brings it up to date on the way."""
        self._last = time.perf_counter()
        try:
            yield self
        finally:
            self.tick()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Count the time of the block as waiting for data."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waiting += time.perf_counter() - start

    def step(self, pictures: int) -> None:
        """Count one optimiser step on so many pictures."""
        self.steps += 1
        self.pictures += pictures
        self.tick()

    def tick(self) -> None:
        """Add the time since the last call."""
        now = time.perf_counter()
        self.seconds += now - self._last
        self._last = now

    _last = 0.0


class Timing:
    """The times of all stages of a run, kept in ``timing.csv`` and in checkpoints.

    Args:
        path: the CSV file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stages: dict[str, StageTime] = {}

    def stage(self, name: str, size: int) -> StageTime:
        """The row of a stage; an interrupted one goes on counting."""
        return self.stages.setdefault(name, StageTime(name, size))

    def skip(self, name: str, size: int) -> None:
        """Note a stage that the recipe leaves out; its time is shown as ``?``."""
        self.stages[name] = StageTime(name, size, skipped=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        return {"stages": [asdict(stage) for stage in self.stages.values()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        rows = [StageTime(**row) for row in state["stages"]]
        self.stages = {row.stage: row for row in rows}

    def write(self) -> None:
        """Bring ``timing.csv`` up to date: seconds with two decimals, rate and share beside."""
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow([field.name for field in fields(StageTime)] + ["rate", "wait_share"])
        for stage in self.stages.values():
            values = [round(v, 2) if isinstance(v, float) else v for v in asdict(stage).values()]
            rows.writerow([*values, round(stage.rate, 2), round(stage.wait_share, 4)])
        with atomic(self.path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def timing_table(stages: Sequence[StageTime], title: str = "Training times") -> Table:
    """The times as a table for the terminal; ``?`` where a stage was left out."""
    table = Table(title=title)
    table.add_column("stage")
    for name in ("size", "pictures", "epochs", "steps", "time", "pictures/s", "waiting"):
        table.add_column(name, justify="right")
    for stage in stages:
        table.add_row(stage.stage, str(stage.size), *_cells(stage))
    return table


def _cells(stage: StageTime) -> list[str]:
    if stage.skipped:
        return ["", "", "", "?", "", ""]
    return [
        f"{stage.pictures:,}",
        f"{stage.epochs:g}",
        f"{stage.steps:,}",
        clock(stage.seconds),
        f"{stage.rate:.1f}",
        f"{stage.wait_share:.0%}",
    ]
