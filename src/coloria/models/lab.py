"""What the networks that work in Lab share: lightness in, a* and b* out, hints beside.

Zhang et al. 2016 (arXiv:1603.08511) and 2017 (arXiv:1705.02999); richzhang/colorization
(BSD-2-Clause) for the coding.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from coloria.color import fit_gamut, lightness

LIGHT_MEAN, LIGHT_UNIT = 50.0, 100.0
"""L* enters the networks as (L* - 50) / 100."""

AB_UNIT = 110.0
"""a* and b* enter and leave the networks as shares of this."""

Shared = Literal["both", "classes", "colours"]
"""Which of two heads may move the layers that they share."""


class Colors(NamedTuple):
    """What a network says of a picture."""

    logits: Tensor
    """(B, Q, H / 4, W / 4): one for each colour class."""
    ab: Tensor
    """(B, 2, H, W) a*, b*."""


class LabNet(nn.Module):
    """A network from lightness to chroma, as the picture path and the trainer see it."""

    multiple: int
    """Both sides of the input must be multiples of this, in pixels."""
    minimum: int
    """The shortest side, in pixels."""
    hints: bool
    """Whether it takes colour hints."""

    def forward(
        self,
        gray: Tensor,
        hint_ab: Tensor | None = None,
        mask: Tensor | None = None,
        shared: Shared = "both",
    ) -> Colors:
        """Grey pictures and colour hints to classes and colours.

        Args:
            gray: (B, 1, H, W) sRGB grey in [0, 1].
            hint_ab: (B, 2, H, W) a*, b* of the hints, 0 where there is none; None for no hints.
            mask: (B, 1, H, W) 1 where there is a hint, else 0.
            shared: Training only: which head's gradient reaches the layers that both share.
        """
        raise NotImplementedError

    def colorize(
        self, gray: Tensor, hint_ab: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Grey (B, 1, H, W) in [0, 1] to sRGB (B, 3, H, W) of the same lightness, with chroma
        reduced until it is inside sRGB; hints as in :meth:`forward`.
        """
        return colored(gray, self(gray, hint_ab, mask).ab)

    def card_config(self) -> dict[str, Any]:
        """What a weight file's card states of the network's shape."""
        raise NotImplementedError

    def coding(self) -> dict[str, Any]:
        """What a weight file's card states of its input."""
        return {"input": "L*", "mean": [LIGHT_MEAN], "std": [LIGHT_UNIT], "ab": AB_UNIT}

    def bins(self) -> Tensor:
        """(Q, 2) a*, b* of the classes."""
        raise NotImplementedError

    def frozen(self) -> list[nn.Module]:
        """Parts that never move in training."""
        return []


@torch.no_grad()
def light_of(gray: Tensor) -> Tensor:
    """L* (B, 1, H, W) in [0, 100] of grey in [0, 1], in float32 also under autocast."""
    with torch.autocast(gray.device.type, enabled=False):
        return lightness(gray.float())


@torch.no_grad()
def colored(gray: Tensor, ab: Tensor) -> Tensor:
    """SRGB (B, 3, H, W) inside the gamut, of grey (B, 1, H, W) in [0, 1] and a*, b*."""
    with torch.autocast(gray.device.type, enabled=False):
        lab = torch.cat([lightness(gray.float()), ab.float()], dim=1)
        return torch.stack([fit_gamut(one) for one in lab])


def code_lightness(light: Tensor) -> Tensor:
    """L* as the networks take it."""
    return (light - LIGHT_MEAN) / LIGHT_UNIT


def widened(channels: int, width: float) -> int:
    """Channels times a factor, 1 at least."""
    return max(1, round(channels * width))


def block(
    c_in: int, c_out: int, count: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """So many 3x3 convolutions with ReLU, then a BatchNorm; the last has the stride."""
    parts: list[nn.Module] = []
    for index in range(count):
        step = stride if index == count - 1 else 1
        parts += [nn.Conv2d(c_in, c_out, 3, step, dilation, dilation), nn.ReLU()]
        c_in = c_out
    return nn.Sequential(*parts, nn.BatchNorm2d(c_out))
