"""What a training would be: the steps of each stage and the memory of its largest step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from coloria.train.memory import kept_by_training, saved_for_backward
from coloria.train.preflight import PlannedStage
from coloria.train.stages import CriticStage, GenerateStage, Training

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
        epochs, steps, pictures, memory = getattr(stage, "epochs", 1), 0, 0, None
        if isinstance(stage, GenerateStage):
            pictures = drawn = round(2 * stage.share * len(trainer.train_photos)) // 2 * 2
        elif not stage.skip:
            steps = _steps(trainer, index, stage, drawn)
            pictures = steps * stage.batch
            if stage.kind not in costs:
                costs[stage.kind] = _memory_of(trainer, stage)
            kept, saved = costs[stage.kind]
            area = (stage.size / SAMPLE_SIZE) ** 2 * stage.batch / stage.accumulate
            memory = int(kept + saved * area)
        note = "skipped" if stage.skip else ""
        shown = 0 if stage.skip else pictures
        rows.append(
            PlannedStage(stage.name, stage.size, stage.batch, epochs, steps, shown, memory, note)
        )
    return rows


def _steps(trainer: Trainer, index: int, stage: Training, drawn: int) -> int:
    """Optimiser steps of a stage; `drawn` pictures were made for the critic."""
    if isinstance(stage, CriticStage):
        batches = drawn * stage.accumulate // stage.batch
    else:
        batches = len(trainer.batches(index, stage)[0])
    return batches // stage.accumulate * stage.epochs


def _memory_of(trainer: Trainer, stage: Training) -> tuple[int, int]:
    """Bytes that stay, and bytes that one picture of `SAMPLE_SIZE` needs besides, measured on
    two.
    """
    learning = nn.ModuleList() if stage.kind == "critic" else nn.ModuleList([trainer.net])
    if stage.kind != "pretrain":
        learning.append(trainer.critic)
    gray = torch.rand(2, 1, SAMPLE_SIZE, SAMPLE_SIZE, device=trainer.device)
    target = trainer.net.encode(gray.expand(-1, 3, -1, -1))

    def forward() -> None:
        if stage.kind == "critic":
            trainer.critic(target)
            return
        pred = trainer.net(trainer.net.encode(gray))
        trainer.loss(pred, target)
        if stage.kind == "gan":
            trainer.critic(pred)

    return kept_by_training(learning), math.ceil(saved_for_backward(learning, forward) / 2)
