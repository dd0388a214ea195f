"""Losses and metrics of the Keras trainer, on sRGB pictures (B, H, W, 3), for every backend.

The chroma loss is that of :mod:`coloria.train.losses` once more in Keras' own operations; a test
holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coloria.color import SRGB_TO_XYZ, WHITE_XYZ
from coloria.keras_backend import keras
from coloria.train.losses import CHROMA_UNIT

__all__ = ["chroma_loss", "make_loss", "metrics", "srgb_to_ab"]


def make_loss(mae: float, lab: float, beta: float, emphasis: float) -> Callable[[Any, Any], Any]:
    """The weighted sum of mean absolute error and chroma loss, of (truth, prediction)."""

    def loss(truth: Any, got: Any) -> Any:
        total = 0.0
        if mae:
            total = total + mae * keras().ops.mean(keras().ops.abs(got - truth))
        if lab:
            total = total + lab * chroma_loss(truth, got, beta, emphasis)
        return total

    return loss


def chroma_loss(truth: Any, got: Any, beta: float, emphasis: float) -> Any:
    """Huber loss on (a*, b*) of each pixel: :func:`coloria.train.losses.chroma_loss` with `pool` 1.

    Over means of 2 x 2 pixels this network, with its overlapping strides, learns a pattern of
    coloured pixels whose means are right.
    """
    ops = keras().ops
    want, ab = (srgb_to_ab(ops.clip(x, 0.0, 1.0)) / CHROMA_UNIT for x in (truth, got))
    away, turn = ops.abs(ab - want), beta / CHROMA_UNIT
    huber = ops.where(away < turn, 0.5 * away * away / turn, away - 0.5 * turn)
    chroma = ops.sqrt(ops.sum(want * want, axis=-1, keepdims=True))
    weight = 1.0 + emphasis * chroma
    return ops.sum(huber * weight) / (2.0 * ops.sum(weight))


def srgb_to_ab(rgb: Any) -> Any:
    """SRGB (B, H, W, 3) in [0, 1] to a*, b* (B, H, W, 2): IEC 61966-2-1, CIE 15, D65."""
    ops = keras().ops
    high = ops.power((ops.maximum(rgb, 0.04045) + 0.055) / 1.055, 2.4)
    linear = ops.where(rgb > 0.04045, high, rgb / 12.92)
    rows = [[v / white for v in row] for row, white in zip(SRGB_TO_XYZ, WHITE_XYZ, strict=True)]
    xyz = ops.matmul(linear, ops.transpose(ops.convert_to_tensor(rows, "float32")))
    root = ops.power(ops.maximum(xyz, 0.008856), 1 / 3)
    f = ops.where(xyz > 0.008856, root, 7.787 * xyz + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return ops.stack([500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def metrics() -> list[Any]:
    """Mean absolute error, and what Keras calls accuracy of pictures."""
    of = keras().metrics
    # "accuracy" means this for targets of three channels: the share of the pixels whose largest
    # channel is the true one.
    return [of.MeanAbsoluteError("mae"), of.CategoricalAccuracy("keras_accuracy")]
