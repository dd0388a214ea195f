"""`zhang`: a plain convolutional U-Net in Keras 3, the same on PyTorch and on TensorFlow.

Five convolutions of stride 2 down, five transposed ones up, each joined with its twin on the way
down. It is trained on pairs alone, with neither a critic nor a pre-trained encoder, which makes it
the smallest and fastest of the models and the least sure of its colours. R. Zhang is whom it is
named after (Zhang, Isola and Efros 2016, doi:10.1007/978-3-319-46487-9_40); of his networks it
shares only the idea.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coloria.keras_backend import backend, device, keras
from coloria.models import registry
from coloria.models.match import check_fit
from coloria.models.registry import Weights

DOWN = (128, 128, 256, 512, 512)
"""Filters of the convolutions on the way down, at width 1."""

UP = (512, 256, 128, 128)
"""Filters on the way up, at width 1; the last one, at full size, has 3."""

NORMED = 2
"""The first convolutions on the way down have no BatchNormalization."""

SLOPE = 0.3
"""Of LeakyReLU below zero, Keras' own."""

EIGHT = 8
"""Filters are a multiple of this, as the vectors of processors are."""


@dataclass(frozen=True)
class ZhangConfig:
    """Shape of the network."""

    width: float = 1.0
    """Factor on the number of all filters."""


def network(config: ZhangConfig, dropout: float = 0.0, dtype: str = "float32") -> Any:
    """The Keras model: (B, H, W, 3) grey repeated, in [0, 1], to (B, H, W, 3) sRGB, not clipped.

    Height and width are multiples of 32. Layers have names of their own, so that the variables of
    two networks can be matched.

    Args:
        config: Its shape.
        dropout: Share of the values that are dropped on the way up, in training.
        dtype: Keras' policy, for example ``mixed_bfloat16``.
    """
    layers = keras().layers
    # Stated, so that a settings file of the user changes nothing.
    same: dict[str, Any] = {"padding": "same", "data_format": "channels_last", "dtype": dtype}
    picture = layers.Input((None, None, 3), name="picture")
    x, twins = picture, [picture]
    for number, filters in enumerate(DOWN, 1):
        name = f"down{number}"
        x = layers.Conv2D(_wide(filters, config), 3, 2, name=f"{name}_conv", **same)(x)
        if number > NORMED:
            x = layers.BatchNormalization(axis=-1, name=f"{name}_norm", dtype=dtype)(x)
        x = layers.LeakyReLU(SLOPE, name=f"{name}_relu", dtype=dtype)(x)
        twins.append(x)
    twins.pop()
    for number, filters in enumerate([*(_wide(filters, config) for filters in UP), 3], 1):
        name = f"up{number}"
        x = layers.Conv2DTranspose(filters, 3, 2, name=f"{name}_conv", **same)(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"{name}_dropout", dtype=dtype)(x)
        x = layers.LeakyReLU(SLOPE, name=f"{name}_relu", dtype=dtype)(x)
        x = layers.Concatenate(axis=-1, name=f"{name}_join", dtype=dtype)([x, twins.pop()])
    same["dtype"] = "float32"  # the loss is worked out in full precision
    rgb = layers.Conv2D(3, 2, name="output", **same)(x)
    return keras().Model(picture, rgb, name="zhang")


def _wide(filters: int, config: ZhangConfig) -> int:
    return max(1, round(filters * config.width / EIGHT)) * EIGHT


class Zhang:
    """The network as the picture path sees it."""

    multiple = 32
    """Five halvings: both sides are multiples of this."""

    minimum = 32
    """The shortest side."""

    def __init__(self, config: ZhangConfig, model: Any = None) -> None:
        self.config = config
        if model is None:
            with device(torch.device("cpu")):
                model = network(config)
        self.model = model

    def colorize(self, gray: Tensor) -> Tensor:
        """Grey (B, 1, H, W) in [0, 1] to sRGB (B, 3, H, W), not clipped.

        Sides that are no multiples of 32 are drawn out to the next by their last row or column.
        """
        height, width = gray.shape[2:]
        whole = F.pad(gray, (0, -width % self.multiple, 0, -height % self.multiple), "replicate")
        x = whole.permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
        with device(gray.device):
            if backend() == "torch":
                rgb = self.model(x, training=False)
            else:
                array = self.model(x.float().cpu().numpy(), training=False)
                rgb = torch.from_numpy(np.array(array)).to(gray.device)
        result: Tensor = rgb.permute(0, 3, 1, 2)[:, :, :height, :width]
        return result

    def to(self, *, device: torch.device, memory_format: Any = None) -> Zhang:
        """Moves its weights. Keras' kernels have an order of axes of their own, in which PyTorch's
        memory formats mean nothing.
        """
        if backend() == "torch":
            self.model.to(device)
        return self

    def parameters(self) -> Iterator[Tensor]:
        """All its variables, counted as Keras counts them: with the statistics of its norms."""
        yield from tensors(self).values()


def build(
    model: str, config: Mapping[str, Any] | None = None, coding: Mapping[str, Any] | None = None
) -> Zhang:
    """An untrained network, of width 1 or of the shape that a card states.

    `coding` is there for other families: pictures enter this one in [0, 1].
    """
    return Zhang(ZhangConfig(**(config or {})))


def tensors(net: Zhang) -> dict[str, Tensor]:
    """What a weight file holds of a network, as ``layer/variable``."""
    return variables(net.model)


def variables(model: Any) -> dict[str, Tensor]:
    """Copies of the weights of a Keras model on the CPU, as ``layer/variable``."""
    return {variable.path: values(variable) for variable in model.weights}


def values(variable: Any) -> Tensor:
    """A copy of a Keras variable on the CPU; whole numbers without a sign become int64."""
    if backend() == "torch":
        tensor: Tensor = variable.value.detach()
        return tensor.to("cpu", copy=True)
    array = np.array(variable.numpy())
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" else array)


def load(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> Zhang:
    """The network of a weight file.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    net = build(model, config)
    assign(net.model, state)
    if backend() == "torch":
        net.model.eval().requires_grad_(False)
    return net


def assign(model: Any, state: Mapping[str, Tensor]) -> None:
    """Gives a Keras model the weights of :func:`variables`.

    Raises:
        WeightsMismatchError: They belong to another network.
    """
    check_fit("zhang", state, variables(model), registry.identify(state))
    for variable in model.weights:
        variable.assign(state[variable.path].numpy())


def convert(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> Weights:
    """What a weight file of ours holds of that network.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    net = load(model, state, config)
    return Weights(tensors(net), asdict(net.config), {})


def identify(state: Mapping[str, Tensor]) -> str | None:
    """`zhang`, if its first layer is there."""
    return "zhang" if "down1_conv/kernel" in state else None
