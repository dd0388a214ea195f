"""Progress of a stage: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from coloria.train.timing import clock

__all__ = ["Progress"]


class Progress:
    """Shows how far a stage is, its rate, and the time left.

    Args:
        title: what is being done.
        total: steps of the stage.
        done: steps that an interrupted run made before; they do not count for the rate.
        console: where to write; standard error by default.
        every: seconds between two lines where there is no terminal.
        quiet: write nothing (all processes but the main one).
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        done: int = 0,
        console: Console | None = None,
        every: float = 30.0,
        quiet: bool = False,
    ) -> None:
        self.title, self.total, self.done = title, total, done
        self.console = console or Console(stderr=True)
        self._every, self._quiet = every, quiet
        self._first, self._pictures, self._figures = done, 0, ""
        self._said_done = -1
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            console=self.console,
            transient=False,
            disable=quiet or not self.console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, completed=done, words="")

    def __enter__(self) -> Self:
        self._start = self._said = time.monotonic()
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.update(self._task, completed=self.done, words=self._words())
        self._bar.stop()
        if self._plain and kind is None and self._said_done != self.done:
            self._say()

    @property
    def _plain(self) -> bool:
        return not (self._quiet or self.console.is_terminal)

    def advance(self, pictures: int = 0, **figures: float) -> None:
        """One step done.

        Args:
            pictures: how many it trained on.
            figures: what to show beside, for example ``loss=0.12``; the last ones stay.
        """
        self.done += 1
        self._pictures += pictures
        if figures:
            self._figures = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._plain:
            if time.monotonic() - self._said >= self._every:
                self._say()
        elif not self._quiet:
            self._bar.update(self._task, completed=self.done, words=self._words())

    def note(self, text: str) -> None:
        """Write a line of its own above the bar."""
        if not self._quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _words(self) -> str:
        spent = max(time.monotonic() - self._start, 1e-9)
        steps = self.done - self._first
        if not steps:
            return self._figures
        left = clock((self.total - self.done) * spent / steps)
        rate = f"{self._pictures / spent:.1f} pictures/s" if self._pictures else ""
        return "  ".join(part for part in (rate, f"{left} left", self._figures) if part)

    def _say(self) -> None:
        self._said, self._said_done = time.monotonic(), self.done
        self.note(f"{self.title}: {self.done}/{self.total}  {self._words()}")
