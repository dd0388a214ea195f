"""What happens beside the steps of a plain training loop: counting, logging, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from coloria.config import RunConfig
from coloria.train import distributed
from coloria.train.loader import Batches
from coloria.train.progress import Progress
from coloria.train.run import Run

__all__ = ["StageRecord"]


class StageRecord:
    """Records one stage of a run; in all processes but the main one it does nothing.

    Args:
        run: The run folder; None in all processes but the main one.
        config: How often what is recorded.
        stage: The stage's name.
        size: Side of its pictures, in pixels.
        batches: What it trains on.
        epochs: How often.
    """

    def __init__(
        self,
        run: Run[Any] | None,
        config: RunConfig,
        stage: str,
        size: int,
        batches: Batches,
        epochs: int,
    ) -> None:
        self.run, self.config, self.stage = run, config, stage
        self.batches, self.steps = batches, len(batches) * epochs
        self.time = run.timing.stage(stage, size) if run else None
        self._waited = batches.wait_s

    @contextmanager
    def running(self, done: int) -> Iterator[None]:
        """Shows progress, from so many steps on, and counts the time of the block."""
        progress = Progress(self.stage, self.steps, done=done, quiet=self.run is None)
        with progress as self._progress, self.time.running() if self.time else nullcontext():
            yield

    def step(self, step: int, epoch: int, figures: Mapping[str, float]) -> None:
        """Counts one optimiser step, the `step`-th of the run; logs now and then."""
        pictures = self.batches.batch * distributed.world_size()
        if self.time:
            self.time.waiting += self.batches.wait_s - self._waited
            self.time.step(pictures)
        self._waited = self.batches.wait_s
        self._progress.advance(pictures, loss=figures["train/loss"])
        if self.run and step % self.config.log_every == 0:
            self.run.scalars(step, figures, self.stage, epoch)

    def checkpoint(self, step: int, state: Callable[[], Mapping[str, Any]]) -> None:
        """Writes a checkpoint if it is time for one."""
        if self.run and step % self.config.checkpoint_every == 0:
            self.run.save(step, state())

    def epoch(
        self,
        step: int,
        epoch: int,
        validate: Callable[[], tuple[Mapping[str, float], list[Tensor]]],
    ) -> Mapping[str, float]:
        """Ends an epoch: validates in the main process, while the others wait.

        Returns:
            The figures; none in the other processes.
        """
        figures: Mapping[str, float] = {}
        if self.run:
            figures, columns = validate()
            self.run.scalars(step, figures, self.stage, epoch)
            if self.config.pictures:
                self.run.pictures(step, self.stage, columns)
            words = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            self._progress.note(f"{self.stage}, epoch {epoch + 1}: {words}")
        distributed.barrier()
        if self.time:
            self.time.epochs += 1
            self.time.tick()
        return figures
