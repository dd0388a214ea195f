"""`eccv16`: colour as one of 313 classes a pixel.

Zhang, Isola, Efros 2016 (arXiv:1603.08511); keys and shapes are those of the released file of
richzhang/colorization (code BSD-2-Clause).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from coloria.models.bins import annealed_mean, gamut_bins
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
class Eccv16Config:
    """The shape of the network; the defaults are those of the released file."""

    width: float = 1.0
    """Factor on all channels."""
    temperature: float = 1.0
    """T of the annealed mean, relative to the logits as they are stored: the released file has the
    paper's 0.38 in its last layer already, so 1 is right for it; what the trainer here makes
    holds plain logits."""


class Eccv16(LabNet):
    """Lightness to a distribution over 313 colours at a quarter of the size, and its mean.

    Args:
        config: Its shape.
    """

    multiple = 8
    minimum = 8
    hints = False

    def __init__(self, config: Eccv16Config) -> None:
        super().__init__()
        self.config = config
        c64, c128, c256, c512 = (widened(n, config.width) for n in (64, 128, 256, 512))
        self.model1 = block(1, c64, 2, stride=2)
        self.model2 = block(c64, c128, 2, stride=2)
        self.model3 = block(c128, c256, 3, stride=2)
        self.model4 = block(c256, c512, 3)
        self.model5 = block(c512, c512, 3, dilation=2)
        self.model6 = block(c512, c512, 3, dilation=2)
        self.model7 = block(c512, c512, 3)
        bins = gamut_bins()
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(c512, c256, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(c256, c256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c256, c256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c256, len(bins), 1),
        )
        self.model_out = nn.Conv2d(len(bins), 2, 1, bias=False)
        # The bins themselves; they are no weights to be learnt.
        self.model_out.weight = nn.Parameter((bins.T / AB_UNIT)[..., None, None], False)

    def bins(self) -> Tensor:
        """(313, 2) a*, b* of the classes."""
        return (self.model_out.weight[..., 0, 0].T * AB_UNIT).detach()

    def from_lightness(self, light: Tensor) -> Colors:
        """L* (B, 1, H, W) in [0, 100], any H and W, to logits at a quarter of the size (rounded up
        to 2) and a*, b* (B, 2, H, W).
        """
        x = code_lightness(light)
        for part in (self.model1, self.model2, self.model3, self.model4, self.model5):
            x = part(x)
        logits = self.model8(self.model7(self.model6(x))).float()
        ab = annealed_mean(logits, self.bins(), self.config.temperature)
        ab = F.interpolate(ab, scale_factor=4.0, mode="bilinear", align_corners=False)
        return Colors(logits, ab[..., : light.shape[-2], : light.shape[-1]])

    def forward(
        self,
        gray: Tensor,
        hint_ab: Tensor | None = None,
        mask: Tensor | None = None,
        shared: Shared = "both",
    ) -> Colors:
        """Grey (B, 1, H, W) in [0, 1] to classes and colours; it knows no hints."""
        del hint_ab, mask, shared
        return self.from_lightness(light_of(gray))

    def card_config(self) -> dict[str, Any]:
        return asdict(self.config)

    def frozen(self) -> list[nn.Module]:
        return [self.model_out]
