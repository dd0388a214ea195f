"""The U-Net of DeOldify over any encoder, in its deep and its wide form.

U-Net: Ronneberger et al. 2015 (arXiv:1505.04597). The dynamic form and the blocks follow
jantic/DeOldify (MIT) and fastai; attribute names are those of the released files' keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.models.encoders import ENCODERS, Encoder
from coloria.models.layers import (
    ResidualBlock,
    ShuffleUp,
    SpectralConv2d,
    skip_batch_norm,
    spectral_block,
)

OUTPUT_RANGE = 3.0
"""The output lies in (-3, 3) normalised units, which covers black to white."""

WIDE_CHANNELS = 512
"""Channels of the wide decoder at factor 1."""


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a U-Net; the defaults are those of the released `artistic`."""

    encoder: Literal["resnet34", "resnet101", "efficientnet_lite0"] = "resnet34"
    decoder: Literal["deep", "wide"] = "deep"
    factor: float = 1.5
    """Width of the decoder: of the joined channels (deep) or of 512 (wide)."""
    middle: float = 2.0
    """Width of the middle block, as a multiple of the encoder's output channels."""
    half: bool = False
    """Leave out the last shuffle: colours are worked out at half the network's size, where the
    lightness needs no more, and a step costs a third (only in compact networks)."""


class UNet(nn.Module):
    """(B, 3, H, W) normalised grey picture to (B, 3, H, W) normalised colours in (-3, 3).

    H and W must be even.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        encoder = ENCODERS[config.encoder]()
        *skips, deepest = encoder.channels
        blocks, channels = self._decoder(config, deepest, skips[::-1])
        joined = channels + 3
        self.layers = nn.ModuleList(
            [
                encoder,
                skip_batch_norm(deepest),
                nn.ReLU(),
                nn.Sequential(
                    spectral_block(deepest, int(deepest * config.middle)),
                    spectral_block(int(deepest * config.middle), deepest),
                ),
                *blocks,
                nn.Identity() if config.half else ShuffleUp(channels, channels, final=True),
                nn.Identity(),  # the join with the input; it holds no weights but counts
                ResidualBlock(joined),
                nn.Sequential(SpectralConv2d(joined, 3, 1, bias=True)),
            ]
        )

    @staticmethod
    def _decoder(
        config: UNetConfig, channels: int, skips: list[int]
    ) -> tuple[list[nn.Module], int]:
        """The up blocks, the deepest first, and the channels they end with."""
        block = DeepUp if config.decoder == "deep" else WideUp
        blocks: list[nn.Module] = []
        for index, skip in enumerate(skips):
            last = index == len(skips) - 1
            up = block(channels, skip, config.factor, attention=index == 1, last=last)
            blocks.append(up)
            channels = up.channels
        return blocks, channels

    @property
    def encoder(self) -> Encoder:
        return cast(Encoder, self.layers[0])

    def forward(self, x: Tensor) -> Tensor:
        _, norm, relu, middle, up1, up2, up3, up4, shuffle, _, residual, head = self.layers
        stride2, stride4, stride8, stride16, deepest = self.encoder(x)
        y = middle(relu(norm(deepest)))
        y = up1(y, stride16)
        y = up2(y, stride8)
        y = up3(y, stride4)
        y = shuffle(up4(y, stride2))
        inputs = F.avg_pool2d(x, 2) if self.config.half else x
        y = head(residual(torch.cat([y, inputs.to(y.dtype)], dim=1)))
        y = torch.sigmoid(y) * (2 * OUTPUT_RANGE) - OUTPUT_RANGE
        if self.config.half:
            y = F.interpolate(y, x.shape[-2:], mode="bilinear")
        return y

    def layer_groups(self) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
        """Fastai's layer groups: A the early encoder, B the late encoder, C all the rest."""
        early = self.encoder.early()
        inside = {id(m) for part in early for m in part.modules()}
        # Whatever owns parameters: timm's BatchNorms do, and have children besides.
        late = [
            module
            for module in cast(nn.Module, self.encoder).modules()
            if id(module) not in inside and list(module.parameters(recurse=False))
        ]
        return early, late, list(self.layers)[1:]


class _Up(nn.Module):
    """Upsamples what comes from below and joins it with a skip."""

    channels: int

    def __init__(self, below: int, up: int, skip: int) -> None:
        super().__init__()
        self.shuf = ShuffleUp(below, up)
        self.bn = skip_batch_norm(skip)

    def join(self, below: Tensor, skip: Tensor) -> Tensor:
        # Always resized, also where the sizes agree: a branch on the shape would pin an
        # exported graph to one size.
        up = F.interpolate(self.shuf(below), skip.shape[-2:], mode="nearest")
        return F.relu(torch.cat([up, self.bn(skip)], dim=1))


class DeepUp(_Up):
    """Up block of `artistic`: two convolutions."""

    def __init__(
        self, below: int, skip: int, factor: float, *, attention: bool, last: bool
    ) -> None:
        super().__init__(below, below // 2, skip)
        joined = below // 2 + skip
        self.channels = int((joined // 2 if last else joined) * factor)
        self.conv1 = spectral_block(joined, self.channels)
        self.conv2 = spectral_block(self.channels, self.channels, attention=attention)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(self.conv1(self.join(below, skip))))


class WideUp(_Up):
    """Up block of `stable`: one convolution, the same width at every depth but the last."""

    def __init__(
        self, below: int, skip: int, factor: float, *, attention: bool, last: bool
    ) -> None:
        wide = int(WIDE_CHANNELS * factor)
        self_channels = (wide // 2 if last else wide) // 2
        super().__init__(below, self_channels, skip)
        self.channels = self_channels
        self.conv = spectral_block(self_channels + skip, self_channels, attention=attention)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.conv(self.join(below, skip)))
