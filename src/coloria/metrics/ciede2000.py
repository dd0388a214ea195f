"""CIEDE2000 colour difference.

Sharma, Wu & Dalal 2005, "The CIEDE2000 color-difference formula: implementation notes,
supplementary test data, and mathematical observations", doi:10.1002/col.20070. Letters and
equation numbers are the paper's.

:func:`textbook` is the formula as the paper has it, and differentiable. Where no gradient is
wanted, :mod:`coloria.metrics.ciede2000_blocks` computes the same without angles, in blocks of the
cache's size: many times as fast, in little more memory than the result's. The tests hold both to
each other, to the paper's table and to two other libraries.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from coloria.errors import OptionError
from coloria.metrics.ciede2000_blocks import blockwise

__all__ = ["delta_e00", "textbook"]

CHROMA_7 = 25.0**7
"""25^7 of equations 4 and 17."""


@overload
def delta_e00(
    lab1: Tensor,
    lab2: Tensor | ArrayLike,
    kL: float = 1.0,
    kC: float = 1.0,
    kH: float = 1.0,
    *,
    channel_axis: int = -1,
) -> Tensor: ...
@overload
def delta_e00(
    lab1: ArrayLike,
    lab2: ArrayLike,
    kL: float = 1.0,
    kC: float = 1.0,
    kH: float = 1.0,
    *,
    channel_axis: int = -1,
) -> NDArray[Any]: ...
def delta_e00(
    lab1: Any,
    lab2: Any,
    kL: float = 1.0,
    kC: float = 1.0,
    kH: float = 1.0,
    *,
    channel_axis: int = -1,
) -> Any:
    """CIEDE2000 between colours: lower is better, 1 is about a just noticeable difference.

    Symmetric in its arguments. NaN in either colour gives NaN. Where two hues lie exactly 180
    degrees apart the formula itself jumps, and rounding decides the side.

    Gradients flow where a tensor requires them. Where the formula has none they are those of the
    zero side: 0 for equal colours; 0 through the hue of a colour without chroma. They are finite
    everywhere.

    Args:
        lab1: Lab with D65: L* in [0, 100], a*, b* about [-128, 127], not checked. (..., 3); tensor,
            or anything NumPy takes for an array.
        lab2: The same kind, of a shape that broadcasts.
        kL: Weight of lightness; 1 under the reference conditions.
        kC: Weight of chroma.
        kH: Weight of hue.
        channel_axis: Where the three channels are: -1 for (..., H, W, 3), -3 for (..., 3, H, W).

    Returns:
        (...), a tensor if either argument is one, else an array. float64 if either argument is,
        else float32; integers count as NumPy and PyTorch have it.

    Raises:
        OptionError: There are no three channels on that axis, or a weight is not positive.
    """
    if not (isinstance(lab1, Tensor) or isinstance(lab2, Tensor)):
        return delta_e00(
            _tensor(lab1), _tensor(lab2), kL, kC, kH, channel_axis=channel_axis
        ).numpy()
    if not (kL > 0 and kC > 0 and kH > 0):
        raise OptionError(f"kL, kC and kH are positive, not {kL}, {kC}, {kH}")
    one, other = (_channels_last(_tensor(lab), channel_axis) for lab in (lab1, lab2))
    shape = np.broadcast_shapes(one.shape, other.shape)
    one, other = one.expand(shape), other.expand(shape)
    if torch.is_grad_enabled() and (one.requires_grad or other.requires_grad):
        return textbook(one, other, kL, kC, kH)
    return blockwise(one, other, kL, kC, kH)


def _tensor(lab: Any) -> Tensor:
    """The same memory as a tensor, where that can be."""
    if isinstance(lab, Tensor):
        return lab
    array = np.asarray(lab)
    if array.dtype not in (np.float32, np.float64):
        small = np.result_type(array.dtype, np.float32) == np.float32
        array = array.astype(np.float32 if small else np.float64)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():  # a read-only array is only read
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


def _channels_last(lab: Tensor, axis: int) -> Tensor:
    if not -lab.ndim <= axis < lab.ndim or lab.shape[axis] != 3:
        raise OptionError(
            f"wanted the three channels L*, a*, b* on axis {axis}, got the shape "
            f"{tuple(lab.shape)}; channel_axis says where they are"
        )
    return lab.movedim(axis, -1)


def textbook(lab1: Tensor, lab2: Tensor, kL: float = 1, kC: float = 1, kH: float = 1) -> Tensor:
    """The formula as the paper has it, on tensors (..., 3) of one shape; differentiable."""
    dtype = torch.promote_types(torch.promote_types(lab1.dtype, lab2.dtype), torch.float32)
    L1, a1, b1 = lab1.to(dtype).unbind(-1)
    L2, a2, b2 = lab2.to(dtype).unbind(-1)
    C_bar = (_length(a1, b1) + _length(a2, b2)) / 2  # (2), (3)
    G = 0.5 * (1 - _saturating(C_bar))  # (4)
    a1p, a2p = (1 + G) * a1, (1 + G) * a2  # (5)
    C1p, C2p = _length(a1p, b1), _length(a2p, b2)  # (6)
    h1p, h2p = _hue(a1p, b1), _hue(a2p, b2)  # (7)

    both = C1p * C2p != 0
    dhp = h2p - h1p
    dhp = torch.where(dhp > math.pi, dhp - 2 * math.pi, dhp)
    dhp = torch.where(dhp < -math.pi, dhp + 2 * math.pi, dhp) * both  # (10)
    dLp, dCp = L2 - L1, C2p - C1p  # (8), (9)
    dHp = 2 * _root(C1p * C2p) * torch.sin(dhp / 2)  # (11)

    Lp_bar, Cp_bar = (L1 + L2) / 2, (C1p + C2p) / 2  # (12), (13)
    total = h1p + h2p
    far = (h1p - h2p).abs() > math.pi
    turned = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    hp_bar = torch.where(both, torch.where(far, turned, total) / 2, total)  # (14)

    T = (
        1
        - 0.17 * torch.cos(hp_bar - math.radians(30))
        + 0.24 * torch.cos(2 * hp_bar)
        + 0.32 * torch.cos(3 * hp_bar + math.radians(6))
        - 0.20 * torch.cos(4 * hp_bar - math.radians(63))
    )  # (15)
    d_theta = math.radians(30) * torch.exp(-(((torch.rad2deg(hp_bar) - 275) / 25) ** 2))  # (16)
    R_C = 2 * _saturating(Cp_bar)  # (17)
    L50 = (Lp_bar - 50) ** 2
    S_L = 1 + 0.015 * L50 / torch.sqrt(20 + L50)  # (18)
    S_C = 1 + 0.045 * Cp_bar  # (19)
    S_H = 1 + 0.015 * Cp_bar * T  # (20)
    R_T = -torch.sin(2 * d_theta) * R_C  # (21)
    dL, dC, dH = dLp / (kL * S_L), dCp / (kC * S_C), dHp / (kH * S_H)
    return _root((dL**2 + dC**2 + dH**2 + R_T * dC * dH).clamp(min=0))  # (22)


def _root(x: Tensor) -> Tensor:
    """The square root with slope 0 instead of infinity at 0."""
    zero = x == 0
    return torch.where(zero, 0, torch.where(zero, 1, x).sqrt())


def _length(a: Tensor, b: Tensor) -> Tensor:
    return _root(a * a + b * b)


def _saturating(chroma: Tensor) -> Tensor:
    c7 = chroma**7
    return _root(c7 / (c7 + CHROMA_7))


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """Hue in [0, 2 pi); 0, with slope 0, where there is none."""
    gray = (a == 0) & (b == 0)
    h = torch.atan2(b, torch.where(gray, 1, a))
    h = torch.where(h < 0, h + 2 * math.pi, h)
    return torch.where(gray, 0, h)
