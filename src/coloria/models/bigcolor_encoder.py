"""Encoders of BigColor: a grey picture to the feature map that BigGAN's generator is entered with.

KIMGEONUNG/BigColor (MIT); Kim et al., ECCV 2022 (arXiv:2207.09685). The released ones differ in
depth only, so that one table tells them apart. The compact one stands on EfficientNet-Lite0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.models.biggan import SHARED
from coloria.models.biggan_layers import BN_EPS, Attention, ConditionalNorm
from coloria.models.deoldify import LITE0
from coloria.models.encoders import EfficientNetLite0

LAYERS: dict[int, tuple[tuple[int, bool], ...]] = {
    64: ((1, False), (2, True), (4, True), (4, False)),
    32: ((1, False), (2, True), (4, True), (8, True), (8, False)),
    16: ((1, False), (2, True), (4, True), (8, True), (8, True)),
    8: ((1, False), (2, True), (4, True), (8, True), (8, True), (16, True)),
    1: ((1, False), (2, True), (4, True), (4, True), (4, True), (4, True), (4, True)),
}
"""For each side of the feature map of a picture of 256: channels out of each block, times the
width, and whether it halves the size."""

UNDROPPED = {1: 2}
"""How many of the last blocks have no dropout; one elsewhere."""

ATTENTION = 3
"""The block that attention follows, where there is any."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "lrelu": lambda: nn.LeakyReLU(0.2),
    "sigmoid": nn.Sigmoid,
}

CONDITIONED = ("adabatch", "adain")
"""Norms that know the class."""

Shape = tuple[str, str, bool, float]


class EncoderBlock(nn.Module):
    """Two 3x3 convolutions behind their norms, and a 1x1 convolution as shortcut.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        norm: Kind of norm, one of :data:`NORMS`.
        activation: One of :data:`ACTIVATIONS`.
        down: Halve H and W.
        dropout: Probability of setting a value to 0.
        shortcut: Have one.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        norm: str,
        activation: str = "relu",
        *,
        down: bool = False,
        dropout: float = 0.0,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        self.down = down
        if shortcut:
            self.conv = nn.Conv2d(c_in, c_out, 1)
        self.conv_1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv_2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.normalize_1 = NORMS[norm](c_in)
        self.normalize_2 = NORMS[norm](c_out)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.activation(_normalized(self.normalize_1, x, embedding))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        h = self.activation(_normalized(self.normalize_2, self.conv_1(h), embedding))
        h = self.conv_2(h)
        return cast(Tensor, self.dropout(h + self.conv(x) if hasattr(self, "conv") else h))


class Encoder(nn.Module):
    """The published encoders.

    Args:
        width: Channels of the first block; the released weights have 96.
        dim_f: Side of the feature map for pictures of 256, a key of :data:`LAYERS`.
        dim_z: With `dim_f` 1, length of the vector that comes out.
        norm: Kind of norm, one of :data:`NORMS`.
        activation: One of :data:`ACTIVATIONS`.
        dropout: Of all blocks but the last.
        shortcut: Whether the blocks have shortcuts.
        attention: Put self-attention behind the third block; for 16, 32 and 64.
    """

    def __init__(
        self,
        width: int,
        dim_f: int,
        dim_z: int,
        norm: str,
        activation: str,
        *,
        dropout: float,
        shortcut: bool,
        attention: bool,
    ) -> None:
        super().__init__()
        layers = LAYERS[dim_f]
        self.depth = len(layers)
        if attention:  # first, as in the released layout
            self.att = Attention(layers[ATTENTION - 1][0] * width)
        c_in = 1
        for index, (times, down) in enumerate(layers, 1):
            drops = index <= self.depth - UNDROPPED.get(dim_f, 1)
            block = EncoderBlock(
                c_in,
                times * width,
                norm,
                activation,
                down=down,
                dropout=dropout if drops else 0.0,
                shortcut=shortcut,
            )
            setattr(self, f"res{index}", block)
            c_in = times * width
        if dim_f == 1:
            self.linear = nn.Linear(c_in, dim_z)

    def forward(self, gray: Tensor, embedding: Tensor | None) -> Tensor:
        """(B, 1, H, W) in [0, 1] to (B, C, H / s, W / s), or with `dim_f` 1 to (B, dim_z)."""
        h = gray
        for index in range(1, self.depth + 1):
            h = getattr(self, f"res{index}")(h, embedding)
            if index == ATTENTION and hasattr(self, "att"):
                h = self.att(h)
        if hasattr(self, "linear"):
            h = self.linear(h.mean((2, 3)))
        return h

    def body(self) -> list[nn.Module]:
        """What a trained encoder is: all of it."""
        return [self]

    def early(self) -> list[nn.Module]:
        """Its layers of general use."""
        return [getattr(self, f"res{index}") for index in range(1, ATTENTION + 1)]


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0's maps at strides 8, 16 and 32, joined at stride 8.

    Args:
        channels: C of the feature map.
        dropout: Of the joined map.
    """

    taps = (2, 3, 4)
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.net = EfficientNetLite0()
        self.join = nn.Conv2d(sum(self.net.channels[tap] for tap in self.taps), channels, 1)
        self.block = EncoderBlock(channels, channels, "batch", dropout=dropout)
        self.register_buffer("mean", torch.tensor(LITE0.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(LITE0.std).view(3, 1, 1), persistent=False)

    def forward(self, gray: Tensor, embedding: Tensor | None) -> Tensor:
        """(B, 1, H, W) in [0, 1], sides multiples of 32, to (B, C, H / 8, W / 8)."""
        maps = self.net((gray - self.mean) / self.std)
        finest = maps[self.taps[0]].shape[2:]
        joined = [F.interpolate(maps[tap], finest, mode="bilinear") for tap in self.taps]
        return cast(Tensor, self.block(self.join(torch.cat(joined, 1)), embedding))

    def body(self) -> list[nn.Module]:
        """What ImageNet has trained."""
        return [self.net]

    def early(self) -> list[nn.Module]:
        """Its layers of general use."""
        return self.net.early()


def _layer_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels, BN_EPS)  # over C, H and W: any size will do


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "adabatch": lambda channels: ConditionalNorm(channels, SHARED, spectral=False),
    "adain": lambda channels: ConditionalNorm(channels, SHARED, spectral=False, instance=True),
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "layer": _layer_norm,
    "id": lambda channels: nn.Identity(),
}
"""The encoder's norms by name, made from the number of channels."""


def _normalized(norm: nn.Module, x: Tensor, embedding: Tensor | None) -> Tensor:
    """With the class, where the norm knows it."""
    return cast(Tensor, norm(x, embedding) if isinstance(norm, ConditionalNorm) else norm(x))
