"""Trains `bigcolor` from colour photographs: a colouring GAN, stage by stage.

KIMGEONUNG/BigColor (MIT) is the origin: each step trains the discriminator on the pictures that
were just made, then encoder and generator on the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.config import dump_recipe
from coloria.device import autocast
from coloria.models import bigcolor
from coloria.models.bigcolor import Z_STD, BigColor
from coloria.models.biggan import Discriminator
from coloria.models.deoldify import Coding
from coloria.train import bigcolor_start, distributed, features
from coloria.train.bigcolor_recipe import BigColorRecipe, BigColorStage
from coloria.train.hinge import discriminator_loss, enhanced, generator_loss, perceptual_loss
from coloria.train.labels import class_ids
from coloria.train.loader import Batch, Batches
from coloria.train.losses import chroma_loss
from coloria.train.plateau import Plateau
from coloria.train.preflight import Preflight
from coloria.train.pretrained import locate_features
from coloria.train.run import Run, check_finite
from coloria.train.sight import Sight
from coloria.train.stagewise import Stagewise, Steppers
from coloria.train.stepper import Stepper
from coloria.train.validate import joined

Z_STREAM = 23
"""Last part of the seed of a sample's random vector, so that it differs from its other draws."""

UNIT = Coding((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pictures as they are, in [0, 1]."""


class Trainer(Stagewise[BigColorRecipe, BigColor, BigColorStage]):
    """One training, in one process of possibly several."""

    every_epoch = True

    def __init__(
        self, recipe: BigColorRecipe, device: str = "auto", checks: Preflight | None = None
    ) -> None:
        super().__init__(recipe, device, checks)
        self._ids: dict[str, int] = {}
        """The class of each photograph by its name; empty without classes."""
        self._choose_classes()
        self.discriminator = self._new_discriminator() if recipe.has_discriminator() else None
        self.features = self._features()
        self.sight = Sight(True, recipe.network.half)
        self.plateau = Plateau()

    @property
    def stages(self) -> Sequence[BigColorStage]:
        return self.recipe.stages

    # -------------------------------------------------------------- what it starts from

    def _preflight(self, checks: Preflight) -> None:
        bigcolor_start.check(self.recipe, checks)
        if self.recipe.losses.perceptual:
            with checks.collect():
                locate_features(self.recipe.losses.feature_network)

    def _network(self) -> BigColor:
        net = bigcolor.build("bigcolor", self.recipe.network.shape())
        bigcolor_start.fill(net, self.recipe)
        return net

    def _new_discriminator(self) -> Discriminator:
        config = self.recipe.discriminator
        net = Discriminator(config.width, self.recipe.network.n_classes)
        bigcolor_start.fill_discriminator(net, self.recipe)
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _features(self) -> features.Features | None:
        losses = self.recipe.losses
        if not losses.perceptual:
            return None
        return features.build(losses.feature_network, UNIT, losses.feature_layers).to(self.device)

    def _choose_classes(self) -> None:
        """Tells the photographs' classes, and leaves out those of classes that are not wanted."""
        count, only = self.recipe.network.n_classes, self.recipe.classes.only
        if not count:
            return
        names = [*self.train_photos.names, *self.val_photos.names]
        self._ids = dict(zip(names, class_ids(names, count), strict=True))
        if only:
            self.train_photos, self.val_photos = (
                photos.part([i for i, name in enumerate(photos.names) if self._ids[name] in only])
                for photos in (self.train_photos, self.val_photos)
            )

    # -------------------------------------------------------------- one step

    def _still(self, stage: BigColorStage) -> list[nn.Module]:
        encoder = self.net.E
        still: dict[str, list[nn.Module]] = {
            "all": [],
            "encoder": [self.net.G],
            "generator": encoder.body(),
            "late": encoder.early(),
            "nothing": [self.net],
        }
        return still[stage.train]

    def _steppers(self, stage: BigColorStage) -> Steppers:
        config = self.recipe.optimizer
        steppers = {}
        if stage.train != "nothing":
            betas = stage.betas or config.betas
            steppers["net"] = Stepper(
                self.net, stage.lr, betas, config.weight_decay, dtype=self.dtype
            )
        if (judge := self._judged(stage)) is not None and stage.train_d:
            judge.requires_grad_(True)
            steppers["discriminator"] = Stepper(judge, stage.lr_d, config.betas_d, dtype=self.dtype)
        return steppers

    def _rate(self, stage: BigColorStage, done: int, steps: int) -> float:
        return stage.rate(done, steps) * self.plateau.factor

    def _step(
        self, batch: Batch, stage: BigColorStage, epoch: int, steppers: Steppers, rate: float
    ) -> dict[str, float]:
        """One step of the discriminator, then one of encoder and generator."""
        self._reseed()
        where = f"stage {stage.name}, epoch {epoch}, step {self.step + 1}"
        fake = self._made(batch, [self._seed(stage), epoch])
        figures = {"train/lr": rate}
        if "discriminator" in steppers:
            loss = self._discriminator_loss(fake.detach(), batch)
            figures["train/discriminator"] = float(loss.detach())
            check_finite(figures, where)
            steppers["discriminator"].step(loss, rate * stage.lr_d / stage.lr)
        parts = self._losses(fake, enhanced(batch.rgb, self.recipe.losses.enhance))
        if self._judged(stage):
            parts["adversarial"] = self.recipe.adversarial(stage) * self._verdict(fake, batch)
        loss = torch.stack(list(parts.values())).sum()
        figures |= {f"train/{name}": float(part.detach()) for name, part in parts.items()}
        figures["train/loss"] = float(loss.detach())
        check_finite(figures, where)
        if "net" in steppers:
            steppers["net"].step(loss, rate)
            if self.ema:
                self.ema.decay = stage.ema or self.recipe.run.ema or 0.0
                self.ema.update(self.net)
        return figures

    def _reseed(self) -> None:
        """Dropout is a function of seed, step and process, wherever a run was interrupted."""
        words = [self.recipe.run.seed, self.step, distributed.rank()]
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))

    def _made(self, batch: Batch, seed: list[int]) -> Tensor:
        """The network's pictures: sRGB (B, 3, H, W) in [0, 1]."""
        gray = batch.gray.contiguous(memory_format=torch.channels_last)
        z = noise([[*seed, index, Z_STREAM] for index in batch.indices.tolist()], self.net.dim_z)
        with autocast(self.device, self.dtype):
            made: Tensor = self.net(gray, self._classes(batch), z.to(self.device))
        return (made.float() + 1) / 2

    def _classes(self, batch: Batch) -> Tensor | None:
        if not self._ids:
            return None
        return torch.tensor([self._ids[name] for name in batch.names], device=self.device)

    def _losses(self, made: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """The weighted parts of the loss that need no judge; one with weight 0 is not computed."""
        losses, parts = self.recipe.losses, {}
        if losses.mse:
            parts["mse"] = losses.mse * F.mse_loss(made, truth)
        if losses.perceptual and self.features is not None:
            weight = losses.perceptual / (len(truth) if losses.per_batch else 1)
            with autocast(self.device, self.dtype):
                parts["perceptual"] = weight * perceptual_loss(self.features, made, truth)
        if losses.lab:
            loss = chroma_loss(made, truth, losses.beta, losses.emphasis)
            parts["lab"] = losses.lab * loss
        return parts

    # -------------------------------------------------------------- the judge

    def _judged(self, stage: BigColorStage) -> Discriminator | None:
        """The discriminator, in a stage that has one."""
        return self.discriminator if self.recipe.adversarial(stage) else None

    def _discriminator_loss(self, made: Tensor, batch: Batch) -> Tensor:
        self._judge_learns(True)
        true = enhanced(batch.rgb, self.recipe.discriminator.enhance)
        return discriminator_loss(self._logits(true, batch), self._logits(made, batch))

    def _verdict(self, made: Tensor, batch: Batch) -> Tensor:
        self._judge_learns(False)
        return generator_loss(self._logits(made, batch))

    def _judge_learns(self, learns: bool) -> None:
        assert self.discriminator is not None
        self.discriminator.requires_grad_(learns)

    def _logits(self, rgb: Tensor, batch: Batch) -> Tensor:
        """What the discriminator says of pictures in [0, 1]: (B, 1)."""
        assert self.discriminator is not None
        if self.recipe.discriminator.sees == "colours":
            rgb = self.sight(rgb, batch.rgb)
        with autocast(self.device, self.dtype):
            logits: Tensor = self.discriminator(rgb * 2 - 1, self._classes(batch))
        return logits.float()

    # -------------------------------------------------------------- beside the steps

    def _begin(self) -> None:
        if self.recipe.run.print_config and distributed.is_main():
            print(dump_recipe(self.recipe))

    def _after_step(
        self, run: Run[BigColorRecipe] | None, stage: BigColorStage, epoch: int
    ) -> None:
        """Grids of the first photographs of either kind now and then."""
        if not run or not run.recipe.run.pictures:
            return
        for kind, every, photos in (
            ("train", self.recipe.run.pictures_every, self.train_photos),
            ("val", self.recipe.run.val_pictures_every, self.val_photos),
        ):
            if self.step % every == 0:
                run.pictures(self.step, f"{stage.name}-{kind}", self._grid(photos, stage.size))
                self._mode(stage)

    @torch.no_grad()
    def _grid(self, photos: Any, size: int) -> list[Tensor]:
        """Columns: grey, coloured with the weights as they are, with the averaged ones, true."""
        share = min(1.0, self.recipe.run.pictures / len(photos))
        first = Batches(photos, size=size, batch=len(photos), share=share, device=self.device)
        batch = next(first.epoch(0))
        self.net.eval()
        columns = [batch.gray, self._colored(batch)]
        if self.ema:
            with self.averaged():
                columns.append(self._colored(batch))
        return [*columns, batch.rgb]

    def _after_epoch(self, stage: BigColorStage, figures: Mapping[str, float]) -> None:
        if stage.schedule == "plateau":
            mine = torch.tensor(figures.get("val/ciede2000", 0.0), dtype=torch.float64)
            figure = float(distributed.all_reduce_sums(mine))
            self.plateau.epoch(figure, stage.decay, stage.patience)

    def _colored(self, batch: Batch) -> Tensor:
        return joined(batch.gray, self._made(batch, [0]))

    def _judge(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        made = self._made(batch, [0])
        figures = {f"val/{k}": float(v) for k, v in self._losses(made, batch.rgb).items()}
        return joined(batch.gray, made), figures

    def _more(self) -> dict[str, Any]:
        judge = self.discriminator
        return {
            "discriminator": judge.state_dict() if judge is not None else None,
            "plateau": self.plateau.state_dict(),
        }

    def _restore_more(self, state: Mapping[str, Any]) -> None:
        if self.discriminator is not None and state["discriminator"]:
            self.discriminator.load_state_dict(state["discriminator"])
        self.plateau.load_state_dict(state["plateau"])

    def _trial(self, stage: BigColorStage, count: int, side: int) -> object:
        rgb = torch.rand(count, 3, side, side, device=self.device)
        names = tuple(self.train_photos.names[:1] * count)
        batch = Batch(rgb[:, :1], rgb, np.arange(count), names)
        made = self._made(batch, [0])
        kept = list(self._losses(made, rgb).values())
        if self._judged(stage):
            kept += [self._verdict(made, batch), self._discriminator_loss(made.detach(), batch)]
        return kept

    def _learning(self) -> list[nn.Module]:
        return [self.net, *([self.discriminator] if self.discriminator is not None else [])]


def noise(seeds: Sequence[Sequence[int]], length: int) -> Tensor:
    """A random vector for each sample, from a seed of its own: (B, length) float32."""
    rows = [np.random.default_rng(list(s)).standard_normal(length, np.float32) for s in seeds]
    return torch.from_numpy(np.stack(rows)) * Z_STD
