"""Losses of the generators, on normalised pictures (B, 3, H, W).

The published loss (DeOldify, MIT; after Johnson et al. 2016, arXiv:1603.08155, without a style
term) is the pixel L1 plus an L1 on three feature maps of VGG-16. The Lab loss is the Huber loss on
chroma of Zhang et al. 2017 (arXiv:1705.02999).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.color import srgb_to_lab
from coloria.models.deoldify import Coding

FEATURE_WEIGHTS = (20.0, 70.0, 10.0)
"""Weights of the three feature maps, the finest first (DeOldify)."""

CHROMA_UNIT = 100.0
"""a* and b* are divided by this, which brings the Lab loss near the size of the pixel loss."""


@dataclass(frozen=True)
class LossWeights:
    """Weight of each part; a part with weight 0 is not computed."""

    pixel: float = 1.0
    feature: float = 1.0
    lab: float = 0.0
    beta: float = 10.0
    """Where the Lab loss turns from square to linear, in units of a* and b*."""
    emphasis: float = 0.0
    """How much more a pixel counts in the Lab loss for each 100 units of its true chroma."""


class PictureLoss(nn.Module):
    """Weighted sum of the pixel, feature and Lab losses.

    Args:
        coding: How the pictures are normalised.
        weights: Weight of each part.
        features: Maps normalised pictures to feature maps; None where the weight is 0.
    """

    def __init__(
        self,
        coding: Coding,
        weights: LossWeights,
        features: Callable[[Tensor], Sequence[Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.weights, self.features = weights, features
        self.register_buffer("mean", torch.tensor(coding.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(coding.std).view(3, 1, 1), persistent=False)
        self.parts: dict[str, Tensor] = {}
        """The weighted parts of the last call."""

    mean: Tensor
    std: Tensor

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        weights, parts = self.weights, {}
        if weights.pixel:
            parts["pixel"] = weights.pixel * F.l1_loss(pred, target)
        if weights.feature and self.features is not None:
            parts["feature"] = weights.feature * feature_loss(self.features, pred, target)
        if weights.lab:
            got, want = (picture * self.std + self.mean for picture in (pred, target))
            parts["lab"] = weights.lab * chroma_loss(got, want, weights.beta, weights.emphasis)
        self.parts = {name: part.detach() for name, part in parts.items()}
        return torch.stack(list(parts.values())).sum()


def feature_loss(
    features: Callable[[Tensor], Sequence[Tensor]], pred: Tensor, target: Tensor
) -> Tensor:
    """Weighted L1 between feature maps of two normalised pictures."""
    with torch.no_grad():
        wanted = features(target)
    pairs = zip(FEATURE_WEIGHTS, features(pred), wanted, strict=True)
    return torch.stack([weight * F.l1_loss(got, want) for weight, got, want in pairs]).sum()


def chroma_loss(
    pred: Tensor, target: Tensor, beta: float, emphasis: float = 0.0, pool: int = 2
) -> Tensor:
    """Huber loss on (a*, b*) of sRGB pictures (B, 3, H, W), in units of `CHROMA_UNIT`.

    Args:
        pred: Any values; clipped to [0, 1], the pixel loss pulls back what lies outside.
        target: In [0, 1].
        beta: Where the loss turns from square to linear, in units of a* and b*.
        emphasis: Extra weight for each 100 units of true chroma.
        pool: Compare means over so many pixels squared. Finer chroma is seen by nobody and kept by
            no JPEG; but a network whose layers can make patterns finer than that needs 1, or it
            does.
    """
    ab, want = (
        srgb_to_lab(F.avg_pool2d(picture.clamp(0, 1), pool))[:, 1:]
        for picture in (pred.float(), target.float())
    )  # (B, 2, H / pool, W / pool)
    return ab_loss(ab, want, beta, emphasis)


def ab_loss(ab: Tensor, want: Tensor, beta: float, emphasis: float = 0.0) -> Tensor:
    """Huber loss between a*, b* (B, 2, H, W), in units of `CHROMA_UNIT`.

    Args:
        ab: The prediction.
        want: The truth.
        beta: Where the loss turns from square to linear, in units of a* and b*.
        emphasis: Extra weight for each 100 units of true chroma.
    """
    ab, want = ab / CHROMA_UNIT, want / CHROMA_UNIT
    loss = F.smooth_l1_loss(ab, want, beta=beta / CHROMA_UNIT, reduction="none")
    weight: Tensor = 1 + emphasis * torch.linalg.vector_norm(want, dim=1, keepdim=True)
    return (loss * weight).sum() / weight.expand_as(loss).sum()
