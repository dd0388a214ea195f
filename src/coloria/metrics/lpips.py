"""LPIPS, the learned perceptual distance: lower is better, 0 for equal pictures, no unit.

Zhang, Isola, Efros, Shechtman & Wang 2018, arXiv:1801.03924, version 0.1 with AlexNet, which its
authors recommend for measuring: features of both pictures are normalised per pixel, their squared
differences weighted by learned heads, averaged over space and summed over the layers. Code and
heads are torchmetrics'. Pictures are taken at their own size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache as remember
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coloria.errors import OptionError
from coloria.metrics.networks import ALEXNET, locate
from coloria.metrics.pairs import same_size
from coloria.metrics.sets import Pixels

Network = Callable[[Tensor, Tensor], Tensor]
"""Distance of two pictures (1, 3, H, W) in [-1, 1]."""

MINIMUM = 63
"""Shortest side in pixels that goes through all layers of AlexNet."""


def check(
    network: Network | None = None,
    name: str | None = None,
    device: str = "cpu",
    download: bool = False,
) -> None:
    """Refuses before any work what could not be measured; arguments as for :func:`lpips`.

    Raises:
        WeightsMissingError: The weights are not there.
        OptionError: A network without a name, or a name without a network.
    """
    named(network, name)
    if network is None:
        locate(ALEXNET, download)


def named(network: object | None, name: str | None) -> None:
    """Refuses a figure by another network under a published name.

    Raises:
        OptionError: One of the two is missing.
    """
    if (network is None) != (name is None):
        raise OptionError(
            "a network of your own has a name, under which the figure is shown, and only such a "
            f"network has one; got the network {network!r} with the name {name!r}"
        )


def lpips(
    prediction: Pixels,
    truth: Pixels,
    *,
    network: Network | None = None,
    name: str | None = None,
    device: str = "cpu",
    download: bool = False,
) -> float:
    """LPIPS of two sRGB pictures (H, W, 3) of uint8.

    Args:
        prediction: The picture.
        truth: Of the same size.
        network: Another one than AlexNet; the figure is then "LPIPS with `name`".
        name: Of that network.
        device: Where AlexNet runs.
        download: Fetch AlexNet's weights if they are not there.

    Raises:
        WeightsMissingError: AlexNet's weights are not there.
        OptionError: The sizes differ or are too small, or `network` and `name` do not go together.
    """
    named(network, name)
    same_size(prediction, truth)
    if network is None:
        if min(truth.shape[:2]) < MINIMUM:
            raise OptionError(
                f"LPIPS wants at least {MINIMUM} pixels on each side, got "
                f"{truth.shape[1]}x{truth.shape[0]}"
            )
        network = alexnet(device, download)
    pictures = (
        torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].to(device).float() / 127.5
        - 1
        for p in (prediction, truth)
    )
    with torch.no_grad():
        return float(network(*pictures))


@remember
def alexnet(device: str = "cpu", download: bool = False) -> Any:
    """The network of LPIPS 0.1."""
    locate(ALEXNET, download)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex").net.to(device)
