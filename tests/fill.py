"""Weights that follow from a state_dict's keys alone, the same on every machine.

Two implementations that agree on keys and shapes then have the same weights, so a golden file
holds only inputs and outputs. NumPy promises that `RandomState`'s numbers never change.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

POWER_ITERATIONS = 10


def generator(salt: str, name: str) -> np.random.RandomState:
    """The generator that belongs to one name."""
    return np.random.RandomState(zlib.crc32(f"{salt}/{name}".encode()))


def fill(state: Mapping[str, Tensor], salt: str) -> dict[str, Tensor]:
    """Values for every entry: float32 of the same shape, integers zero."""
    filled = {key: _values(key, value, state, salt) for key, value in state.items()}
    for key in state:
        if key.rsplit(".", 1)[-1] in ("weight_u", "u0"):
            filled.update(_spectral(key, filled, salt))
    return filled


def _values(key: str, like: Tensor, state: Mapping[str, Tensor], salt: str) -> Tensor:
    shape = tuple(like.shape)
    if not like.dtype.is_floating_point:
        return torch.zeros(shape, dtype=like.dtype)
    stem, _, leaf = key.replace("/", ".").rpartition(".")  # Keras: layer/variable
    draw = generator(salt, key)
    if leaf in ("weight_u", "u0") or (leaf == "weight_v" and f"{stem}.weight_orig" in state):
        values = np.zeros(shape)  # filled by the power iteration
    elif leaf in ("running_var", "stored_var", "moving_variance"):
        values = draw.uniform(0.5, 1.5, shape)
    elif leaf in ("running_mean", "stored_mean", "moving_mean"):
        values = 0.1 * draw.standard_normal(shape)
    elif leaf in ("gamma", "sv0"):
        values = np.full(shape, 0.7 if leaf == "gamma" else 1.0)
    elif leaf == "weight_g" or (len(shape) == 1 and leaf in ("weight", "gain")):
        values = draw.uniform(0.8, 1.2, shape) * (0.2 if key.endswith("bn3.weight") else 1.0)
    elif key.endswith(("shared.weight", "embed.weight")):
        values = 0.3 * draw.standard_normal(shape)
    elif len(shape) > 1:  # Keras' kernels have the outputs last
        inputs = shape[:-1] if leaf == "kernel" else shape[1:]
        values = draw.standard_normal(shape) * np.sqrt(2.0 / np.prod(inputs))
    else:
        values = 0.05 * draw.standard_normal(shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _spectral(key: str, filled: Mapping[str, Tensor], salt: str) -> dict[str, Tensor]:
    """The vectors of a spectral norm, by power iteration in float64."""
    stem, _, leaf = key.rpartition(".")
    kernel = filled[f"{stem}.weight_orig" if leaf == "weight_u" else f"{stem}.weight"]
    matrix = kernel.double().numpy().reshape(kernel.shape[0], -1)
    u = generator(salt, key).standard_normal(matrix.shape[0])
    u /= np.linalg.norm(u)
    for _ in range(POWER_ITERATIONS):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    found = {key: torch.from_numpy(u.astype(np.float32)).reshape(filled[key].shape)}
    if leaf == "weight_u":
        found[f"{stem}.weight_v"] = torch.from_numpy(v.astype(np.float32))
    return found


def image(shape: tuple[int, int, int, int], salt: str, name: str) -> Tensor:
    """A smooth random (B, C, H, W), float32 in [0, 1]."""
    draw = generator(salt, f"input/{name}")
    batch, channels, height, width = shape
    small = draw.uniform(0, 1, (batch, channels, max(2, height // 8), max(2, width // 8)))
    large = F.interpolate(
        torch.from_numpy(small), (height, width), mode="bilinear", align_corners=False
    )
    return (large + 0.05 * torch.from_numpy(draw.standard_normal(shape))).clamp(0, 1).float()
