"""Colour differences by name: CIEDE2000 here, the older ones by colour-science (extra `eval`)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from coloria.errors import MissingExtraError, UnknownNameError
from coloria.metrics.ciede2000 import delta_e00

Method = Literal["cie76", "cie94", "cmc", "ciede2000"]


def delta_e(lab1: Any, lab2: Any, method: Method = "ciede2000", *, channel_axis: int = -1) -> Any:
    """Colour difference by one of four formulas: lower is better.

    ``"cie76"`` is the Euclidean distance in Lab (CIE 1976). ``"cie94"`` is that of 1994 with the
    weights for graphic arts, ``"cmc"`` CMC(2:1) of Clarke, McDonald & Rigg 1984; these two are not
    symmetric, and `lab1` is the standard. The three are :mod:`colour.difference`'s, in float64.

    Args:
        lab1: Lab with D65, three channels on `channel_axis`; tensor or array.
        lab2: The same.
        method: Which formula.
        channel_axis: Where the channels are.

    Returns:
        The shape without the channels; a tensor if `lab1` is one, else an array.

    Raises:
        UnknownNameError: No such method.
        MissingExtraError: An older one without the extra `eval`.
    """
    if method not in get_args(Method):
        raise UnknownNameError("colour difference", method, get_args(Method))
    if method == "ciede2000":
        return delta_e00(lab1, lab2, channel_axis=channel_axis)
    try:
        from colour import difference
    except ImportError as error:
        raise MissingExtraError(f"The colour difference {method}", "eval") from error
    one, other = (np.moveaxis(_array(lab), channel_axis, -1) for lab in (lab1, lab2))
    if method == "cie76":
        result = difference.delta_E_CIE1976(one, other)
    elif method == "cie94":
        result = difference.delta_E_CIE1994(one, other, textiles=False)
    else:
        result = difference.delta_E_CMC(one, other, l=2, c=1)
    return torch.from_numpy(result).to(lab1.device) if isinstance(lab1, Tensor) else result


def _array(lab: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(lab, Tensor):
        lab = lab.detach().cpu().numpy()
    return np.asarray(lab, dtype=np.float64)
