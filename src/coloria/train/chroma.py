"""Trains `eccv16` and `siggraph17` from colour photographs, stage by stage.

Zhang et al. 2016 (arXiv:1603.08511): classes of colour, rare ones counting more. Zhang et al. 2017
(arXiv:1705.02999) with richzhang/colorization-pytorch (MIT): two heads, and simulated hints.
Each stage makes a new optimiser.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coloria.color import srgb_to_lab
from coloria.device import autocast, pick_device, pick_precision
from coloria.metrics.ciede2000 import delta_e00
from coloria.models import chroma
from coloria.models.hint_unet import HintUNet
from coloria.models.lab import Colors, LabNet, colored
from coloria.train import checkpoint, distributed
from coloria.train.chroma_recipe import ChromaOptimizer, ChromaRecipe, ChromaStage
from coloria.train.classes import class_loss, class_weights, count_photos, smooth_prior
from coloria.train.collection import find_photos, make_batches
from coloria.train.ema import Ema
from coloria.train.hints import draw_hints, place_hints
from coloria.train.loader import Batch, Batches
from coloria.train.losses import ab_loss
from coloria.train.memory import kept_by_training, saved_for_backward
from coloria.train.preflight import PlannedStage, Preflight
from coloria.train.pretrained import load_encoder, locate_encoder
from coloria.train.run import Run, check_finite
from coloria.train.sources import resolve_sources
from coloria.train.stage_record import StageRecord
from coloria.train.validate import measure

HINTS_STREAM = 17
"""Last part of the seed of a sample's hints, so that they differ from its other draws."""

VAL_HINTS = 10
"""Hints of each photograph when it is validated with hints."""


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
        self, recipe: ChromaRecipe, device: str = "auto", checks: Preflight | None = None
    ) -> None:
        self.recipe = recipe
        self._preflight(checks or Preflight())
        self.device = pick_device(device)
        self.dtype = pick_precision(recipe.run.precision, self.device)
        checkpoint.seed_all(recipe.run.seed)
        self.net = self._network()
        self.bins = self.net.bins()
        self.train_photos, self.val_photos = find_photos(recipe.data, recipe.run.seed)
        self.ema = Ema(self.net, recipe.run.ema) if recipe.run.ema else None
        self.weights: Tensor | None = None
        """What a pixel of each class counts; worked out when training begins."""
        self.step = 0

    def _preflight(self, checks: Preflight) -> None:
        with checks.collect():
            resolve_sources(None, self.recipe.data.train)
        if self.recipe.network.encoder != "none":
            with checks.collect():
                locate_encoder(self.recipe.network)
        checks.check()

    def _network(self) -> LabNet:
        net = chroma.build(self.recipe.model, self.recipe.network.shape(self.recipe.model))
        if isinstance(net, HintUNet):
            load_encoder(net.encoder, self.recipe.network)
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def batches(self, stage: ChromaStage) -> tuple[Batches, Batches]:
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

    def _seed(self, stage: ChromaStage) -> int:
        return self.recipe.run.seed + self.recipe.stages.index(stage)

    def plan(self) -> list[PlannedStage]:
        """What would be done, for `--dry-run`."""
        rows = []
        for stage in self.recipe.stages:
            steps = 0 if stage.skip else len(self.batches(stage)[0]) * stage.epochs
            rows.append(
                PlannedStage(
                    stage.name,
                    stage.size,
                    stage.batch,
                    stage.epochs,
                    steps,
                    steps * stage.batch,
                    self._memory(stage),
                    "skipped" if stage.skip else "",
                )
            )
        return rows

    def _memory(self, stage: ChromaStage) -> int:
        """Bytes of a step, measured on two small pictures."""
        self._freeze(stage)
        side = 64
        gray, ab = torch.rand(2, 1, side, side), torch.zeros(2, 2, side, side)
        gray, ab = gray.to(self.device), ab.to(self.device)
        saved = saved_for_backward(self.net, lambda: self._losses(self.net(gray), ab))
        return int(kept_by_training(self.net) + saved / 2 * stage.batch * (stage.size / side) ** 2)

    # -------------------------------------------------------------- the run

    def train(self, run: Run[ChromaRecipe] | None, state: dict[str, Any] | None = None) -> None:
        """Does all stages, or those that are left.

        Args:
            run: The run folder; None in all processes but the main one.
            state: What :meth:`state` gave, of the checkpoint to go on from.
        """
        if state:
            self._restore(state)
        elif self.recipe.losses.classes and self.recipe.classes.rebalance:
            self.weights = self._class_weights()
        for index, stage in enumerate(self.recipe.stages):
            if state and index < state["stage"]:
                continue
            if stage.skip:
                if run:
                    run.timing.skip(stage.name, stage.size)
                continue
            resumed = state if state and index == state["stage"] and state["optimizer"] else None
            self._stage(run, index, stage, resumed)
            if run:  # the end of the stage: a checkpoint that is kept
                run.save(self.step, self.state(index + 1), stage.name)

    def _class_weights(self) -> Tensor:
        """From the user's own photographs."""
        classes = self.recipe.classes
        counts = count_photos(self.train_photos, self.bins, classes.prior_photos)
        prior = smooth_prior(counts, self.bins.cpu(), classes.prior_sigma)
        return class_weights(prior, classes.uniform).float().to(self.device)

    def state(self, stage: int, **more: Any) -> dict[str, Any]:
        """Everything a continuation needs."""
        return {
            "stage": stage,
            "epoch": 0,
            "batch": 0,
            "step": self.step,
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "weights": self.weights,
            "rng": checkpoint.rng_state(),
            "optimizer": None,
            **more,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        weights: Tensor | None = state["weights"]
        self.weights = None if weights is None else weights.to(self.device)
        checkpoint.set_rng_state(state["rng"])
        self.step = state["step"]

    # -------------------------------------------------------------- one stage

    def _stage(
        self,
        run: Run[ChromaRecipe] | None,
        index: int,
        stage: ChromaStage,
        resumed: dict[str, Any] | None,
    ) -> None:
        train, valid = self.batches(stage)
        self._freeze(stage)
        optimizer = make_optimizer(self.net, self.recipe.optimizer, stage.lr)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        first, start = 0, 0
        if resumed:
            optimizer.load_state_dict(resumed["optimizer"])
            scaler.load_state_dict(resumed["scaler"])
            first, start = resumed["epoch"], resumed["batch"]
        record = StageRecord(run, self.recipe.run, stage.name, stage.size, train, stage.epochs)
        with record.running(first * len(train) + start):
            for epoch in range(first, stage.epochs):
                self._mode(stage)
                for done, batch in enumerate(train.epoch(epoch, start), start + 1):
                    rate = stage.rate(epoch * len(train) + done - 1, record.steps)
                    figures = self._step(batch, stage, epoch, optimizer, scaler, rate)
                    self.step += 1
                    record.step(self.step, epoch, figures)
                    at = {"epoch": epoch, "batch": done}
                    record.checkpoint(
                        self.step,
                        lambda at=at: self.state(  # type: ignore[misc]
                            index,
                            **at,
                            optimizer=optimizer.state_dict(),
                            scaler=scaler.state_dict(),
                        ),
                    )
                start = 0
                record.epoch(self.step, epoch, lambda: self.validate(valid))

    def _freeze(self, stage: ChromaStage) -> None:
        """What does not move needs no gradients."""
        self.net.requires_grad_(True)
        for part in self._still(stage):
            part.requires_grad_(False)

    def _mode(self, stage: ChromaStage) -> None:
        """Training mode, but for the BatchNorms of what does not move."""
        self.net.train()
        for part in self._still(stage):
            part.eval()

    def _still(self, stage: ChromaStage) -> list[torch.nn.Module]:
        if stage.train == "decoder" and isinstance(self.net, HintUNet):
            return [*self.net.frozen(), cast(torch.nn.Module, self.net.encoder)]
        return self.net.frozen()

    def _step(
        self,
        batch: Batch,
        stage: ChromaStage,
        epoch: int,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        rate: float,
    ) -> dict[str, float]:
        """One step of the optimiser: the parts of the loss, and the rate."""
        ab = srgb_to_lab(batch.rgb)[:, 1:]
        hint_ab, mask = self._hints(ab, batch, [self._seed(stage), epoch], stage.hints_stop)
        gray = batch.gray.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.dtype):
            colors = self.net(gray, hint_ab, mask, stage.shared)
        parts = self._losses(colors, ab)
        loss = torch.stack(list(parts.values())).sum()
        figures = {f"train/{name}": float(part.detach()) for name, part in parts.items()}
        figures = {"train/loss": float(loss.detach()), "train/lr": rate, **figures}
        check_finite(figures, f"stage {stage.name}, epoch {epoch}, step {self.step + 1}")
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(scaler.scale(loss))
        distributed.average_gradients(self.net.parameters())
        scaler.step(optimizer)
        scaler.update()
        if self.ema:
            self.ema.update(self.net)
        return figures

    def _losses(self, colors: Colors, ab: Tensor) -> dict[str, Tensor]:
        """The weighted parts of the loss; a part with weight 0 is not computed."""
        losses, classes, parts = self.recipe.losses, self.recipe.classes, {}
        if losses.classes:
            args = self.bins, classes.neighbours, classes.sigma, self.weights
            parts["classes"] = losses.classes * class_loss(colors.logits, ab, *args)
        if losses.colours:
            got, want = (F.avg_pool2d(x, 2) for x in (colors.ab, ab))
            loss = ab_loss(got, want, losses.beta, losses.emphasis)
            parts["colours"] = losses.colours * loss
        return parts

    def _hints(
        self, ab: Tensor, batch: Batch, seed: list[int], stop: float, count: int | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Hints of a batch, drawn for each sample by itself; None for a network without."""
        if not self.net.hints:
            return None, None
        streams = [[*seed, index, HINTS_STREAM] for index in batch.indices.tolist()]
        size = ab.shape[-1]
        hints = [draw_hints(np.random.default_rng(s), size, stop, count) for s in streams]
        return place_hints(ab, hints)

    # -------------------------------------------------------------- how good it is

    def validate(self, batches: Batches) -> tuple[dict[str, float], list[Tensor]]:
        """Figures of the averaged weights without hints, and CIEDE2000 with some."""
        self.net.eval()
        with self.ema.applied(self.net) if self.ema else nullcontext():
            return measure(self._judge, batches, self.recipe.run.pictures)

    def _judge(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        lab = srgb_to_lab(batch.rgb)
        with autocast(self.device, self.dtype):
            colors = self.net(batch.gray)
            hint_ab, mask = self._hints(lab[:, 1:], batch, [0], 1.0, VAL_HINTS)
            hinted = self.net(batch.gray, hint_ab, mask).ab if self.net.hints else None
        figures = {f"val/{k}": float(v) for k, v in self._losses(colors, lab[:, 1:]).items()}
        if hinted is not None:
            guided = srgb_to_lab(colored(batch.gray, hinted))
            difference = delta_e00(guided, lab, channel_axis=-3)
            figures[f"val/ciede2000-{VAL_HINTS}-hints"] = float(difference.mean())
        return colored(batch.gray, colors.ab), figures


def make_optimizer(
    net: torch.nn.Module, config: ChromaOptimizer, rate: float
) -> torch.optim.Optimizer:
    """Adam on everything that moves."""
    kind = torch.optim.AdamW if config.decoupled else torch.optim.Adam
    moving = [p for p in net.parameters() if p.requires_grad]
    return kind(moving, lr=rate, betas=config.betas, weight_decay=config.weight_decay)
