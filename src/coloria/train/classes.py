"""Colour classes as a training target: how common each is, what it counts, and the loss.

Zhang, Isola, Efros 2016 (arXiv:1603.08511), sections 2.1 and 2.2. The bins themselves, soft
encoding and the annealed mean are in :mod:`coloria.models.bins`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from coloria.color import srgb_to_lab
from coloria.models.bins import soft_encode
from coloria.train import distributed
from coloria.train.data import Photos

GREY_LIMIT = 5.0
"""A picture with no |a*| or |b*| above this is grey, and teaches nothing about colour."""

STRIDE = 4
"""Classes are told apart at a quarter of the picture's size, where the target is every fourth
pixel."""

PRIOR_SIDE = 64
"""Side, in pixels, that photographs are shrunk to before their colours are counted."""


def smooth_prior(counts: Tensor, bins: Tensor, sigma: float) -> Tensor:
    """How common each class is: shares of the counts, smoothed over neighbouring bins.

    Args:
        counts: (Q,) pixels of each class.
        bins: (Q, 2) a*, b*.
        sigma: Of the Gaussian, in units of a* and b*; the paper takes 5.

    Returns:
        (Q,) float64 shares that add up to 1; uniform where nothing was counted.
    """
    if not counts.sum():
        return torch.full((len(bins),), 1 / len(bins), dtype=torch.float64)
    distance = torch.cdist(bins.double(), bins.double())
    smooth = torch.exp(-(distance**2) / (2 * sigma**2)) @ (counts.double() / counts.sum())
    return smooth / smooth.sum()


def class_weights(prior: Tensor, share: float) -> Tensor:
    """What a pixel of each class counts: equation 4.

    Args:
        prior: (Q,) shares that add up to 1.
        share: Lambda, of the uniform distribution that is mixed in; the paper takes 1/2. At 1
            all classes count the same, at 0 the rarest count the most.

    Returns:
        (Q,) weights with mean 1 over the prior.
    """
    weights = 1 / ((1 - share) * prior + share / len(prior))
    return weights / (prior * weights).sum()


def class_loss(
    logits: Tensor,
    ab: Tensor,
    bins: Tensor,
    neighbours: int,
    sigma: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with softly encoded colours, rare colours counting more: equation 2.

    Args:
        logits: (B, Q, H / 4, W / 4).
        ab: (B, 2, H, W) the true a*, b*.
        bins: (Q, 2).
        neighbours: How many bins share a colour.
        sigma: Of their Gaussian weights.
        weights: (Q,) what a pixel counts, by its nearest bin; None for 1 each.

    Returns:
        The mean over the pixels of all pictures that are not grey.
    """
    coloured = (ab.abs().amax(dim=(1, 2, 3)) > GREY_LIMIT).to(logits.dtype)  # (B,)
    target = ab[..., ::STRIDE, ::STRIDE]
    pixels = target.shape[-2] * target.shape[-1]
    with torch.no_grad():
        index, soft = soft_encode(
            target.permute(0, 2, 3, 1).reshape(-1, 2), bins, neighbours, sigma
        )
        counts = coloured.repeat_interleave(pixels)
        if weights is not None:
            counts = counts * weights.to(counts)[index[:, 0]]
    # One row a pixel first: with channels last in memory this copies nothing.
    logs = F.log_softmax(logits.permute(0, 2, 3, 1).reshape(len(index), -1), dim=1)
    entropy = -(soft * logs.gather(1, index)).sum(dim=1)
    return (counts * entropy).sum() / (coloured.sum() * pixels).clamp(min=1)


@torch.no_grad()
def count_classes(ab: Tensor, bins: Tensor) -> Tensor:
    """How many of the colours (N, 2) are nearest to each bin: (Q,) float64."""
    index, _ = soft_encode(ab, bins, 1, 1.0)
    return torch.bincount(index[:, 0], minlength=len(bins)).double()


def count_photos(photos: Photos, bins: Tensor, limit: int) -> Tensor:
    """The pixels of each class over the photographs, read one after the other.

    With several processes each reads its part, and all get the same sums.

    Args:
        photos: The photographs.
        bins: (Q, 2).
        limit: How many photographs to read at most, spread evenly over all.
    """
    chosen = np.linspace(0, len(photos) - 1, min(limit, len(photos))).round().astype(int).tolist()
    bins, counts = bins.cpu(), torch.zeros(len(bins), dtype=torch.float64)
    for index in chosen[distributed.rank() :: distributed.world_size()]:
        image = Image.fromarray(photos.read(index))
        image.thumbnail((PRIOR_SIDE, PRIOR_SIDE), Image.Resampling.BOX)
        rgb = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        counts += count_classes(srgb_to_lab(rgb)[1:].flatten(1).T, bins)
    return distributed.all_reduce_sums(counts)
