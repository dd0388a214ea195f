"""A stage of training as data: which size, how long, at which rate."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from coloria.config import Strict

__all__ = ["WARM_UP_DIV", "ScheduledStage"]

WARM_UP_DIV = 25
"""The rate rises from this part of the largest one, as NoGAN's does."""


class ScheduledStage(Strict):
    """Training at one size, its learning rate constant or along half a cosine."""

    name: str = Field(pattern=r"^[\w.-]+$", description="short name, used for files")
    size: int = Field(ge=32, multiple_of=8, description="side of the square crops, pixels")
    batch: int = Field(gt=0, description="pictures a step, over all processes")
    epochs: int = Field(default=1, gt=0, description="passes over the data")
    share: float = Field(default=1.0, gt=0, le=1, description="share of the data in an epoch, 0..1")
    lr: float = Field(gt=0, description="learning rate, the largest one of a cosine")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="constant, or falling to 0 along half a cosine"
    )
    warm_up: float = Field(
        default=0.0, ge=0, lt=1, description="share of the steps in which the rate rises"
    )
    skip: bool = Field(default=False, description="leave this stage out")

    def rate(self, done: int, steps: int) -> float:
        """The learning rate after so many of its steps."""
        warm = self.warm_up * steps
        if done < warm:
            low = self.lr / WARM_UP_DIV
            return low + (self.lr - low) * done / warm
        return self.lr * self.factor(done - warm, steps - warm)

    def factor(self, done: float, steps: float) -> float:
        """Share of the learning rate after so many of the steps behind the warm-up."""
        if self.schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * done / steps)) / 2
