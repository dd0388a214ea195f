"""What a training would be: the steps of each stage and the memory of its largest step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from coloria.train.preflight import PlannedStage
from coloria.train.stages import CriticStage, GenerateStage, Training

if TYPE_CHECKING:
    from coloria.train.nogan import Trainer

SAMPLE_SIZE = 64
"""Side, in pixels, at which memory is measured; it grows with the area."""

COPIES = 5
"""Of the weights that stay in memory: themselves, gradients, two moments, average."""


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
    """Bytes that stay, and bytes that one picture of `SAMPLE_SIZE` keeps for the backward pass,
    measured on one.
    """
    learning: list[nn.Module] = [] if stage.kind == "critic" else [trainer.net]
    if stage.kind != "pretrain":
        learning.append(trainer.critic)
    weights = [p for net in learning for p in net.parameters()]
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    gray = torch.rand(2, 1, SAMPLE_SIZE, SAMPLE_SIZE, device=trainer.device)
    target = trainer.net.encode(gray.expand(-1, 3, -1, -1))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        if stage.kind == "critic":
            trainer.critic(target)
        else:
            pred = trainer.net(trainer.net.encode(gray))
            trainer.loss(pred, target)
            if stage.kind == "gan":
                trainer.critic(pred)
    own = {p.data_ptr() for p in weights}
    saved = sum(size for pointer, size in sizes.items() if pointer not in own)
    kept = COPIES * sum(p.numel() * p.element_size() for p in weights)
    return kept, math.ceil(saved / 2)
