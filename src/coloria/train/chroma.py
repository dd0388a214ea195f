"""Trains `eccv16` and `siggraph17` from colour photographs, stage by stage.

Zhang et al. 2016 (arXiv:1603.08511): classes of colour, rare ones counting more. Zhang et al. 2017
(arXiv:1705.02999) with richzhang/colorization-pytorch (MIT): two heads, and simulated hints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.color import srgb_to_lab
from coloria.device import autocast
from coloria.metrics.ciede2000 import delta_e00
from coloria.models import chroma
from coloria.models.hint_unet import HintUNet
from coloria.models.lab import Colors, LabNet, colored
from coloria.train.chroma_recipe import ChromaRecipe, ChromaStage
from coloria.train.classes import class_loss, class_weights, count_photos, smooth_prior
from coloria.train.hints import draw_hints, place_hints
from coloria.train.loader import Batch
from coloria.train.losses import ab_loss
from coloria.train.preflight import Preflight
from coloria.train.pretrained import load_encoder, locate_encoder
from coloria.train.run import check_finite
from coloria.train.stagewise import Stagewise, Steppers
from coloria.train.stepper import Stepper

HINTS_STREAM = 17
"""Last part of the seed of a sample's hints, so that they differ from its other draws."""

VAL_HINTS = 10
"""Hints of each photograph when it is validated with hints."""


class Trainer(Stagewise[ChromaRecipe, LabNet, ChromaStage]):
    """One training, in one process of possibly several."""

    weights: Tensor | None = None
    """What a pixel of each class counts; worked out when training begins."""

    @property
    def stages(self) -> Sequence[ChromaStage]:
        return self.recipe.stages

    @cached_property
    def bins(self) -> Tensor:
        """(Q, 2) a*, b* of the classes."""
        return self.net.bins()

    def _preflight(self, checks: Preflight) -> None:
        if self.recipe.network.encoder != "none":
            with checks.collect():
                locate_encoder(self.recipe.network)

    def _network(self) -> LabNet:
        net = chroma.build(self.recipe.model, self.recipe.network.shape(self.recipe.model))
        if isinstance(net, HintUNet):
            load_encoder(net.encoder, self.recipe.network)
        return net

    def _trial(self, stage: ChromaStage, count: int, side: int) -> object:
        del stage
        gray, ab = torch.rand(count, 1, side, side), torch.zeros(count, 2, side, side)
        return self._losses(self.net(gray.to(self.device)), ab.to(self.device))

    def _begin(self) -> None:
        """Counts the colours of the user's own photographs."""
        classes = self.recipe.classes
        if self.recipe.losses.classes and classes.rebalance:
            counts = count_photos(self.train_photos, self.bins, classes.prior_photos)
            prior = smooth_prior(counts, self.bins.cpu(), classes.prior_sigma)
            self.weights = class_weights(prior, classes.uniform).float().to(self.device)

    def _more(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def _restore_more(self, state: Mapping[str, Any]) -> None:
        weights: Tensor | None = state["weights"]
        self.weights = None if weights is None else weights.to(self.device)

    # -------------------------------------------------------------- one step

    def _still(self, stage: ChromaStage) -> list[nn.Module]:
        if stage.train == "decoder" and isinstance(self.net, HintUNet):
            return [*self.net.frozen(), cast(nn.Module, self.net.encoder)]
        return self.net.frozen()

    def _steppers(self, stage: ChromaStage) -> Steppers:
        config = self.recipe.optimizer
        return {
            "net": Stepper(
                self.net,
                stage.lr,
                config.betas,
                config.weight_decay,
                decoupled=config.decoupled,
                dtype=self.dtype,
            )
        }

    def _step(
        self, batch: Batch, stage: ChromaStage, epoch: int, steppers: Steppers, rate: float
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
        steppers["net"].step(loss, rate)
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
