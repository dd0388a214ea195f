"""What a training would be: the steps of each stage and the memory of its largest step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from coloria.train.memory import kept_by_training, saved_for_backward
from coloria.train.preflight import PlannedStage
from coloria.train.stages import CriticStage, GenerateStage, Stage, Training

if TYPE_CHECKING:
    from coloria.train.nogan import Trainer

SAMPLE_SIZE = 64
"""Side, in pixels, at which memory is measured; it grows with the area."""


def plan(trainer: Trainer) -> list[PlannedStage]:
    """One row a stage, for `--dry-run`."""
    rows: list[PlannedStage] = []
    drawn = 0
    costs: dict[str, tuple[int, int]] = {}
    for index, stage in enumerate(trainer.recipe.schedule()):
        if isinstance(stage, GenerateStage):
            drawn = round(2 * stage.share * len(trainer.train_photos)) // 2 * 2
            rows.append(_row(stage, 1, 0, drawn, None))
            continue
        if stage.kind not in costs:
            costs[stage.kind] = _memory_of(trainer, stage)
        kept, saved = costs[stage.kind]
        if isinstance(stage, CriticStage):
            batches = drawn * stage.accumulate // stage.batch
        else:
            batches = len(trainer.batches(index, stage)[0])
        steps = batches // stage.accumulate * stage.epochs
        area = (stage.size / SAMPLE_SIZE) ** 2 * stage.batch / stage.accumulate
        memory = int(kept + saved * area)
        rows.append(_row(stage, stage.epochs, steps, steps * stage.batch, memory))
    return rows


def _row(stage: Stage, epochs: int, steps: int, pictures: int, memory: int | None) -> PlannedStage:
    if stage.skip:
        steps = pictures = 0
        memory = None
    note = "skipped" if stage.skip else ""
    return PlannedStage(stage.name, stage.size, stage.batch, epochs, steps, pictures, memory, note)


def _memory_of(trainer: Trainer, stage: Training) -> tuple[int, int]:
    """Bytes that stay, and bytes that one picture of `SAMPLE_SIZE` needs besides, measured on
    two.
    """
    nets = {"pretrain": [trainer.net], "critic": [trainer.critic]}
    both = nets.get(stage.kind, [trainer.net, trainer.critic])
    learning = nn.ModuleList(net for net in both if net is not None)
    gray = torch.rand(2, 1, SAMPLE_SIZE, SAMPLE_SIZE, device=trainer.device)
    target = trainer.net.encode(gray.expand(-1, 3, -1, -1))

    def forward() -> None:
        if stage.kind == "critic":
            learning[0](target)
            return
        pred = trainer.net(trainer.net.encode(gray))
        trainer.loss(pred, target)
        if stage.kind == "gan":
            learning[1](pred)

    return kept_by_training(learning), math.ceil(saved_for_backward(learning, forward) / 2)
