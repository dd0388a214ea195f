"""NoGAN: trains `artistic` and `stable` from colour photographs, stage by stage.

jantic/DeOldify (MIT) is the origin of the recipe; `schedule.py` holds it as data, `learner.py`
is the glue to fastai. Each stage makes a new optimiser, as upstream's `unfreeze` does.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from coloria.device import pick_device, pick_precision
from coloria.models.deoldify import DeOldify
from coloria.train import checkpoint, features
from coloria.train.collection import find_photos, make_batches
from coloria.train.ema import Ema
from coloria.train.learner import (
    Epochs,
    Loaders,
    Precision,
    make_learner,
    one_cycle,
    own_words,
)
from coloria.train.loader import Batches
from coloria.train.losses import PictureLoss
from coloria.train.memory import kept_by_training, saved_for_backward
from coloria.train.preflight import PlannedStage, Preflight
from coloria.train.pretrained import load_encoder, locate_encoder, locate_features
from coloria.train.recorder import Recorder
from coloria.train.run import Run
from coloria.train.schedule import NoGanRecipe, PretrainStage
from coloria.train.sources import resolve_sources

SAMPLE_SIZE = 64
"""Side, in pixels, at which memory is measured for the plan; it grows with the area."""


class Trainer:
    """One training, in one process of possibly several.

    Args:
        recipe: The checked recipe.
        device: "auto", "cpu" or "cuda".
        checks: What the caller has found missing already.

    Raises:
        TrainingError: Something is missing; one message names everything.
    """

    def __init__(
        self,
        recipe: NoGanRecipe,
        device: str = "auto",
        checks: Preflight | None = None,
    ) -> None:
        self.recipe = recipe
        self._preflight(checks or Preflight())
        self.device = pick_device(device)
        self.dtype = pick_precision(recipe.run.precision, self.device)
        checkpoint.seed_all(recipe.run.seed)
        self.net = self._generator()
        self.loss = self._loss()
        self.train_photos, self.val_photos = find_photos(recipe.data, recipe.run.seed)
        self.ema = Ema(self.net, recipe.run.ema) if recipe.run.ema else None
        self.step = 0

    def _preflight(self, checks: Preflight) -> None:
        """Says everything that is missing at once, before the long work begins."""
        with checks.collect():
            resolve_sources(None, self.recipe.data.train)
        with checks.collect():
            locate_encoder(self.recipe.network)
        if self.recipe.losses.feature:
            with checks.collect():
                locate_features(self.recipe.losses.feature_network)
        checks.check()

    def _generator(self) -> DeOldify:
        network = self.recipe.network
        net = DeOldify(network.shape(), network.coding())
        load_encoder(net.encoder, network)
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _loss(self) -> PictureLoss:
        losses, coding = self.recipe.losses, self.recipe.network.coding()
        net = features.build(losses.feature_network, coding) if losses.feature else None
        return PictureLoss(coding, losses.weights(), net).to(self.device)

    def batches(self, stage: PretrainStage) -> tuple[Batches, Batches]:
        """For training (this process's part) and for validation."""
        return make_batches(
            self.recipe.data,
            (self.train_photos, self.val_photos),
            size=stage.size,
            batch=stage.batch // stage.accumulate,
            seed=self.recipe.run.seed + self.recipe.stages.index(stage),
            share=stage.share,
            device=self.device,
        )

    def plan(self) -> list[PlannedStage]:
        """What would be done, for `--dry-run`."""
        kept, saved = _memory_of(self.net, self.loss, self.device)
        rows = []
        for stage in self.recipe.stages:
            steps = len(self.batches(stage)[0]) // stage.accumulate * stage.epochs
            area = (stage.size / SAMPLE_SIZE) ** 2 * stage.batch / stage.accumulate
            rows.append(
                PlannedStage(
                    stage.name,
                    stage.size,
                    stage.batch,
                    stage.epochs,
                    0 if stage.skip else steps,
                    0 if stage.skip else steps * stage.batch,
                    int(kept + saved * area),
                    "skipped" if stage.skip else "",
                )
            )
        return rows

    def train(self, run: Run[NoGanRecipe] | None, state: dict[str, Any] | None = None) -> None:
        """Does all stages, or those that are left.

        Args:
            run: The run folder; None in all processes but the main one.
            state: What :meth:`state` gave, of the checkpoint to go on from.
        """
        if state:
            self._restore(state)
        for index, stage in enumerate(self.recipe.stages):
            if state and index < state["stage"]:
                continue
            if stage.skip:
                if run:
                    run.timing.skip(stage.name, stage.size)
                continue
            resumed = state if state and index == state["stage"] and state["optimizer"] else None
            self._stage(run, index, stage, resumed)

    def _restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        checkpoint.set_rng_state(state["rng"])
        self.step = state["step"]

    def _stage(
        self,
        run: Run[NoGanRecipe] | None,
        index: int,
        stage: PretrainStage,
        resumed: dict[str, Any] | None,
    ) -> None:
        train, valid = self.batches(stage)
        loaders = Loaders(
            Epochs(train, self.net.encode), Epochs(valid, self.net.encode), self.device
        )
        record = Recorder(self, run, index, stage, train, valid, resumed)
        learner = make_learner(
            self.net,
            self.net.layer_groups(),
            loaders,
            self.loss,
            self.recipe.optimizer,
            stage,
            [Precision(self.device, self.dtype), record],
        )
        if resumed:
            learner.opt.load_state_dict(resumed["optimizer"])
        schedule = one_cycle(self.recipe.optimizer, stage)
        first = resumed["epoch"] if resumed else 0
        with record.running(), own_words():
            learner.fit(stage.epochs, cbs=[schedule], start_epoch=first)
        if run:  # the end of the stage: a checkpoint that is kept
            run.save(self.step, self.state(index + 1), stage.name)

    def state(self, stage: int, epoch: int = 0, batch: int = 0, **more: Any) -> dict[str, Any]:
        """Everything a continuation needs."""
        return {
            "stage": stage,
            "epoch": epoch,
            "batch": batch,
            "step": self.step,
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "rng": checkpoint.rng_state(),
            "optimizer": None,
            **more,
        }


def _memory_of(net: DeOldify, loss: nn.Module, device: torch.device) -> tuple[int, int]:
    """Bytes that stay, and bytes that one picture of `SAMPLE_SIZE` needs besides."""
    gray = torch.rand(2, 1, SAMPLE_SIZE, SAMPLE_SIZE, device=device)
    target = net.encode(gray.expand(-1, 3, -1, -1))
    saved = saved_for_backward(net, lambda: loss(net(net.encode(gray)), target))
    return kept_by_training(net), math.ceil(saved / 2)
