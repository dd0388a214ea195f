"""What happens beside the optimiser's steps: counting, averaging, logging, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor

from coloria.train import distributed
from coloria.train.learner import Callback, CancelValidException
from coloria.train.loader import Batches
from coloria.train.progress import Progress
from coloria.train.run import Run
from coloria.train.schedule import NoGanRecipe
from coloria.train.stages import Training
from coloria.train.validate import validate

if TYPE_CHECKING:
    from coloria.train.nogan import Trainer


class Recorder(Callback):  # type: ignore[misc]
    """Records one stage, and validates at the end of each epoch.

    Args:
        trainer: Whose weights these are.
        run: The run folder; None in all processes but the main one.
        index: Of the stage.
        stage: The stage.
        train: Batches to train on.
        valid: Batches to validate on.
        resumed: The checkpoint that the stage goes on from, if it does.
    """

    order = 70  # behind fastai's own, which count, and behind the scheduler

    def __init__(
        self,
        trainer: Trainer,
        run: Run[NoGanRecipe] | None,
        index: int,
        stage: Training,
        train: Batches,
        valid: Batches,
        resumed: dict[str, Any] | None,
    ) -> None:
        # Not `run`: fastai switches a callback off by an attribute of that name.
        self.trainer, self.folder, self.index, self.stage = trainer, run, index, stage
        self.batches, self.valid, self.resumed = train, valid, resumed
        self.config = trainer.recipe.run
        self.time = run.timing.stage(stage.name, stage.size) if run else None
        self.total = len(train) * stage.epochs
        self.batch = 0
        self.waited = train.wait_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """Shows progress and counts the time of the block."""
        first = self.resumed or {"epoch": 0, "batch": 0}
        done = first["epoch"] * len(self.batches) + first["batch"]
        quiet = self.folder is None
        progress = Progress(self.stage.name, self.total, done=done, quiet=quiet)
        with progress as self.progress, self.time.running() if self.time else nullcontext():
            yield

    def before_train(self) -> None:
        """Enters an epoch, also in its middle."""
        loader = self.learn.dls.train
        loader.epoch, loader.start, self.batch = self.learn.epoch, 0, 0
        if self.resumed and self.resumed["epoch"] == self.learn.epoch:
            loader.start = self.batch = self.resumed["batch"]
        self.resumed = None
        self._place()

    def _place(self) -> None:
        """Where the schedule stands, from whole numbers: fastai adds up shares, whose rounding
        would depend on where a run was interrupted.
        """
        self.learn.pct_train = (self.learn.epoch * len(self.batches) + self.batch) / self.total

    def after_step(self) -> None:
        """The average follows the optimiser."""
        if self.trainer.ema:
            self.trainer.ema.update(self.trainer.net)

    def after_batch(self) -> None:
        """Counts, logs, and writes a checkpoint now and then."""
        self.batch += 1
        self.trainer.step += 1
        self._place()
        pictures = self.batches.batch * distributed.world_size()
        self._count(pictures)
        loss = float(self.learn.loss.detach())
        self.progress.advance(pictures, loss=loss)
        step = self.trainer.step
        if self.folder and step % self.config.log_every == 0:
            figures = self.figures() | {
                f"train/{k}": float(v) for k, v in self.learn.loss_func.parts.items()
            }
            self.folder.scalars(step, figures, self.stage.name, self.learn.epoch)
        self.between()
        if step % self.config.checkpoint_every == 0 and not self.learn.accumulate.pending:
            self._checkpoint()

    def figures(self) -> dict[str, float]:
        """What is logged beside the parts of the loss."""
        rate = float(self.learn.opt.hypers[-1]["lr"])
        return {"train/loss": float(self.learn.loss.detach()), "train/lr": rate}

    def between(self) -> None:
        """What else a stage does after a step."""

    def more(self) -> dict[str, Any]:
        """What else a continuation of the stage needs."""
        return {}

    def _count(self, pictures: int) -> None:
        if self.time:
            self.time.waiting += self.batches.wait_s - self.waited
            self.time.step(pictures)
        self.waited = self.batches.wait_s

    def _checkpoint(self) -> None:
        if self.folder:
            optimizer = _plain(self.learn.opt.state_dict())
            at = {"epoch": self.learn.epoch, "batch": self.batch, "optimizer": optimizer}
            self.folder.save(self.trainer.step, self.trainer.state(self.index, **at, **self.more()))

    def before_validate(self) -> None:
        """Our own validation, on the averaged weights, in place of fastai's."""
        if self.folder:
            self.validate(self.folder)
        distributed.barrier()
        if self.time:
            self.time.epochs += 1
            self.time.tick()
        raise CancelValidException

    def validate(self, run: Run[NoGanRecipe]) -> None:
        """The averaged generator on the photographs kept aside."""
        trainer, count = self.trainer, self.config.pictures
        with trainer.averaged() as net:
            figures, columns = validate(net, trainer.loss, self.valid, trainer.dtype, count)
        if count:
            run.pictures(trainer.step, self.stage.name, columns)
        self.say(run, figures)

    def say(self, run: Run[NoGanRecipe], figures: dict[str, float]) -> None:
        """Figures of a validation, to the log and the terminal."""
        run.scalars(self.trainer.step, figures, self.stage.name, self.learn.epoch)
        words = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.progress.note(f"{self.stage.name}, epoch {self.learn.epoch + 1}: {words}")


def _plain(value: Any) -> Any:
    """The optimiser state in plain containers and numbers, fit for a checkpoint."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Tensor | str | bool | int | None):
        return value
    if isinstance(value, float) or not hasattr(value, "__iter__"):
        return float(value)
    return [_plain(inner) for inner in value]
