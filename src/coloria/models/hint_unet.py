"""The compact `siggraph17`: its two heads and its hints on a small U-Net.

The encoder sees the grey picture alone, so that its ImageNet weights stay true; the hints enter
beside it at every depth, pooled to each map's size. There a hint of one pixel is as visible as a
large one, and at the deepest maps it reaches the whole picture. Heads and training follow Zhang et
al. 2017 (arXiv:1705.02999), the decoder's blocks DeOldify (MIT).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.models.bins import grid_bins
from coloria.models.deoldify import LITE0
from coloria.models.encoders import ENCODERS, Encoder
from coloria.models.lab import AB_UNIT, Colors, LabNet, Shared
from coloria.models.layers import ResidualBlock, SpectralConv2d, skip_batch_norm, spectral_block
from coloria.models.unet import DeepUp

HINT_PLANES = 3
"""a*, b* and presence."""


@dataclass(frozen=True)
class HintUNetConfig:
    """Its shape; the defaults are those of the network that ships with the package."""

    encoder: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    factor: float = 0.65
    """Width of the decoder's blocks, as a share of the channels they join."""
    middle: int = 64
    """Channels of the block at the deepest map."""
    hints: int = 8
    """Channels that the hints get beside each of the encoder's maps."""


class HintUNet(LabNet):
    """529 classes at a quarter of the size, and colours worked out at half of it.

    Args:
        config: Its shape.
    """

    multiple = 32
    minimum = 32
    hints = True

    mean: Tensor
    std: Tensor

    def __init__(self, config: HintUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: Encoder = ENCODERS[config.encoder]()
        *skips, deepest = (channels + config.hints for channels in self.encoder.channels)
        self.hint = nn.ModuleList(
            nn.Conv2d(HINT_PLANES, config.hints, 3, padding=1) for _ in self.encoder.channels
        )
        self.norm = skip_batch_norm(deepest)
        self.middle = spectral_block(deepest, config.middle)
        channels, ups = config.middle, []
        for index, skip in enumerate(reversed(skips)):
            up = DeepUp(channels, skip, config.factor, attention=index == 1, last=index == 3)
            ups.append(up)
            channels = up.channels
        self.ups = nn.ModuleList(ups)
        self.classes = nn.Conv2d(ups[2].channels, len(grid_bins()), 1)
        joined = channels + 1 + HINT_PLANES
        self.residual = ResidualBlock(joined)
        self.colours = SpectralConv2d(joined, 2, 1, bias=True)
        self.register_buffer("mean", torch.tensor(LITE0.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(LITE0.std).view(3, 1, 1), persistent=False)

    def forward(
        self,
        gray: Tensor,
        hint_ab: Tensor | None = None,
        mask: Tensor | None = None,
        shared: Shared = "both",
    ) -> Colors:
        """Grey (B, 1, H, W) in [0, 1], any sides, and hints to classes and colours."""
        height, width = gray.shape[-2:]
        gray = _filled_up(gray, self.multiple)
        if hint_ab is not None and mask is not None:
            hint_ab, mask = _filled_up(hint_ab, self.multiple), _filled_up(mask, self.multiple)
        pictures = (gray - self.mean) / self.std
        hints = [pooled(gray, hint_ab, mask, 2 ** (depth + 1)) for depth in range(5)]
        maps = [
            torch.cat([seen, conv(hint).to(seen.dtype)], dim=1)
            for seen, conv, hint in zip(self.encoder(pictures), self.hint, hints, strict=True)
        ]
        y = self.middle(F.relu(self.norm(maps[4])))
        for up, skip in zip(self.ups[:3], maps[3:0:-1], strict=True):
            y = up(y, skip)
        logits = self.classes(y.detach() if shared == "colours" else y)
        y = self.ups[3](y.detach() if shared == "classes" else y, maps[0])
        near = torch.cat([F.avg_pool2d(pictures[:, :1], 2), hints[0]], dim=1)
        y = self.colours(self.residual(torch.cat([y, near.to(y.dtype)], dim=1)))
        ab = AB_UNIT * torch.tanh(y.float())
        ab = F.interpolate(ab, scale_factor=2.0, mode="bilinear", align_corners=False)
        logits = logits.float()[..., : -(-height // 4), : -(-width // 4)]
        return Colors(logits, ab[..., :height, :width])

    def bins(self) -> Tensor:
        """(529, 2) a*, b* of the classes."""
        return grid_bins().to(self.mean.device)

    def card_config(self) -> dict[str, Any]:
        return asdict(self.config)

    def coding(self) -> dict[str, Any]:
        return {"input": "grey", "mean": list(LITE0.mean), "std": list(LITE0.std), "ab": AB_UNIT}


def _filled_up(x: Tensor, multiple: int) -> Tensor:
    """Continued below and to the right by its last row and column to multiples of a side."""
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


def pooled(gray: Tensor, hint_ab: Tensor | None, mask: Tensor | None, side: int) -> Tensor:
    """The hints of each square of `side` pixels: their mean colour, as a share of 110, and 1 if
    there is any: (B, 3, H / side, W / side).
    """
    if hint_ab is None or mask is None:
        batch, _, height, width = gray.shape
        return gray.new_zeros(batch, HINT_PLANES, height // side, width // side)
    share = F.avg_pool2d(mask, side)
    colour = F.avg_pool2d(hint_ab * mask, side) / share.clamp(min=1 / side**2)
    planes = torch.cat([colour / AB_UNIT, (share > 0).to(share.dtype)], dim=1)
    return planes.contiguous(memory_format=torch.channels_last)
