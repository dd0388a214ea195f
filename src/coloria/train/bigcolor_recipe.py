"""The recipe of `bigcolor` as data.

Values by default are those of KIMGEONUNG/BigColor (MIT). docs/reference/bigcolor-flags.md says
which flag of its `parse_args` became which key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Literal

from pydantic import Field, model_validator

from coloria.config import Recipe, RunConfig, Strict
from coloria.models import bigcolor
from coloria.models.bigcolor import ENTRY, BigColorConfig
from coloria.models.registry import Weights
from coloria.train.scheduled import ScheduledStage

Rate = float
Betas = tuple[float, float]

UNCONDITIONED = {"adabatch": "batch", "adain": "instance"}
"""The encoder's norms, and what they are without the class."""


class TaskConfig(Strict):
    """What the run is for; recorded with it, and otherwise unused."""

    name: str = Field(default="bigcolor", description="name of the task")
    detail: str = Field(default="", description="anything worth noting")


class BigColorNetwork(Strict):
    """Encoder and generator."""

    width: int = Field(default=96, gt=0, description="channels of the finest layer, of both")
    dim_f: Literal[64, 32, 16, 8, 1] = Field(
        default=16,
        description="side of the encoder's feature map for pictures of 256 pixels; it decides at "
        "which of its blocks the generator is entered: 4, 3, 2, 1, 0",
    )
    num_layer: int | None = Field(
        default=None,
        ge=0,
        le=4,
        description="that block; given, it must agree with dim_f; none: as dim_f has it",
    )
    encoder: Literal["bigcolor", "efficientnet_lite0"] = Field(
        default="bigcolor", description="bigcolor: the published one; else the compact network's"
    )
    pretrained: str = Field(
        default="imagenet",
        description="what efficientnet_lite0 starts from: imagenet, none, or the path of a file",
    )
    half: bool = Field(default=False, description="work out colours at half the network's size")
    norm_type: Literal["adabatch", "adain", "batch", "instance", "layer", "id"] = Field(
        default="adabatch", description="the encoder's norms; ada..: conditioned on the class"
    )
    activation: Literal["relu", "lrelu", "sigmoid"] = Field(
        default="relu", description="the encoder's activation; lrelu has a slope of 0.2"
    )
    weight_init: Literal["ortho", "xavier", "N02", "none"] = Field(
        default="ortho", description="the encoder's first weights; none: PyTorch's own"
    )
    no_res: bool = Field(default=False, description="leave out the encoder's shortcuts")
    no_cond_e: bool = Field(
        default=False, description="do not tell the encoder the class: adabatch is then batch"
    )
    use_attention: bool = Field(default=False, description="self-attention in the encoder")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="of the encoder's blocks")
    dim_z: int = Field(default=119, gt=0, description="length of the random vector")
    n_classes: int = Field(
        default=1000,
        ge=0,
        description="classes of the data, one a sub-folder; 0: no classes, any folder will do",
    )

    @model_validator(mode="after")
    def _entry(self) -> BigColorNetwork:
        if self.num_layer not in (None, ENTRY[self.dim_f]):
            raise ValueError(
                f"num_layer must agree with dim_f: dim_f {self.dim_f} enters the generator at "
                f"block {ENTRY[self.dim_f]}, not {self.num_layer}"
            )
        return self

    def shape(self) -> dict[str, Any]:
        """What :func:`coloria.models.bigcolor.build` takes."""
        names = {field.name for field in fields(BigColorConfig)}
        own = {name: value for name, value in self.model_dump().items() if name in names}
        if self.no_cond_e or not self.n_classes:
            own["norm_type"] = UNCONDITIONED.get(self.norm_type, self.norm_type)
        return asdict(BigColorConfig(**own))


class DiscriminatorConfig(Strict):
    """The judge of the pictures."""

    width: int = Field(default=96, gt=0, description="channels of its finest layer")
    sees: Literal["picture", "colours"] = Field(
        default="picture",
        description="picture: the generator's output as it is; colours: its colours on the true "
        "lightness, as they are used, for generators whose output is softer than a photograph",
    )
    enhance: float | None = Field(
        default=None,
        gt=0,
        description="factor on the saturation of the true pictures that it is shown (upstream "
        "1.5 and, in its scripts, 1.2); none: as they are",
    )


class StartConfig(Strict):
    """What the weights start from: a released name, a path, or none for random ones."""

    colorizer: str = Field(
        default="none", description="encoder and generator: bigcolor, a weight file, a run folder"
    )
    generator: str = Field(
        default="none", description="the generator alone: biggan-g-ema-256 or a file like it"
    )
    discriminator: str = Field(
        default="none", description="the discriminator: biggan-d-256 or a file like it"
    )

    @model_validator(mode="after")
    def _one(self) -> StartConfig:
        if self.colorizer != "none" and self.generator != "none":
            raise ValueError("start.colorizer holds a generator: set start.generator to none")
        return self


class ClassesConfig(Strict):
    """Which classes of the data are used."""

    only: list[int] = Field(default=[], description="train on these classes alone; empty: on all")


class BigColorLosses(Strict):
    """Weights of the parts of the loss; a part with weight 0 is not computed."""

    mse: float = Field(default=1.0, ge=0, description="weight of the squared error on sRGB")
    perceptual: float = Field(
        default=0.2, ge=0, description="weight of the squared error on feature maps"
    )
    adversarial: float = Field(
        default=0.03, ge=0, description="weight of the discriminator's verdict (hinge)"
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
        description="extra weight of a pixel in the Huber loss for each 100 units of true chroma",
    )
    enhance: float | None = Field(
        default=None,
        gt=0,
        description="factor on the saturation of the true pictures that the losses above aim at, "
        "all but the adversarial one: what is uncertain is averaged to calm colours, and this "
        "makes up for it; none: as they are",
    )
    feature_network: str = Field(
        default="vgg16",
        description="vgg16, vgg16_bn, efficientnet-lite0, or the path of weights of either VGG",
    )
    feature_layers: list[int] = Field(
        default=[],
        description="layers of a VGG whose maps are compared; empty: the published ones",
    )
    per_batch: bool = Field(
        default=False,
        description="divide the perceptual loss once more by the pictures of a process, as "
        "upstream does: its weight then changes with the batch and the number of processes",
    )


class BigColorOptimizer(Strict):
    """Adam, for either network."""

    betas: Betas = Field(
        default=(0.0, 0.999), description="decay of the two moments, of encoder and generator"
    )
    betas_d: Betas = Field(default=(0.0, 0.999), description="the discriminator's")
    weight_decay: float = Field(
        default=0.0, ge=0, description="of encoder and generator: p <- p (1 - wd lr), as in AdamW"
    )


class BigColorStage(ScheduledStage):
    """Training at one size."""

    size: int = Field(
        default=256, ge=32, multiple_of=16, description="side of the square crops, pixels"
    )
    batch: int = Field(default=60, gt=0, description="pictures a step, over all processes")
    epochs: int = Field(default=12, gt=0, description="passes over the data")
    lr: float = Field(default=1e-4, gt=0, description="learning rate of encoder and generator")
    lr_d: float = Field(default=3e-5, gt=0, description="learning rate of the discriminator")
    schedule: Literal["mult", "linear", "plateau", "constant", "cosine"] = Field(  # type: ignore[assignment]
        default="mult",
        description="how both rates fall. mult: by `decay` after each epoch; linear: after each "
        "epoch, to reach 0 at the end; plateau: by `decay` when CIEDE2000 on the validation "
        "photographs has not fallen for `patience` epochs; cosine: each step, to 0; constant",
    )
    decay: float = Field(default=0.9, gt=0, le=1, description="see schedule")
    patience: int = Field(default=2, gt=0, description="see schedule, epochs")
    betas: Betas | None = Field(
        default=None, description="optimizer.betas in this stage; none: as they are there"
    )
    adversarial: float | None = Field(
        default=None,
        ge=0,
        description="losses.adversarial in this stage; 0: no discriminator; none: as it is there",
    )
    train: Literal["all", "encoder", "generator", "late", "nothing"] = Field(
        default="all",
        description="what moves: all; the encoder alone; the generator and what joins it to the "
        "encoder; also the late half of the encoder; nothing but the discriminator",
    )
    train_d: bool = Field(default=True, description="whether the discriminator learns")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the average of the weights in this stage; none: that of run.ema",
    )

    def factor(self, done: float, steps: float) -> float:
        """Share of the learning rate after so many of the steps behind the warm-up."""
        epoch = int(done * self.epochs // steps)
        if self.schedule == "mult":
            return self.decay**epoch
        if self.schedule == "linear":
            return 1 - epoch / self.epochs
        return 1.0 if self.schedule == "plateau" else super().factor(done, steps)


class BigColorRun(RunConfig):
    """How a run is carried out and recorded."""

    ema: float | None = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="decay of the average of the weights a step; none: no average",
    )
    pictures_every: int = Field(
        default=150, gt=0, description="steps between two grids of training photographs"
    )
    val_pictures_every: int = Field(
        default=2000, gt=0, description="steps between two grids of validation photographs"
    )
    print_config: bool = Field(
        default=False, description="print the whole recipe when a run begins"
    )


class BigColorRecipe(Recipe):
    """A whole training of `bigcolor`."""

    model: Literal["bigcolor"] = Field(description="which model the weights are for")
    task: TaskConfig = Field(default=TaskConfig(), description="what the run is for")
    network: BigColorNetwork = Field(default=BigColorNetwork(), description="the network")
    discriminator: DiscriminatorConfig = Field(
        default=DiscriminatorConfig(), description="its judge"
    )
    start: StartConfig = Field(default=StartConfig(), description="what the weights start from")
    classes: ClassesConfig = Field(default=ClassesConfig(), description="classes of the data")
    losses: BigColorLosses = Field(default=BigColorLosses(), description="the loss")
    optimizer: BigColorOptimizer = Field(default=BigColorOptimizer(), description="the optimisers")
    run: BigColorRun = Field(default=BigColorRun(), description="how it is carried out")
    stages: list[BigColorStage] = Field(min_length=1, description="what is done, in order")

    @model_validator(mode="after")
    def _agrees(self) -> BigColorRecipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"every stage needs a name of its own; got {', '.join(names)}")
        losses = self.losses
        for stage in self.stages:
            if not (losses.mse or losses.perceptual or losses.lab or self.adversarial(stage)):
                raise ValueError(f"stage {stage.name}: at least one loss must be above 0")
            if stage.train == "nothing" and not (self.adversarial(stage) and stage.train_d):
                raise ValueError(f"stage {stage.name}: with train: nothing, train_d must be true")
        if self.classes.only and max(self.classes.only) >= self.network.n_classes:
            raise ValueError(f"classes.only: there are {self.network.n_classes} classes, from 0")
        return self

    def adversarial(self, stage: BigColorStage) -> float:
        """Weight of the discriminator's verdict in a stage."""
        return self.losses.adversarial if stage.adversarial is None else stage.adversarial

    def has_discriminator(self) -> bool:
        """Whether any stage needs it."""
        return any(self.adversarial(stage) and not stage.skip for stage in self.stages)


def weights(recipe: BigColorRecipe, state: Mapping[str, Any]) -> Weights:
    """What a weight file holds after a training: the average where there is one, for that is
    what was validated.
    """
    net = bigcolor.build(recipe.model, recipe.network.shape())
    net.load_state_dict(state["ema"]["average"] if state["ema"] else state["net"])
    return Weights(bigcolor.tensors(net), net.card_config(), recipe.use())
