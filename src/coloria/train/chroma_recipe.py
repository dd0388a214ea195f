"""The recipe of `eccv16` and `siggraph17` as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field, model_validator

from coloria.config import Recipe, Strict
from coloria.models import chroma
from coloria.models.eccv16 import Eccv16Config
from coloria.models.hint_unet import HintUNetConfig
from coloria.models.registry import Weights
from coloria.models.siggraph17 import Siggraph17Config
from coloria.train.scheduled import ScheduledStage


class ChromaNetwork(Strict):
    """The network: that of the paper, or for siggraph17 a small U-Net over an encoder."""

    width: float = Field(default=1.0, gt=0, description="factor on the paper's channels")
    temperature: float = Field(
        default=0.38,
        gt=0,
        description="eccv16: T of the annealed mean, 1 the mean colour, towards 0 the likeliest",
    )
    encoder: Literal["none", "efficientnet_lite0"] = Field(
        default="none", description="siggraph17: the compact network over this encoder"
    )
    factor: float = Field(
        default=HintUNetConfig.factor, gt=0, description="with an encoder: width of the decoder"
    )
    middle: int = Field(
        default=HintUNetConfig.middle,
        gt=0,
        description="with an encoder: channels at the deepest map",
    )
    hints: int = Field(
        default=HintUNetConfig.hints,
        gt=0,
        description="with an encoder: channels of the hints beside each of its maps",
    )
    pretrained: str = Field(
        default="imagenet",
        description="what the encoder starts from: imagenet, none, or the path of a weight file",
    )

    def shape(self, model: str) -> dict[str, Any]:
        """What :func:`coloria.models.chroma.build` takes."""
        if model == "eccv16":
            return asdict(Eccv16Config(self.width, self.temperature))
        if self.encoder == "none":
            return asdict(Siggraph17Config(self.width))
        return asdict(HintUNetConfig(self.encoder, self.factor, self.middle, self.hints))


class ClassConfig(Strict):
    """How true colours become classes."""

    neighbours: int = Field(
        default=5,
        ge=1,
        le=50,
        description="bins that share a colour: 5 in the paper, 10 in the released layer, 1 for a "
        "hard class",
    )
    sigma: float = Field(
        default=5.0, gt=0, description="of their Gaussian weights, in units of a* and b*"
    )
    rebalance: bool = Field(default=True, description="rare colours count more")
    prior_sigma: float = Field(
        default=5.0, gt=0, description="smoothing of how common colours are, units of a* and b*"
    )
    uniform: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="lambda of the paper: share of the uniform distribution in the weights; 1: "
        "all colours count the same",
    )
    prior_photos: int = Field(
        default=2000, gt=0, description="photographs whose colours are counted at most"
    )


class ChromaLosses(Strict):
    """Weights of the parts of the loss."""

    classes: float = Field(default=1.0, ge=0, description="weight of the colour classes")
    colours: float = Field(
        default=0.0, ge=0, description="weight of the Huber loss on a* and b*, in units of 100"
    )
    beta: float = Field(
        default=1.0, gt=0, description="where the Huber loss turns linear, in units of a* and b*"
    )
    emphasis: float = Field(
        default=0.0,
        ge=0,
        description="extra weight of a pixel in the Huber loss for each 100 units of true chroma",
    )

    @model_validator(mode="after")
    def _something(self) -> ChromaLosses:
        if not (self.classes or self.colours):
            raise ValueError("at least one of classes and colours must be above 0")
        return self


class ChromaOptimizer(Strict):
    """Adam."""

    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="decay of the two moments")
    weight_decay: float = Field(default=1e-3, ge=0, description="pull of the weights towards 0")
    decoupled: bool = Field(
        default=True, description="p <- p (1 - wd lr) as in AdamW; false: added to the gradient"
    )


class ChromaStage(ScheduledStage):
    """Training at one size and one rate."""

    shared: Literal["both", "classes", "colours"] = Field(
        default="both", description="siggraph17: which head moves the layers that both share"
    )
    hints_stop: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="siggraph17: the number of hints is geometric; probability of no more, before "
        "each one; 1: none",
    )
    train: Literal["all", "decoder"] = Field(
        default="all", description="what moves: all, or all but the encoder"
    )


class ChromaRecipe(Recipe):
    """A whole training of `eccv16` or `siggraph17`."""

    model: Literal["eccv16", "siggraph17"] = Field(description="which model the weights are for")
    network: ChromaNetwork = Field(default=ChromaNetwork(), description="the network")
    classes: ClassConfig = Field(default=ClassConfig(), description="colours as classes")
    losses: ChromaLosses = Field(default=ChromaLosses(), description="the loss")
    optimizer: ChromaOptimizer = Field(default=ChromaOptimizer(), description="the optimiser")
    stages: list[ChromaStage] = Field(min_length=1, description="what is done, in order")

    @model_validator(mode="after")
    def _agrees(self) -> ChromaRecipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"every stage needs a name of its own; got {', '.join(names)}")
        if self.model == "eccv16" and self.network.encoder != "none":
            raise ValueError("network.encoder is for siggraph17; eccv16 has none")
        if self.model == "eccv16" and not self.losses.classes:
            raise ValueError("eccv16 learns by its classes: losses.classes must be above 0")
        return self


def weights(recipe: ChromaRecipe, state: Mapping[str, Any]) -> Weights:
    """What a weight file holds after a training: the average where there is one, for that is
    what was validated.
    """
    net = chroma.build(recipe.model, recipe.network.shape(recipe.model))
    net.load_state_dict(state["ema"]["average"] if state["ema"] else state["net"])
    return Weights(chroma.tensors(net), net.card_config(), {**net.coding(), **recipe.use()})
