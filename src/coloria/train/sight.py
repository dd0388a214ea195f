"""What the critic is shown of a picture, and its loss: the maths of the critic, without state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma (ITU-R BT.601)."""


@dataclass(frozen=True)
class Sight:
    """What the critic sees of a picture; true ones are seen through it, too.

    Attributes:
        colours: Show the picture's colours on the luma of the truth, as they are used in the end
            (DeOldify's own join), so that nothing but colour can be judged.
        half: Halve the detail of the colours first: the generator works at half its size.
    """

    colours: bool
    half: bool

    def __call__(self, rgb: Tensor, truth: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB and its truth to what is seen: in [0, 1], in steps of 1/255.

        The gradient passes as if nothing were clipped or rounded.
        """
        if self.colours:
            soft = _softened(rgb) if self.half else rgb
            rgb = soft + (luma(truth) - luma(soft))
        seen = (rgb.detach().clamp(0, 1) * 255).round() / 255
        return seen + (rgb - rgb.detach())


def _softened(rgb: Tensor) -> Tensor:
    return F.interpolate(F.avg_pool2d(rgb, 2), rgb.shape[-2:], mode="bilinear")


def luma(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 1, H, W)."""
    return (rgb * rgb.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def verdict_loss(logits: Tensor, true: float | Tensor) -> Tensor:
    """Binary cross-entropy of all logits (B, n) with the picture's label (B,): 1 for true."""
    label = torch.as_tensor(true, dtype=logits.dtype, device=logits.device)
    return F.binary_cross_entropy_with_logits(logits, label.view(-1, 1).expand_as(logits))


class Verdict(nn.Module):
    """The critic's loss; as a part of it, the share of logits that are right."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Tensor] = {}

    def forward(self, logits: Tensor, true: Tensor) -> Tensor:
        right = (logits > 0) == (true.view(-1, 1) > 0)
        self.parts = {"accuracy": right.float().mean().detach()}
        return verdict_loss(logits, true)
