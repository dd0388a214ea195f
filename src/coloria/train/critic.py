"""The critic alone: it learns to tell the generator's pictures from true ones.

Upstream (jantic/DeOldify, MIT) wrote the generator's pictures as JPEG files of quality 75, cut from
the middle, and took true ones as they were; a critic can tell those by the JPEG alone. Here both
kinds go one way: cut by the same rule from different photographs, seen through the same
:class:`~coloria.train.sight.Sight`, kept as 8-bit values without loss, and varied alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coloria.device import autocast
from coloria.train import distributed
from coloria.train.augment import Augment
from coloria.train.learner import (
    Epochs,
    Loaders,
    Precision,
    callbacks,
    fit,
    make_learner,
    one_cycle,
)
from coloria.train.loader import Batches, Pictures
from coloria.train.progress import Progress
from coloria.train.recorder import Recorder
from coloria.train.run import Run
from coloria.train.schedule import NoGanRecipe
from coloria.train.sight import Verdict
from coloria.train.stages import CriticStage, GenerateStage

if TYPE_CHECKING:
    from coloria.train.nogan import Trainer

EPS = 1e-8
"""Adam's, wherever the critic is trained: behind its dozen spectral norms gradients are so small
that fastai's 1e-5 would keep it from learning."""


class Drawn:
    """Pictures for the critic: the generator's, then as many true ones.

    Attributes:
        pixels: ``(N, S, S, 3)`` uint8 sRGB.
        generated: How many, from the first, are the generator's.
        stage: Index of the stage that made them.
    """

    def __init__(
        self, generated: list[NDArray[np.uint8]], true: list[NDArray[np.uint8]], stage: int
    ) -> None:
        self.pixels: NDArray[np.uint8] = np.stack([*generated, *true])
        self.generated, self.stage = len(generated), stage
        self.names = [f"generated {i}" for i in range(len(generated))]
        self.names += [f"true {i}" for i in range(len(true))]

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Picture ``i``."""
        pixels: NDArray[np.uint8] = self.pixels[i]
        return pixels

    def columns(self, count: int) -> list[Tensor]:
        """Pictures of both kinds side by side, for a grid."""
        first = [self.pixels[start:][:count] for start in (0, self.generated)]
        return [torch.from_numpy(rows).permute(0, 3, 1, 2) / 255 for rows in first]


class Judged(Epochs):
    """Batches of such pictures, each with its label: 1 for true."""

    def __init__(self, batches: Batches, encode: Any, generated: int) -> None:
        super().__init__(batches, encode)
        self.generated = generated

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.rest():
            true = torch.from_numpy(batch.indices >= self.generated).to(batch.rgb)
            yield self.encode(batch.rgb), true


def draw(
    trainer: Trainer,
    index: int,
    photos: Pictures,
    share: float,
    world: int = 1,
    progress: Progress | None = None,
) -> Drawn:
    """Has the averaged generator colour photographs, and cuts others that stay true.

    Args:
        trainer: Whose generator it is.
        index: Of a stage of kind generate.
        photos: Where both kinds come from.
        share: Share of the photographs that is coloured, at most 0.5.
        world: How many processes share the work; each gets a part of its own, all as many.
        progress: Told of each batch.
    """
    stage = trainer.recipe.schedule()[index]
    sight = trainer.sight
    batches = Batches(
        photos,
        batch=2 * max(1, stage.batch // world),
        seed=trainer.recipe.run.seed + index,
        share=2 * share,
        rank=distributed.rank() if world > 1 else 0,
        world=world,
        **trainer.loading(stage),
    )
    generated: list[NDArray[np.uint8]] = []
    true: list[NDArray[np.uint8]] = []
    with trainer.averaged() as net, torch.no_grad():
        for batch in batches.epoch(0):
            pairs = len(batch.rgb) // 2 * 2
            given, other = batch.rgb[0:pairs:2], batch.rgb[1:pairs:2]
            with autocast(trainer.device, trainer.dtype):
                made = net(net.encode(batch.gray[0:pairs:2])).float() * net.std + net.mean
            generated.extend(_bytes(sight(made, given)))
            true.extend(_bytes(sight(other, other)))
            if progress:
                progress.advance(pairs)
    most = batches.samples // world // 2
    return Drawn(generated[:most], true[:most], index)


def _bytes(seen: Tensor) -> NDArray[np.uint8]:
    """(B, 3, S, S) in steps of 1/255 to (B, S, S, 3) uint8."""
    pixels: NDArray[np.uint8] = (
        (seen * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    )
    return pixels


def generate(
    trainer: Trainer, run: Run[NoGanRecipe] | None, index: int, stage: GenerateStage
) -> None:
    """Does a stage of kind generate."""
    photos = trainer.train_photos
    world = distributed.world_size()
    total = len(photos) * stage.share / (max(1, stage.batch // world) * world)
    time = run.timing.stage(stage.name, stage.size) if run else None
    progress = Progress(stage.name, math.ceil(total), quiet=run is None)
    with progress, time.running() if time else nullcontext():
        trainer.pictures = drawn = draw(trainer, index, photos, stage.share, world, progress)
    if run and time:
        time.pictures, time.epochs = len(drawn) * world, 1
        if trainer.recipe.run.pictures:
            run.pictures(trainer.step, stage.name, drawn.columns(trainer.recipe.run.pictures))


def _pictures(trainer: Trainer, index: int) -> Drawn:
    """What the last stage of kind generate made; made again where the run went on from later."""
    before = enumerate(trainer.recipe.schedule()[:index])
    made, stage = [(i, s) for i, s in before if isinstance(s, GenerateStage) and not s.skip][-1]
    if trainer.pictures is None or trainer.pictures.stage != made:
        world = distributed.world_size()
        trainer.pictures = draw(trainer, made, trainer.train_photos, stage.share, world)
    return trainer.pictures


class CriticRecorder(Recorder):
    """Records the training of the critic; the generator stands still."""

    judged: Judged
    """The batches to validate on, with their labels."""

    def after_step(self) -> None:
        """The generator has no part in this."""

    def validate(self, run: Run[NoGanRecipe]) -> None:
        """The critic on pictures of the photographs kept aside."""
        trainer, loss = self.trainer, Verdict()
        critic = trainer.critic.eval()
        sums = {"val/loss": 0.0, "val/accuracy": 0.0}
        seen = 0
        with torch.no_grad():
            for pictures, true in self.judged:
                with autocast(trainer.device, trainer.dtype):
                    logits = critic(pictures)
                sums["val/loss"] += float(loss(logits.float(), true)) * len(true)
                sums["val/accuracy"] += float(loss.parts["accuracy"]) * len(true)
                seen += len(true)
        self.say(run, {name: total / seen for name, total in sums.items()})


def train(
    trainer: Trainer,
    run: Run[NoGanRecipe] | None,
    index: int,
    stage: CriticStage,
    resumed: dict[str, Any] | None,
) -> None:
    """Does a stage of kind critic, or the rest of one."""
    drawn = _pictures(trainer, index)
    kept = draw(trainer, drawn.stage, trainer.val_photos, 0.5)
    batches = _batches(trainer, index, stage, drawn)
    calm = Batches(kept, batch=min(64, len(kept)), **trainer.loading(stage))
    judged = Judged(calm, trainer.net.encode, kept.generated)
    record = CriticRecorder(trainer, run, index, stage, batches, calm, resumed)
    record.judged = judged
    loaders = Loaders(Judged(batches, trainer.net.encode, drawn.generated), judged, trainer.device)
    learner = make_learner(
        trainer.critic,
        [list(trainer.critic.children())],
        loaders,
        Verdict(),
        trainer.recipe.optimizer,
        callbacks(stage, record, Precision(trainer.device, trainer.dtype)),
        eps=EPS,
    )
    fit(learner, stage, record, resumed, cbs=[one_cycle(trainer.recipe.optimizer, stage)])


def _batches(trainer: Trainer, index: int, stage: CriticStage, drawn: Drawn) -> Batches:
    return Batches(
        drawn,
        batch=max(1, stage.batch // stage.accumulate // distributed.world_size()),
        seed=trainer.recipe.run.seed + index,
        augment=Augment(**trainer.recipe.data.augment.model_dump()),
        drop_last=True,
        **trainer.loading(stage),
    )
