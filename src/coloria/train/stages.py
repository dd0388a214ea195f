"""The stages that a NoGAN recipe is made of, as data.

Published values are those of jantic/DeOldify (MIT).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from coloria.config import Strict

Rate = Annotated[float, Field(gt=0)]


class _Stage(Strict):
    """What every stage has."""

    name: str = Field(pattern=r"^[\w.-]+$", description="short name, used for files")
    size: int = Field(ge=32, multiple_of=2, description="side of the square crops, pixels")
    batch: int = Field(gt=0, description="pictures a step, over all processes")
    skip: bool = Field(default=False, description="leave this stage out")


class _Training(_Stage):
    """What the stages have in which a network learns."""

    epochs: int = Field(default=1, gt=0, description="passes over the data")
    accumulate: int = Field(
        default=1,
        gt=0,
        description="batches whose gradients are summed for a step; `batch` is divided by it",
    )

    @model_validator(mode="after")
    def _divides(self) -> _Training:
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch {self.batch} must be a multiple of accumulate {self.accumulate}"
            )
        return self


class PretrainStage(_Training):
    """Supervised training of the generator at one size."""

    kind: Literal["pretrain"] = Field(default="pretrain", description="generator pre-training")
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

    def rates(self) -> tuple[float, ...]:
        """Learning rates of the three layer groups (fastai's slice rule)."""
        if isinstance(self.lr, tuple):
            first, last = self.lr
            return first, (first * last) ** 0.5, last
        return self.lr / 10, self.lr / 10, self.lr

    def frozen_groups(self) -> int:
        """How many layer groups, from the first, stand still."""
        return {"decoder": 2, "late": 1, "all": 0}[self.train]


class GenerateStage(_Stage):
    """Pictures for the critic: results of the generator, and as many other true photographs."""

    kind: Literal["generate"] = Field(description="pictures are made for the critic")
    share: float = Field(
        default=0.085,
        gt=0,
        le=0.5,
        description="share of the photographs that are coloured; as many others stay true, 0..0.5",
    )


class _WithCritic(_Training):
    """What the stages have that run the critic."""

    size: int = Field(
        ge=64,
        multiple_of=2,
        description="side of the square crops, pixels; the critic wants 64 or more",
    )


class CriticStage(_WithCritic):
    """Training of the critic alone, on the pictures of the last `generate` stage."""

    kind: Literal["critic"] = Field(description="the critic alone learns to tell them apart")
    lr: Rate = Field(description="largest learning rate of the one-cycle schedule")
    pct_start: float = Field(
        default=0.3, gt=0, lt=1, description="share of the steps in which the learning rate rises"
    )

    def rates(self) -> tuple[float, ...]:
        """Learning rate of the one layer group."""
        return (self.lr,)


class GanStage(_WithCritic):
    """Generator and critic against each other; each batch trains one of them."""

    kind: Literal["gan"] = Field(description="generator and critic against each other")
    share: float = Field(
        default=0.03, gt=0, le=1, description="share of the data in an epoch, 0..1"
    )
    lr: Rate = Field(description="learning rate of the generator's decoder; it stays the same")
    critic_lr: float = Field(
        default=5.0, gt=0, description="learning rate of the critic, times that of the generator"
    )
    betas: tuple[float, float] = Field(default=(0.0, 0.9), description="Adam's, of both networks")
    weight_decay: float = Field(default=1e-3, ge=0, description="p <- p (1 - wd lr), of both")
    threshold: float = Field(
        default=0.65,
        gt=0,
        description="the generator gets the next batch when the critic's loss is below this",
    )
    adversarial: float = Field(
        default=1.0, ge=0, description="weight of the critic's verdict in the generator's loss"
    )
    picture: float = Field(
        default=2.0, gt=0, description="weight of the loss of pre-training in the generator's loss"
    )
    emphasis: float | None = Field(
        default=None, ge=0, description="losses.emphasis in this stage; none: as it is there"
    )
    train_bn: bool = Field(
        default=True, description="whether the BatchNorms of the encoder go on training"
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the average of the weights in this stage; none: that of run.ema",
    )
    score_every: int = Field(
        default=100, gt=0, description="steps of either network between two scored checkpoints"
    )


def kind(stage: Any) -> str:
    """Which of the stages it is; pre-training where it does not say."""
    got = stage.get("kind", "pretrain") if isinstance(stage, dict) else stage.kind
    return str(got)


Stage = Annotated[
    Annotated[PretrainStage, Tag("pretrain")]
    | Annotated[GenerateStage, Tag("generate")]
    | Annotated[CriticStage, Tag("critic")]
    | Annotated[GanStage, Tag("gan")],
    Discriminator(kind),
]
"""Any stage; `kind` says which."""

Training = PretrainStage | CriticStage | GanStage
"""The stages in which a network learns."""
