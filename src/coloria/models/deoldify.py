"""DeOldify's generators (`artistic`, `stable`) and critic.

jantic/DeOldify (code and weights MIT), J. Antic 2018-2024. The compact forms that ship with the
package are the same U-Net over a smaller encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from coloria.models.fold import fold_batch_norms, fold_weight_norms
from coloria.models.layers import SelfAttention, SpectralConv2d
from coloria.models.match import check_fit
from coloria.models.registry import Weights
from coloria.models.unet import UNet, UNetConfig


@dataclass(frozen=True)
class Coding:
    """How pictures enter and leave a network: (value - mean) / std, values in [0, 1]."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


IMAGENET = Coding()
"""torchvision's ImageNet statistics; the released files were trained with them."""

LITE0 = Coding((127 / 255,) * 3, (128 / 255,) * 3)
"""What the ImageNet weights of EfficientNet-Lite0 were trained with."""

RELEASED: dict[str, UNetConfig] = {
    "artistic": UNetConfig("resnet34", "deep", 1.5),
    "stable": UNetConfig("resnet101", "wide", 2.0),
}
"""Shapes of the released generators."""

COMPACT: dict[str, UNetConfig] = {
    "artistic": UNetConfig("efficientnet_lite0", "deep", 12 / 17, 0.25, half=True),
    "stable": UNetConfig("efficientnet_lite0", "wide", 0.25, 0.25, half=True),
}
"""Shapes of the generators that ship with the package; 12/17 makes the widest blocks 192 and 96
channels, multiples of the processor's vectors."""


class DeOldify(UNet):
    """The U-Net together with its picture coding.

    `forward` maps normalised tensors, as the released files do; `colorize` maps pictures.
    """

    multiple = 32
    """Sides are rounded to multiples of this. Any even side works; multiples of the encoder's
    stride keep the maps of all its levels aligned, as they were in training."""

    minimum = 32
    """The shortest side."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: UNetConfig, coding: Coding = IMAGENET) -> None:
        super().__init__(config)
        self.coding = coding
        # Not persistent: the released files do not hold them.
        self.register_buffer("mean", torch.tensor(coding.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(coding.std).view(3, 1, 1), persistent=False)

    def colorize(self, gray: Tensor) -> Tensor:
        """Grey (B, 1, H, W) in [0, 1], sides even, to sRGB (B, 3, H, W), not clipped."""
        rgb = self(self.encode(gray))
        return cast(Tensor, rgb.float() * self.std + self.mean)

    def encode(self, picture: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [0, 1] to the normalised (B, 3, H, W) that the network takes."""
        return (picture - self.mean) / self.std

    def card_config(self) -> dict[str, Any]:
        """What a weight file's card states of the network's shape."""
        return asdict(self.config)


def build(
    model: str, config: Mapping[str, Any] | None = None, coding: Mapping[str, Any] | None = None
) -> DeOldify:
    """An untrained generator: the released shape of `model`, or the one that a card states."""
    shape = RELEASED[model] if config is None else UNetConfig(**config)
    if coding is None:
        return DeOldify(shape)
    return DeOldify(shape, Coding(tuple(coding["mean"]), tuple(coding["std"])))


def load(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
    *,
    batch_norms: bool = True,
) -> DeOldify:
    """The generator that a weight file holds, ready for inference: eval mode, norms folded.

    Args:
        model: `artistic` or `stable`.
        state: Tensors by key, of a released file or of one of ours (norms already folded).
        config: Shape from the file's card; without one, the released shape.
        coding: Mean and std from the file's card; without one, ImageNet's.
        batch_norms: Fold BatchNorms, too.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    net = build(model, config, coding).eval()
    if not any(key.endswith("weight_orig") for key in state):
        fold_weight_norms(net)
    check_fit(model, state, net.state_dict(), identify(state))
    net.load_state_dict(state)
    fold_weight_norms(net)
    if batch_norms:
        fold_batch_norms(net)
    return net.requires_grad_(False)


def tensors(net: DeOldify) -> dict[str, Tensor]:
    """What a weight file holds of a network: weight norms folded (in `net`), BatchNorms not."""
    return dict(fold_weight_norms(net.eval()).state_dict())


def convert(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> Weights:
    """What a weight file of ours holds of that network, from any of its layouts.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    net = load(model, state, config, coding, batch_norms=False)
    return Weights(tensors(net), net.card_config(), asdict(net.coding))


def identify(state: Mapping[str, Tensor]) -> str | None:
    """`artistic`, `stable` or None, from the keys that only one of them has."""
    for model, stem in (
        ("artistic", "layers.4.conv1.0.weight"),
        ("stable", "layers.4.conv.0.weight"),
    ):
        if stem in state or f"{stem}_orig" in state:
            return model
    return None


class Critic(nn.Sequential):
    """DeOldify's critic: (B, 3, H, W) normalised pictures to (B, n) logits, one a patch.

    At 128 px n = 25, at 192 px n = 81.

    Args:
        width: Channels of the first convolution; the released critics have 256.
        dropout: Probability of Dropout2d, halved behind the first convolution.
    """

    def __init__(self, width: int = 256, dropout: float = 0.15) -> None:
        blocks: list[nn.Module] = [
            _critic_conv(3, width, 4, 2),
            nn.Dropout2d(dropout / 2),
            _critic_conv(width, width, 3, 1),
            nn.Dropout2d(dropout),
            _critic_conv(width, 2 * width, 4, 2, attention=True),
            _critic_conv(2 * width, 2 * width, 3, 1),
            nn.Dropout2d(dropout),
            _critic_conv(2 * width, 4 * width, 4, 2),
            _critic_conv(4 * width, 4 * width, 3, 1),
            nn.Dropout2d(dropout),
            _critic_conv(4 * width, 8 * width, 4, 2),
            _critic_conv(8 * width, 8 * width, 3, 1),
            nn.Sequential(SpectralConv2d(8 * width, 1, 4, bias=False)),
            nn.Flatten(),
        ]
        super().__init__(*blocks)


def _critic_conv(
    c_in: int, c_out: int, kernel: int, stride: int, *, attention: bool = False
) -> nn.Sequential:
    conv = SpectralConv2d(c_in, c_out, kernel, stride=stride, pad=(kernel - 1) // 2, bias=True)
    parts: list[nn.Module] = [conv, nn.LeakyReLU(0.2)]
    if attention:
        parts.append(SelfAttention(c_out))
    return nn.Sequential(*parts)
