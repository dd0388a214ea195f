"""The models: one literal table. Importing it loads no framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from coloria.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Backbone(Protocol):
    """A network as the picture path sees it: it only maps tensors."""

    multiple: int
    """Both sides of the input must be multiples of this, in pixels."""
    minimum: int
    """The shortest side it can take, in pixels."""

    def colorize(self, gray: Tensor) -> Tensor:
        """Grey (B, 1, H, W) in [0, 1] to sRGB (B, 3, H, W), not clipped.

        A network that draws (it has `dim_z` and `n_classes`) takes `classes` and `z`, too.
        """

    def to(self, *, device: Any, memory_format: Any) -> Any:
        """Moves its weights, as :meth:`torch.nn.Module.to` does."""


@dataclass(frozen=True)
class Weights:
    """What a weight file holds of a network, beside where it comes from."""

    tensors: dict[str, Tensor]
    """By key, as :meth:`Family.load` takes them."""
    config: dict[str, Any]
    """Arguments that build the network."""
    preprocessing: dict[str, Any]
    """How pictures enter the network."""


class Family(Protocol):
    """What the module of a family of models offers."""

    def build(
        self,
        model: str,
        config: Mapping[str, Any] | None = None,
        coding: Mapping[str, Any] | None = None,
    ) -> Any:
        """An untrained network, of the released shape if no other is given; its
        ``parameters()`` are what training moves.
        """

    def tensors(self, net: Any) -> dict[str, Tensor]:
        """What a weight file holds of such a network: weight norms folded."""

    def load(
        self,
        model: str,
        state: Mapping[str, Tensor],
        config: Mapping[str, Any] | None = None,
        coding: Mapping[str, Any] | None = None,
    ) -> Backbone:
        """The network of a weight file, ready for inference."""

    def convert(
        self,
        model: str,
        state: Mapping[str, Tensor],
        config: Mapping[str, Any] | None = None,
        coding: Mapping[str, Any] | None = None,
    ) -> Weights:
        """What a weight file of ours holds of that network, checked."""

    def identify(self, state: Mapping[str, Tensor]) -> str | None:
        """Which of its models the tensors are of, from their keys; None if of none."""


@dataclass(frozen=True)
class Architecture:
    """A row of the comparison table."""

    unet: bool
    resnet: int | None
    """Depth of the ResNet encoder."""
    cnn: bool
    """A plain convolutional network, without an adversary."""
    gan: bool
    supervised: bool
    """As the comparison this table follows has it: trained on pairs alone, without a critic."""
    parameters: int
    """Of the released generator, or of the full network."""


@dataclass(frozen=True)
class Model:
    """One model, as users name it."""

    name: str
    title: str
    summary: str
    """One line on what it is good for."""
    module: str
    """Where its code is."""
    paper: str
    year: int
    licence: str
    """Of the released weights; empty if nobody has published any."""
    architecture: Architecture
    aliases: tuple[str, ...] = ()
    render_factor: int | None = None
    """Default of the released weights, where they run on squares."""
    render_size: int | None = None
    """Default of the released weights, where they keep the aspect: short side, in pixels."""
    draws: bool = False
    """Whether it gives many answers to one picture, told apart by a random vector."""
    classes: int = 0
    """How many classes the released weights are told of."""
    tiny: dict[str, Any] = field(default_factory=dict)
    """A small shape of the same network, to test with."""

    def family(self) -> Family:
        """Its code; this loads the framework."""
        return import_module(self.module)


_ZHANG_2016 = "Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, arXiv:1603.08511"
_ZHANG_2017 = (
    "Zhang, Zhu, Isola, Geng, Lin, Yu, Efros, Real-Time User-Guided Image Colorization with "
    "Learned Deep Priors, SIGGRAPH 2017, arXiv:1705.02999"
)
_BIGCOLOR = (
    "Kim, Kang, Kim, Lee, Kim, Kim, Baek, Cho, BigColor: Colorization using a Generative Color "
    "Prior for Natural Images, ECCV 2022, arXiv:2207.09685"
)
_DEOLDIFY = "J. Antic, DeOldify, github.com/jantic/DeOldify"

MODELS: dict[str, Model] = {
    "artistic": Model(
        name="artistic",
        title="DeOldify Artistic",
        summary="vivid colours and fine detail; the liveliest, and the least even",
        module="coloria.models.deoldify",
        paper=_DEOLDIFY,
        year=2019,
        licence="MIT",
        architecture=Architecture(
            unet=True, resnet=34, cnn=False, gan=True, supervised=False, parameters=63_646_881
        ),
        aliases=("artistix",),
        render_factor=35,
        tiny={"encoder": "efficientnet_lite0", "decoder": "deep", "factor": 0.25, "middle": 0.1},
    ),
    "stable": Model(
        name="stable",
        title="DeOldify Stable",
        summary="restrained and even; the better choice for portraits and landscapes",
        module="coloria.models.deoldify",
        paper=_DEOLDIFY,
        year=2019,
        licence="MIT",
        architecture=Architecture(
            unet=True, resnet=101, cnn=False, gan=True, supervised=False, parameters=218_222_197
        ),
        aliases=("stablex",),
        render_factor=35,
        tiny={"encoder": "efficientnet_lite0", "decoder": "wide", "factor": 0.0625, "middle": 0.1},
    ),
    "zhang": Model(
        name="zhang",
        title="Plain Keras U-Net",
        summary="a plain network, small and fast; enough for simple scenes",
        module="coloria.models.zhang",
        paper="a plain U-Net, named after the author of eccv16 and siggraph17",
        year=2024,
        licence="",
        architecture=Architecture(
            unet=True, resnet=None, cnn=True, gan=False, supervised=True, parameters=9_602_766
        ),
        aliases=("cnn",),
        tiny={"width": 0.0625},
    ),
    "bigcolor": Model(
        name="bigcolor",
        title="BigColor",
        summary="vivid colours painted by a generator; the only one with several answers",
        module="coloria.models.bigcolor",
        paper=_BIGCOLOR,
        year=2022,
        licence="MIT",
        architecture=Architecture(
            unet=False, resnet=None, cnn=False, gan=True, supervised=False, parameters=105_195_748
        ),
        aliases=("bigcolorx",),
        render_size=256,
        draws=True,
        classes=1000,
        tiny={"width": 4, "n_classes": 0, "norm_type": "batch"},
    ),
    "eccv16": Model(
        name="eccv16",
        title="Colorful Image Colorization",
        summary="bold colours, told apart as 313 classes; the boldest on plain scenes",
        module="coloria.models.chroma",
        paper=_ZHANG_2016,
        year=2016,
        licence="BSD-2-Clause",
        architecture=Architecture(
            unet=False, resnet=None, cnn=True, gan=False, supervised=True, parameters=32_236_011
        ),
        render_factor=16,
        tiny={"width": 0.125, "temperature": 0.1},
    ),
    "siggraph17": Model(
        name="siggraph17",
        title="Real-Time User-Guided Colorization",
        summary="even, natural colours, and the only one that takes colour hints",
        module="coloria.models.chroma",
        paper=_ZHANG_2017,
        year=2017,
        licence="BSD-2-Clause",
        architecture=Architecture(
            unet=True, resnet=None, cnn=True, gan=False, supervised=True, parameters=34_187_027
        ),
        render_factor=16,
        tiny={"width": 0.125},
    ),
}
"""Every model by its name."""


def names() -> list[str]:
    """The names of all models, in the order of the table."""
    return list(MODELS)


def get(name: str) -> Model:
    """The model of that name or alias.

    Raises:
        UnknownNameError: There is none; the message names the nearest.
    """
    for model in MODELS.values():
        if name.lower() in (model.name, *model.aliases):
            return model
    known = [alias for model in MODELS.values() for alias in (model.name, *model.aliases)]
    raise UnknownNameError("model", name, known)


def identify(state: Mapping[str, Tensor]) -> str | None:
    """The model that tensors are of, from their keys; None if that is unclear."""
    for module in dict.fromkeys(model.module for model in MODELS.values()):
        family: Family = import_module(module)
        if name := family.identify(state):
            return name
    return None
