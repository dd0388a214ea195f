"""The recipe of `zhang`: which network, which loss, how long; and what a weight file gets of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field, model_validator

from coloria.config import Probability, Recipe, Strict
from coloria.models.registry import Weights
from coloria.models.zhang import ZhangConfig
from coloria.train.scheduled import ScheduledStage

__all__ = ["KerasLoss", "KerasNetwork", "KerasRecipe", "KerasStage", "weights"]


class KerasNetwork(Strict):
    """The U-Net."""

    width: float = Field(default=1.0, gt=0, description="factor on the number of all filters")
    dropout: Probability = Field(
        default=0.0, lt=1, description="share of the values dropped on the way up, 0..1"
    )


class KerasLoss(Strict):
    """Weights of the parts of the loss, on sRGB pictures in [0, 1]."""

    mae: float = Field(default=1.0, ge=0, description="weight of the mean absolute error")
    lab: float = Field(
        default=0.0, ge=0, description="weight of the Huber loss on a* and b*, in units of 100"
    )
    beta: float = Field(
        default=10.0, gt=0, description="where the Huber loss turns linear, in units of a* and b*"
    )
    emphasis: float = Field(
        default=0.0,
        ge=0,
        description="extra weight of a pixel in the Lab loss for each 100 units of its true chroma",
    )

    @model_validator(mode="after")
    def _something(self) -> KerasLoss:
        if not (self.mae or self.lab):
            raise ValueError("at least one of mae and lab must be above 0")
        return self


class KerasStage(ScheduledStage):
    """Training at one size, with a new Adam of Keras' own moments."""

    size: int = Field(ge=32, multiple_of=32, description="side of the square crops, pixels")


class KerasRecipe(Recipe):
    """A whole training of `zhang`."""

    model: Literal["zhang"] = Field(description="which model the weights are for")
    network: KerasNetwork = Field(default=KerasNetwork(), description="the network")
    losses: KerasLoss = Field(default=KerasLoss(), description="the loss")
    split: float | int | None = Field(
        default=None,
        gt=0,
        description="so many photographs (38950), or that share (0.95), the first ones by name, "
        "are trained on, and all others are the test part; none: data.val decides",
    )
    patience: int | None = Field(
        default=None,
        gt=0,
        description="epochs without a better figure after which a stage ends, with the weights of "
        "the best one; none: all epochs",
    )
    watch: Literal["ciede2000", "mae"] = Field(
        default="ciede2000", description="the figure of the test part that patience looks at"
    )
    stages: list[KerasStage] = Field(min_length=1, description="what is done, in order")

    @model_validator(mode="after")
    def _agrees(self) -> KerasRecipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"every stage needs a name of its own; got {', '.join(names)}")
        if self.run.ema is not None:
            raise ValueError("run.ema: this trainer keeps no average of the weights; leave it out")
        return self

    def shape(self) -> ZhangConfig:
        """The network's shape."""
        return ZhangConfig(self.network.width)


def weights(recipe: KerasRecipe, state: Mapping[str, Any]) -> Weights:
    """What a weight file holds after a training: the best epoch's weights with ``patience``."""
    best = state["best"]
    return Weights(best["net"] if best else state["net"], asdict(recipe.shape()), recipe.use())
