"""BigColor: an encoder in front of a class-conditional BigGAN.

KIMGEONUNG/BigColor (MIT); Kim et al., ECCV 2022 (arXiv:2207.09685). Layout and keys are those of
its released checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.errors import OptionError, WeightsMismatchError
from coloria.models.bigcolor_encoder import ACTIVATIONS, CONDITIONED, NORMS, Encoder, LiteEncoder
from coloria.models.biggan import BLOCKS, SLOTS, Generator
from coloria.models.biggan_layers import orthogonal_
from coloria.models.fold import fold_batch_norms, fold_weight_norms
from coloria.models.match import check_fit
from coloria.models.registry import Weights

ENTRY = {64: 4, 32: 3, 16: 2, 8: 1, 1: 0}
"""The generator's block that a feature map of so many pixels a side (for 256) enters at."""

MULTIPLE = {8: 32, 1: 64}
"""What the encoder's halvings ask of a picture's sides, by `dim_f`; 16 for the others."""

DEPTHS = {4: 64, 5: 16, 6: 8, 7: 1}
"""`dim_f` by the number of the encoder's blocks; 32 has 5, too."""

INITS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "ortho": nn.init.orthogonal_,
    "xavier": nn.init.xavier_uniform_,
    "N02": lambda weight: nn.init.normal_(weight, 0, 0.02),
    "none": None,
}
"""How the encoder's weights may begin."""

Z_STD = 0.8
"""Standard deviation of the random vector in training, and where no other is asked for."""


@dataclass(frozen=True)
class BigColorConfig:
    """Shape of the network; the defaults are those of the released weights.

    Attributes:
        width: Channels of the finest block, of encoder and generator.
        dim_f: Side of the encoder's map for pictures of 256: 64, 32, 16, 8, or 1 for a vector.
        no_res: The encoder's blocks have no shortcuts.
        use_attention: Self-attention in the encoder; for `dim_f` 16, 32 and 64.
        norm_type: The encoder's norms: adabatch, adain, batch, instance, layer, id.
        activation: The encoder's: relu, lrelu (slope 0.2), sigmoid.
        weight_init: How the encoder's weights begin: ortho, xavier, N02, none (PyTorch's own).
        dropout: Of the encoder's blocks but the last.
        dim_z: Length of the random vector; a multiple of 7, the number of its parts.
        n_classes: Classes that it knows; 0: none.
        encoder: bigcolor, or efficientnet_lite0, which goes with `dim_f` 32 and no classes in the
            encoder.
        half: Without the last block: colours come at half the size and are enlarged.
    """

    width: int = 96
    dim_f: int = 16
    no_res: bool = False
    use_attention: bool = False
    norm_type: str = "adabatch"
    activation: str = "relu"
    weight_init: str = "ortho"
    dropout: float = 0.2
    dim_z: int = 119
    n_classes: int = 1000
    encoder: str = "bigcolor"
    half: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("dim_f", self.dim_f, tuple(ENTRY)),
            ("norm_type", self.norm_type, tuple(NORMS)),
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("weight_init", self.weight_init, tuple(INITS)),
            ("encoder", self.encoder, ("bigcolor", "efficientnet_lite0")),
        ):
            if value not in known:
                raise OptionError(f"{name} is one of {', '.join(map(str, known))}; got {value}")
        if self.dim_z % SLOTS or self.dim_z < SLOTS:
            raise OptionError(f"dim_z is a multiple of {SLOTS}; got {self.dim_z}")
        if self.use_attention and self.dim_f < 16:
            raise OptionError("use_attention goes with dim_f 16, 32 and 64")
        if self.encoder != "bigcolor" and self.dim_f != 32:
            raise OptionError(f"the encoder {self.encoder} goes with dim_f 32; got {self.dim_f}")
        if self.encoder == "bigcolor" and not self.n_classes and self.norm_type in CONDITIONED:
            raise OptionError(
                f"norm_type {self.norm_type} needs classes; without them take batch or instance"
            )
        if self.half and self.dim_f == 1:
            raise OptionError("half goes with a feature map; dim_f 1 has none")


class BigColor(nn.Module):
    """Encoder `E` and generator `G`.

    `forward` maps as the released files do; `colorize` maps pictures.

    Args:
        config: Its shape.
        unused: Carry what the released files hold and never run.
    """

    def __init__(self, config: BigColorConfig, *, unused: bool = True) -> None:
        super().__init__()
        self.config = config
        self.multiple = 32 if config.encoder != "bigcolor" else MULTIPLE.get(config.dim_f, 16)
        # Instance norm wants two pixels in the smallest map.
        self.minimum = {8: 64, 1: 128}.get(config.dim_f, 32)
        entry = ENTRY[config.dim_f]
        generator = Generator(
            config.width,
            config.dim_z,
            config.n_classes,
            entry=entry,
            blocks=BLOCKS - config.half,
            unused=unused,
        )
        self.E: Encoder | LiteEncoder = _encoder(config, generator.channels_in)
        self.G = generator

    @property
    def dim_z(self) -> int:
        """Length of the random vector."""
        return self.config.dim_z

    @property
    def n_classes(self) -> int:
        """How many classes it knows; 0: none."""
        return self.config.n_classes

    def embedding(self, classes: Tensor | None) -> Tensor | None:
        """The vectors (B, 128) of classes (B,); None without classes."""
        return self.G.embedding(classes)

    def forward(self, gray: Tensor, classes: Tensor | None, z: Tensor) -> Tensor:
        """Grey (B, 1, H, W) in [0, 1], classes (B,) and z (B, dim_z) to (B, 3, H', W') in [-1, 1].

        H' and W' are H and W rounded down to multiples of 16; with `dim_f` 1 they are 256.
        """
        return self.painted(gray, self.embedding(classes), z)

    def painted(self, gray: Tensor, embedding: Tensor | None, z: Tensor) -> Tensor:
        """As :meth:`forward`, from vectors (B, 128) that stand for classes."""
        rgb: Tensor = self.G(self.E(gray, embedding), embedding, z)
        if self.config.half:
            rgb = F.interpolate(rgb, scale_factor=2, mode="bilinear")
        return rgb

    def colorize(
        self, gray: Tensor, classes: Tensor | None = None, z: Tensor | None = None
    ) -> Tensor:
        """Grey (B, 1, H, W) in [0, 1] to sRGB (B, 3, H, W).

        Args:
            gray: Sides are multiples of `multiple`.
            classes: (B,); not given, the norms know no class.
            z: Random vectors (B, dim_z); without any it is 0, the middle of all.
        """
        z = gray.new_zeros(len(gray), self.dim_z) if z is None else z.to(gray)
        rgb = self(gray, classes, z).float()
        if rgb.shape[2:] != gray.shape[2:]:
            rgb = F.interpolate(rgb, gray.shape[2:], mode="bilinear")
        return cast(Tensor, (rgb + 1) / 2)

    def card_config(self) -> dict[str, Any]:
        """What a weight file's card states of the network's shape."""
        return asdict(self.config)

    def coding(self) -> dict[str, Any]:
        """What a weight file's card states of its input."""
        return {"input": "grey"}


def _encoder(config: BigColorConfig, channels: int) -> Encoder | LiteEncoder:
    if config.encoder != "bigcolor":
        return LiteEncoder(channels, config.dropout)
    return Encoder(
        config.width,
        config.dim_f,
        config.dim_z,
        config.norm_type,
        config.activation,
        dropout=config.dropout,
        shortcut=not config.no_res,
        attention=config.use_attention,
    )


def _start(net: BigColor) -> None:
    """First weights of a training: orthogonal in the generator, as configured in the encoder."""
    orthogonal_(net)
    if net.G.shared is not None:
        nn.init.orthogonal_(net.G.shared.weight)
    start = INITS[net.config.weight_init]
    if start is None or not isinstance(net.E, Encoder):
        return
    for module in net.E.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            start(module.weight)


def build(
    model: str, config: Mapping[str, Any] | None = None, coding: Mapping[str, Any] | None = None
) -> BigColor:
    """An untrained network: the released shape, or the one that a card states."""
    del model, coding  # one model, and grey enters as it is
    shape = BigColorConfig(**dict(config or {}))
    net = BigColor(shape, unused=shape.encoder == "bigcolor")
    _start(net)
    return net


def _lean(model: str, state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> BigColor:
    """The network of any layout's tensors with its spectral norms folded, its BatchNorms not, and
    nothing that is never run.
    """
    shape = BigColorConfig(**(shape_of(state) if config is None else dict(config)))
    net = BigColor(shape, unused=False).eval()
    if not any(key.endswith(".u0") for key in state):
        fold_weight_norms(net)
    whole = net
    if any(".in1." in key for key in state):
        with torch.device("meta"):
            whole = BigColor(shape)
    check_fit(model, state, whole.state_dict(), identify(state))
    wanted = net.state_dict()
    net.load_state_dict({key: value for key, value in state.items() if key in wanted})
    return cast(BigColor, fold_weight_norms(net))


def shape_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes of a published checkpoint tell of its network.

    They tell neither the activation nor adabatch from adain, nor `dim_f` 32 from 16: of these the
    released values are taken. A checkpoint of another network gives the released shape.
    """
    depth = sum(key.startswith("E.res") and key.endswith(".conv_1.weight") for key in state)
    needed = ("E.res1.conv_1.weight", "G.shared.weight", "G.linear.weight")
    if depth not in DEPTHS or any(key not in state for key in needed):
        return {}
    first, shared, linear = (state[key].shape for key in needed)
    return {
        "width": first[0],
        "dim_f": DEPTHS[depth],
        "n_classes": shared[0],
        "dim_z": linear[1] * SLOTS,
        "no_res": "E.res1.conv.weight" not in state,
        "use_attention": "E.att.gamma" in state,
        "norm_type": _norm_of(state),
    }


def _norm_of(state: Mapping[str, Tensor]) -> str:
    """The encoder's norm, as far as its keys tell."""
    for leaf, norm in (("gain.weight", "adabatch"), ("running_mean", "batch")):
        if f"E.res1.normalize_1.{leaf}" in state:
            return norm
    return "instance"


def averaged(state: Mapping[str, Tensor], checkpoint: object) -> dict[str, Tensor]:
    """A released checkpoint with the averaged parameters of the file beside it.

    That file (torch_ema's) lists all parameters by position and holds no buffers: those are
    `state`'s.

    Raises:
        WeightsMismatchError: The list is not one, or not one of that network.
    """
    shadow = checkpoint.get("shadow_params") if isinstance(checkpoint, Mapping) else None
    if not isinstance(shadow, list):
        raise WeightsMismatchError("wanted averaged parameters; the file has no list of them")
    with torch.device("meta"):
        whole = BigColor(BigColorConfig(**shape_of(state)))
    own = list(whole.named_parameters())
    wrong = [k for (k, p), v in zip(own, shadow, strict=False) if p.shape != v.shape]
    if wrong or len(own) != len(shadow):
        raise WeightsMismatchError(
            f"wanted the averaged parameters of this network, {len(own)} tensors; came "
            f"{len(shadow)}, the first that does not fit is for {wrong[0] if wrong else 'none'!r}"
        )
    return {**state, **{k: v.float() for (k, _), v in zip(own, shadow, strict=True)}}


def load(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> BigColor:
    """The network of a weight file, ready for inference.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    del coding
    net = _lean(model, state, config)
    if isinstance(net.E, LiteEncoder):
        fold_batch_norms(net.E.net)
    return net.requires_grad_(False)


def tensors(net: BigColor) -> dict[str, Tensor]:
    """What a weight file holds of a network: what is run, its spectral norms folded."""
    return dict(_lean("bigcolor", net.state_dict(), net.card_config()).state_dict())


def convert(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> Weights:
    """What a weight file of ours holds of that network, from any of its layouts.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    del coding
    net = _lean(model, state, config)
    return Weights(dict(net.state_dict()), net.card_config(), net.coding())


def identify(state: Mapping[str, Tensor]) -> str | None:
    """`bigcolor` or None, from a key that only it has."""
    return "bigcolor" if "G.output_layer.2.weight" in state else None
