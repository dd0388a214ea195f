"""Losses of the adversarial training of `bigcolor`, without state.

Hinge losses as BigGAN has them (Brock et al. 2019, arXiv:1809.11096; Lim and Ye 2017,
arXiv:1705.02894). The perceptual loss and the enhancement are KIMGEONUNG/BigColor's (MIT).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from coloria.train.sight import luma

BORDER = 16
"""The perceptual loss leaves out one part in so many at each border: upstream looks at the
central 224 of 256 pixels."""


def discriminator_loss(true: Tensor, made: Tensor) -> Tensor:
    """Mean of the hinge losses on the logits (B, 1) of true and of made pictures."""
    return (F.relu(1 - true).mean() + F.relu(1 + made).mean()) / 2


def generator_loss(made: Tensor) -> Tensor:
    """How little the discriminator is fooled, from its logits (B, 1) of made pictures."""
    return -made.mean()


def enhanced(rgb: Tensor, factor: float | None) -> Tensor:
    """SRGB (B, 3, H, W) with its distance from the luma times `factor`, clipped to [0, 1]."""
    if factor is None:
        return rgb
    gray = luma(rgb)
    return (gray + (rgb - gray) * factor).clamp(0, 1)


def perceptual_loss(
    features: Callable[[Tensor], Sequence[Tensor]], pred: Tensor, target: Tensor
) -> Tensor:
    """Mean squared error between feature maps of sRGB pictures (B, 3, H, W), mean over the maps."""
    edge = pred.shape[-1] // BORDER
    pred, target = (x[..., edge:-edge, edge:-edge] for x in (pred, target))
    with torch.no_grad():
        wanted = features(target)
    pairs = zip(features(pred), wanted, strict=True)
    return torch.stack([F.mse_loss(got.float(), want.float()) for got, want in pairs]).mean()
