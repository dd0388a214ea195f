"""The plain training loop: stage by stage, epoch by epoch, step by step.

What the trainers of `eccv16`, `siggraph17` and `bigcolor` share. Each stage makes new optimisers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from coloria.config import Recipe
from coloria.device import pick_device, pick_precision
from coloria.train import checkpoint
from coloria.train.collection import find_photos, make_batches
from coloria.train.ema import Ema
from coloria.train.loader import Batch, Batches
from coloria.train.memory import kept_by_training, saved_for_backward
from coloria.train.preflight import PlannedStage, Preflight
from coloria.train.run import Run
from coloria.train.scheduled import ScheduledStage
from coloria.train.sources import resolve_sources
from coloria.train.stage_record import StageRecord
from coloria.train.stepper import Stepper
from coloria.train.validate import measure

R = TypeVar("R", bound=Recipe)
N = TypeVar("N", bound=nn.Module)
S = TypeVar("S", bound=ScheduledStage)
Steppers = dict[str, Stepper]

TRIAL_SIDE = 64
"""Side of the pictures, in pixels, that the memory of a step is measured on."""


class Stagewise(ABC, Generic[R, N, S]):
    """One training, in one process of possibly several.

    Args:
        recipe: The checked recipe.
        device: "auto", "cpu" or "cuda".
        checks: What the caller has found missing already.

    Raises:
        TrainingError: Something is missing; one message names everything.
    """

    every_epoch: ClassVar[bool] = False
    """Whether a checkpoint of each epoch is kept, not only of each stage."""

    def __init__(self, recipe: R, device: str = "auto", checks: Preflight | None = None) -> None:
        self.recipe = recipe
        checks = checks or Preflight()
        with checks.collect():
            resolve_sources(None, recipe.data.train)
        self._preflight(checks)
        checks.check()
        self.device = pick_device(device)
        self.dtype = pick_precision(recipe.run.precision, self.device)
        checkpoint.seed_all(recipe.run.seed)
        self.net: N = self._placed(self._network())
        self.train_photos, self.val_photos = find_photos(recipe.data, recipe.run.seed)
        self.ema = Ema(self.net, recipe.run.ema) if recipe.run.ema else None
        self.step = 0

    def _placed(self, net: N) -> N:
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    # -------------------------------------------------------------- what a model brings along

    @property
    @abstractmethod
    def stages(self) -> Sequence[S]:
        """The recipe's."""

    @abstractmethod
    def _preflight(self, checks: Preflight) -> None:
        """Notes what is missing beside the photographs."""

    @abstractmethod
    def _network(self) -> N:
        """The network with the weights it starts from."""

    @abstractmethod
    def _trial(self, stage: S, count: int, side: int) -> object:
        """The losses on so many pictures of that side, for their use of memory."""

    def _learning(self) -> list[nn.Module]:
        """Every network that learns."""
        return [self.net]

    def _still(self, stage: S) -> list[nn.Module]:
        """The parts of the network that do not move in a stage."""
        del stage
        return []

    @abstractmethod
    def _steppers(self, stage: S) -> Steppers:
        """The optimisers of a stage."""

    @abstractmethod
    def _step(
        self, batch: Batch, stage: S, epoch: int, steppers: Steppers, rate: float
    ) -> dict[str, float]:
        """One step of every optimiser; the figures to log, `train/loss` among them."""

    @abstractmethod
    def _judge(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Colours a batch: see :func:`coloria.train.validate.measure`."""

    def _begin(self) -> None:
        """What is worked out once, when a training begins."""

    def _rate(self, stage: S, done: int, steps: int) -> float:
        """The learning rate after so many steps of a stage."""
        return stage.rate(done, steps)

    def _after_step(self, run: Run[R] | None, stage: S, epoch: int) -> None:
        """What else there is to do then."""

    def _after_epoch(self, stage: S, figures: Mapping[str, float]) -> None:
        """Hears of the validation; only the main process has the figures."""

    def _more(self) -> dict[str, Any]:
        """What else a continuation needs."""
        return {}

    def _restore_more(self, state: Mapping[str, Any]) -> None:
        """Takes over what :meth:`_more` gave."""

    # -------------------------------------------------------------- data and plan

    def batches(self, stage: S) -> tuple[Batches, Batches]:
        """For training (this process's part) and for validation."""
        return make_batches(
            self.recipe.data,
            (self.train_photos, self.val_photos),
            size=stage.size,
            batch=stage.batch,
            seed=self._seed(stage),
            share=stage.share,
            device=self.device,
        )

    def _seed(self, stage: S) -> int:
        return self.recipe.run.seed + self.stages.index(stage)

    def plan(self) -> list[PlannedStage]:
        """What would be done, for `--dry-run`."""
        return [self._planned(stage) for stage in self.stages]

    def _planned(self, stage: S) -> PlannedStage:
        steps = 0 if stage.skip else len(self.batches(stage)[0]) * stage.epochs
        return PlannedStage(
            stage.name,
            stage.size,
            stage.batch,
            stage.epochs,
            steps,
            steps * stage.batch,
            self._memory(stage),
            "skipped" if stage.skip else "",
        )

    def _memory(self, stage: S) -> int:
        """Bytes of a step, measured on a few small pictures."""
        self._freeze(stage)
        nets = nn.ModuleList(self._learning())
        two, four = (
            saved_for_backward(nets, lambda count=count: self._trial(stage, count, TRIAL_SIDE))  # type: ignore[misc]
            for count in (2, 4)
        )
        each, fixed = (four - two) / 2, 2 * two - four  # a picture's share, and what norms keep
        pictures = stage.batch * (stage.size / TRIAL_SIDE) ** 2
        return int(kept_by_training(nets) + fixed + each * pictures)

    # -------------------------------------------------------------- the run

    def train(self, run: Run[R] | None, state: dict[str, Any] | None = None) -> None:
        """Does all stages, or those that are left.

        Args:
            run: The run folder; None in all processes but the main one.
            state: What :meth:`state` gave, of the checkpoint to go on from.
        """
        if state:
            self._restore(state)
        else:
            self._begin()
        for index, stage in enumerate(self.stages):
            if state and index < state["stage"]:
                continue
            if stage.skip:
                if run:
                    run.timing.skip(stage.name, stage.size)
                continue
            resumed = state if state and index == state["stage"] and state["steppers"] else None
            self._stage(run, index, stage, resumed)
            if run:  # the end of the stage: a checkpoint that is kept
                run.save(self.step, self.state(index + 1), stage.name)

    def state(
        self, stage: int, epoch: int = 0, batch: int = 0, steppers: Steppers | None = None
    ) -> dict[str, Any]:
        """Everything a continuation needs, in that stage from that batch of that epoch on."""
        return {
            "stage": stage,
            "epoch": epoch,
            "batch": batch,
            "step": self.step,
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "rng": checkpoint.rng_state(),
            "steppers": {name: s.state_dict() for name, s in (steppers or {}).items()} or None,
            **self._more(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self._restore_more(state)
        checkpoint.set_rng_state(state["rng"])
        self.step = state["step"]

    # -------------------------------------------------------------- one stage

    def _stage(
        self, run: Run[R] | None, index: int, stage: S, resumed: Mapping[str, Any] | None
    ) -> None:
        train, valid = self.batches(stage)
        self._freeze(stage)
        steppers = self._steppers(stage)
        first, start = 0, 0
        if resumed:
            for name, stepper in steppers.items():
                stepper.load_state_dict(resumed["steppers"][name])
            first, start = resumed["epoch"], resumed["batch"]
        record = StageRecord(run, self.recipe.run, stage.name, stage.size, train, stage.epochs)
        with record.running(first * len(train) + start):
            for epoch in range(first, stage.epochs):
                self._mode(stage)
                for done, batch in enumerate(train.epoch(epoch, start), start + 1):
                    rate = self._rate(stage, epoch * len(train) + done - 1, record.steps)
                    figures = self._step(batch, stage, epoch, steppers, rate)
                    self.step += 1
                    record.step(self.step, epoch, figures)
                    self._after_step(run, stage, epoch)
                    at = index, epoch, done, steppers
                    record.checkpoint(self.step, lambda at=at: self.state(*at))  # type: ignore[misc]
                start = 0
                seen = record.epoch(self.step, epoch, lambda: self.validate(valid))
                self._after_epoch(stage, seen)
                if run and self.every_epoch and epoch + 1 < stage.epochs:
                    state = self.state(index, epoch + 1, 0, steppers)
                    run.save(self.step, state, f"{stage.name}-{epoch + 1}")

    def _freeze(self, stage: S) -> None:
        """What does not move needs no gradients."""
        self.net.requires_grad_(True)
        for part in self._still(stage):
            part.requires_grad_(False)

    def _mode(self, stage: S) -> None:
        """Training mode, but for the norms of what does not move."""
        self.net.train()
        for part in self._still(stage):
            part.eval()

    # -------------------------------------------------------------- how good it is

    def validate(self, batches: Batches) -> tuple[dict[str, float], list[Tensor]]:
        """Figures of the averaged weights over the photographs kept aside."""
        self.net.eval()
        with self.averaged():
            return measure(self._judge, batches, self.recipe.run.pictures)

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the network has its averaged weights, if there is an average."""
        return self.ema.applied(self.net) if self.ema else nullcontext()
