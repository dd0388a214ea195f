"""NoGAN: trains `artistic` and `stable` from colour photographs, stage by stage.

jantic/DeOldify (MIT) is the origin of the recipe; `schedule.py` holds it as data, `learner.py`
is the glue to fastai. Each stage makes a new optimiser, as upstream's `unfreeze` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from coloria.device import pick_device, pick_precision
from coloria.models.deoldify import Critic, DeOldify
from coloria.train import adversarial, checkpoint, critic, features
from coloria.train.collection import find_photos, make_batches
from coloria.train.ema import Ema
from coloria.train.learner import (
    Epochs,
    Loaders,
    Precision,
    callbacks,
    fit,
    make_learner,
    one_cycle,
)
from coloria.train.loader import Batches
from coloria.train.losses import PictureLoss
from coloria.train.plan import plan
from coloria.train.preflight import PlannedStage, Preflight
from coloria.train.pretrained import (
    load_encoder,
    load_generator,
    locate_encoder,
    locate_features,
    locate_generator,
)
from coloria.train.recorder import Recorder
from coloria.train.run import Run
from coloria.train.schedule import NoGanRecipe
from coloria.train.sight import Sight
from coloria.train.sources import resolve_sources
from coloria.train.stages import CriticStage, GanStage, GenerateStage, PretrainStage, Stage


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
        self._critic = self._new_critic() if recipe.has_critic() else None
        self.sight = Sight(recipe.critic.sees == "colours", recipe.network.half)
        self.pictures: critic.Drawn | None = None
        """What the critic learns from; made when it is needed."""
        self.loss = self._loss()
        self.train_photos, self.val_photos = find_photos(recipe.data, recipe.run.seed)
        self.ema = Ema(self.net, recipe.run.ema) if recipe.run.ema else None
        self.step = 0

    def _preflight(self, checks: Preflight) -> None:
        """Says everything that is missing at once, before the long work begins."""
        with checks.collect():
            resolve_sources(None, self.recipe.data.train)
        with checks.collect():
            if self.recipe.start:
                locate_generator(self.recipe.start)
            else:
                locate_encoder(self.recipe.network)
        if self.recipe.losses.feature:
            with checks.collect():
                locate_features(self.recipe.losses.feature_network)
        checks.check()

    def _generator(self) -> DeOldify:
        network = self.recipe.network
        net = DeOldify(network.shape(), network.coding())
        if self.recipe.start:
            load_generator(net, self.recipe.model, self.recipe.start)
        else:
            load_encoder(net.encoder, network)
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _new_critic(self) -> Critic:
        shape = self.recipe.critic
        return Critic(shape.width, shape.dropout).to(self.device)

    def _loss(self) -> PictureLoss:
        losses, coding = self.recipe.losses, self.recipe.network.coding()
        net = features.build(losses.feature_network, coding) if losses.feature else None
        return PictureLoss(coding, losses.weights(), net).to(self.device)

    def batches(self, index: int, stage: PretrainStage | GanStage) -> tuple[Batches, Batches]:
        """For training (this process's part) and for validation."""
        return make_batches(
            self.recipe.data,
            (self.train_photos, self.val_photos),
            size=stage.size,
            batch=stage.batch // stage.accumulate,
            seed=self.recipe.run.seed + index,
            share=stage.share,
            device=self.device,
        )

    def plan(self) -> list[PlannedStage]:
        """What would be done, for `--dry-run`."""
        return plan(self)

    @property
    def critic(self) -> Critic:
        """The critic, of a recipe that has one."""
        assert self._critic is not None
        return self._critic

    def loading(self, stage: Stage) -> dict[str, Any]:
        """What all batches of a stage have in common."""
        workers = {"workers": self.recipe.data.workers} if self.recipe.data.workers else {}
        return {"size": stage.size, "device": self.device, **workers}

    def loaders(self, train: Batches, valid: Batches) -> Loaders:
        """The batches as fastai takes them."""
        encode = self.net.encode
        return Loaders(Epochs(train, encode), Epochs(valid, encode), self.device)

    @contextmanager
    def averaged(self) -> Iterator[DeOldify]:
        """The generator in eval mode with the averaged weights, if there is an average."""
        with self.ema.applied(self.net) if self.ema else nullcontext():
            yield self.net.eval()

    def train(self, run: Run[NoGanRecipe] | None, state: dict[str, Any] | None = None) -> None:
        """Does all stages, or those that are left.

        Args:
            run: The run folder; None in all processes but the main one.
            state: What :meth:`state` gave, of the checkpoint to go on from.
        """
        if state:
            self._restore(state)
        for index, stage in enumerate(self.recipe.schedule()):
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
        if self._critic is not None and state.get("critic"):
            self._critic.load_state_dict(state["critic"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        checkpoint.set_rng_state(state["rng"])
        self.step = state["step"]

    def _stage(
        self,
        run: Run[NoGanRecipe] | None,
        index: int,
        stage: Stage,
        resumed: dict[str, Any] | None,
    ) -> None:
        match stage:
            case PretrainStage():
                self._pretrain(run, index, stage, resumed)
            case GenerateStage():
                critic.generate(self, run, index, stage)
            case CriticStage():
                critic.train(self, run, index, stage, resumed)
            case GanStage():
                adversarial.train(self, run, index, stage, resumed)
        if run:  # the generator at the end of a stage that trained it is kept
            kept = isinstance(stage, PretrainStage | GanStage)
            run.save(self.step, self.state(index + 1), stage.name if kept else None)

    def _pretrain(
        self,
        run: Run[NoGanRecipe] | None,
        index: int,
        stage: PretrainStage,
        resumed: dict[str, Any] | None,
    ) -> None:
        train, valid = self.batches(index, stage)
        record = Recorder(self, run, index, stage, train, valid, resumed)
        learner = make_learner(
            self.net,
            self.net.layer_groups(),
            self.loaders(train, valid),
            self.loss,
            self.recipe.optimizer,
            callbacks(stage, record, Precision(self.device, self.dtype)),
            frozen=stage.frozen_groups(),
            train_bn=stage.train_bn,
        )
        fit(learner, stage, record, resumed, cbs=[one_cycle(self.recipe.optimizer, stage)])

    def state(self, stage: int, epoch: int = 0, batch: int = 0, **more: Any) -> dict[str, Any]:
        """Everything a continuation needs."""
        return {
            "stage": stage,
            "epoch": epoch,
            "batch": batch,
            "step": self.step,
            "net": self.net.state_dict(),
            "critic": self._critic.state_dict() if self._critic else None,
            "ema": self.ema.state_dict() if self.ema else None,
            "rng": checkpoint.rng_state(),
            "optimizer": None,
            **more,
        }
