"""FID, the Fréchet distance of two sets of pictures: lower is better, no unit.

Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter 2017, arXiv:1706.08500: features of all
pictures by one network, their means m and covariances S, and then
``|m1 - m2|^2 + trace(S1 + S2 - 2 (S1 S2)^(1/2))``. The sums are float64, in torchmetrics' code.

A number called FID here is by the first FID's own network, InceptionV3 of 2015-12-05 (2048
features), with that one's resize to 299 x 299, as torch-fidelity has both. Other extractors give
other numbers: one by your own is "FID with NAME". Two pictures are the least, thousands give it a
meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from coloria.metrics.lpips import named
from coloria.metrics.networks import INCEPTION, locate
from coloria.metrics.sets import Pixels

Extractor = Callable[[Tensor], Tensor]
"""Features (N, D) of pictures (N, 3, H, W), uint8 sRGB."""


def check(
    extractor: Extractor | None = None,
    name: str | None = None,
    device: str = "cpu",
    download: bool = False,
) -> None:
    """Refuses before any work what could not be measured; arguments of :class:`FrechetDistance`.

    Raises:
        WeightsMissingError: The weights are not there.
        OptionError: An extractor without a name, or a name without an extractor.
    """
    named(extractor, name)
    if extractor is None:
        locate(INCEPTION, download)


class FrechetDistance:
    """FID between the predictions and the truths of a set.

    Args:
        extractor: Another one than InceptionV3.
        name: Of that one.
        device: Where the extractor runs.
        download: Fetch InceptionV3's weights if they are not there.

    Raises:
        MissingExtraError: The extra `eval` is not installed (by :mod:`coloria.metrics.table`).
        WeightsMissingError: InceptionV3's weights are not there.
        OptionError: `extractor` and `name` do not go together.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        name: str | None = None,
        device: str = "cpu",
        download: bool = False,
    ) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        check(extractor, name, device, download)
        self.title = "FID (InceptionV3)" if name is None else f"FID with {name}"
        self.device = device
        if extractor is None:
            path = str(locate(INCEPTION))
            self.state = FrechetInceptionDistance(
                feature_extractor_weights_path=path, antialias=False
            )
        else:
            self.state = FrechetInceptionDistance(_Features(extractor))
        self.state = self.state.to(device)

    def update(self, prediction: Pixels, truth: Pixels) -> None:
        """Adds one picture, sRGB (H, W, 3); the two need not be of one size."""
        for picture, real in ((prediction, False), (truth, True)):
            tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
            with torch.no_grad():
                self.state.update(tensor.to(self.device), real=real)

    def compute(self) -> float:
        """The distance; NaN for fewer than two pictures. Rounding may leave it just below 0."""
        if int(self.state.real_features_num_samples) < 2:
            return math.nan
        return float(self.state.compute())

    def merge(self, other: FrechetDistance) -> None:
        """Adds all pictures of another one."""
        self.state.merge_state(other.state)

    def reset(self) -> None:
        """Forgets all pictures."""
        self.state.reset()


class _Features(nn.Module):
    """An extractor as torchmetrics wants it; its number of features is seen on a grey picture."""

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, pictures: Tensor) -> Tensor:
        return self.extractor(pictures)
