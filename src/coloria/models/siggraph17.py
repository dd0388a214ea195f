"""`siggraph17`: colours from lightness and from hints that a person gives.

Zhang, Zhu, Isola, Geng, Lin, Yu, Efros 2017 (arXiv:1705.02999); keys and shapes are those of the
released file of richzhang/colorization (code BSD-2-Clause). Its own code computes the last two
blocks twice; once is enough.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coloria.models.bins import grid_bins
from coloria.models.lab import (
    AB_UNIT,
    Colors,
    LabNet,
    Shared,
    block,
    code_lightness,
    light_of,
    widened,
)


@dataclass(frozen=True)
class Siggraph17Config:
    """The shape of the network; the defaults are those of the released file."""

    width: float = 1.0
    """Factor on all channels."""
    mask_center: float = 0.0
    """Subtracted from the mask. The released file wants 0; weights that ideepcolor trained anew in
    PyTorch (its `pytorch.pth`) want 0.5, and colour wildly without."""


class Siggraph17(LabNet):
    """A U-Net with added skips and two heads: 529 classes at a quarter of the size, and colours.

    Args:
        config: Its shape.
    """

    multiple = 8
    minimum = 8
    hints = True

    def __init__(self, config: Siggraph17Config) -> None:
        super().__init__()
        self.config = config
        c64, c128, c256, c512 = (widened(n, config.width) for n in (64, 128, 256, 512))
        self.model1 = block(4, c64, 2)
        self.model2 = block(c64, c128, 2)
        self.model3 = block(c128, c256, 3)
        self.model4 = block(c256, c512, 3)
        self.model5 = block(c512, c512, 3, dilation=2)
        self.model6 = block(c512, c512, 3, dilation=2)
        self.model7 = block(c512, c512, 3)
        self.model8up = nn.Sequential(nn.ConvTranspose2d(c512, c256, 4, 2, 1))
        self.model3short8 = nn.Sequential(nn.Conv2d(c256, c256, 3, padding=1))
        self.model8 = nn.Sequential(nn.ReLU(), *block(c256, c256, 2))
        self.model9up = nn.Sequential(nn.ConvTranspose2d(c256, c128, 4, 2, 1))
        self.model2short9 = nn.Sequential(nn.Conv2d(c128, c128, 3, padding=1))
        self.model9 = nn.Sequential(nn.ReLU(), *block(c128, c128, 1))
        self.model10up = nn.Sequential(nn.ConvTranspose2d(c128, c128, 4, 2, 1))
        self.model1short10 = nn.Sequential(nn.Conv2d(c64, c128, 3, padding=1))
        self.model10 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(c128, c128, 3, padding=1), nn.LeakyReLU(0.2)
        )
        self.model_class = nn.Sequential(nn.Conv2d(c256, len(grid_bins()), 1))
        self.model_out = nn.Sequential(nn.Conv2d(c128, 2, 1), nn.Tanh())

    def bins(self) -> Tensor:
        """(529, 2) a*, b* of the classes."""
        return grid_bins().to(next(self.parameters()).device)

    def from_lightness(
        self,
        light: Tensor,
        hint_ab: Tensor | None = None,
        mask: Tensor | None = None,
        shared: Shared = "both",
    ) -> Colors:
        """L* (B, 1, H, W) in [0, 100], sides multiples of 8, and hints as in `forward`."""
        one, two, eight = self._trunk(self._code(light, hint_ab, mask))
        logits = self.model_class(eight.detach() if shared == "colours" else eight)
        if shared == "classes":
            one, two, eight = one.detach(), two.detach(), eight.detach()
        nine = self.model9(self.model9up(eight) + self.model2short9(two))
        ten = self.model10(self.model10up(nine) + self.model1short10(one))
        return Colors(logits.float(), self.model_out(ten).float() * AB_UNIT)

    def _code(self, light: Tensor, hint_ab: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, 4, H, W): lightness, a*, b* and mask as the network takes them."""
        ab = torch.zeros_like(light).repeat(1, 2, 1, 1) if hint_ab is None else hint_ab
        known = torch.zeros_like(light) if mask is None else mask
        return torch.cat([code_lightness(light), ab / AB_UNIT, known - self.config.mask_center], 1)

    def _trunk(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at strides 1 and 2, and the one at stride 4 that both heads start from."""
        one = self.model1(x)
        two = self.model2(_halved(one))
        three = self.model3(_halved(two))
        deep = self.model7(self.model6(self.model5(self.model4(_halved(three)))))
        eight = self.model8(self.model8up(deep) + self.model3short8(three))
        return one, two, eight

    def forward(
        self,
        gray: Tensor,
        hint_ab: Tensor | None = None,
        mask: Tensor | None = None,
        shared: Shared = "both",
    ) -> Colors:
        """Grey (B, 1, H, W) in [0, 1], sides multiples of 8, and hints to classes and colours."""
        return self.from_lightness(light_of(gray), hint_ab, mask, shared)

    def card_config(self) -> dict[str, Any]:
        return asdict(self.config)


def _halved(x: Tensor) -> Tensor:
    """Every second row and column: the network has no convolutions with strides."""
    return x[..., ::2, ::2]
