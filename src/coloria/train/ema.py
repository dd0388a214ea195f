"""Exponential moving average of a network's weights.

After each step ``average = decay * average + (1 - decay) * weights``. Early on, the decay is held
back to ``min(decay, (1 + t) / (10 + t))``, t being the updates made so far, so that the random
first weights are soon forgotten: the rule of TensorFlow's ``tf.train.ExponentialMovingAverage``
with ``num_updates`` (https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from coloria.errors import CheckpointError

__all__ = ["Ema", "ema_update", "warm_decay"]


def warm_decay(decay: float, updates: int) -> float:
    """The decay of the next update, when ``updates`` have been made: ``min(d, (1+t)/(10+t))``."""
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def ema_update(average: Sequence[Tensor], params: Sequence[Tensor], decay: float) -> None:
    """Move each average towards its parameter, in place: ``a += (1 - decay) * (p - a)``.

    Args:
        average: floating point tensors.
        params: tensors of the same shapes and devices; converted to the averages' types.
        decay: share of the old average that stays, 0..1.
    """
    if average:
        same = [p.to(a.dtype) for a, p in zip(average, params, strict=True)]
        torch._foreach_lerp_(list(average), same, 1 - decay)


STATISTICS = ("running_mean", "running_var", "stored_mean", "stored_var")
"""Buffers that are averaged: those of BatchNorm, by PyTorch's names and by BigGAN's."""


class Ema:
    """The average of all tensors of a module's state_dict.

    Parameters and the running statistics of BatchNorm are averaged in float32 or better. All other
    buffers are copied: integers, and the singular vectors of spectral norms, whose mean over many
    steps has no unit length and so would scale the kernel wrongly.

    Attributes:
        decay: share of the old average that stays at each update, 0..1.
        warm_up: whether the decay is held back in the beginning.
        updates: how many have been made.
        average: tensors by their names in the state_dict, on the module's device.
    """

    def __init__(self, module: nn.Module, decay: float, warm_up: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"wanted a decay of at least 0 and below 1, got {decay}")
        self.decay = decay
        self.warm_up = warm_up
        self.updates = 0
        self.average = {name: _start(value) for name, value in _tensors(module).items()}
        self._averaged = _averaged(module) & self.average.keys()

    def update(self, module: nn.Module) -> None:
        """Take in the module's tensors after an optimiser step."""
        decay = warm_decay(self.decay, self.updates) if self.warm_up else self.decay
        now = _tensors(module)
        names = sorted(self._averaged)
        ema_update([self.average[n] for n in names], [now[n] for n in names], decay)
        for name in self.average.keys() - self._averaged:
            self.average[name].copy_(now[name])
        self.updates += 1

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Within the block the module has the averages; afterwards its own values, bit by bit."""
        own = {name: value.clone() for name, value in _tensors(module).items()}
        _copy_into(module, self.average)
        try:
            yield
        finally:
            _copy_into(module, own)

    def state_dict(self) -> dict[str, Any]:
        """Averages and count, for a checkpoint; the tensors are not copied."""
        return {"updates": self.updates, "average": dict(self.average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            CheckpointError: it belongs to another network.
        """
        saved: Mapping[str, Tensor] = state["average"]
        for name in sorted(self.average.keys() | saved.keys()):
            shapes = [tuple(d[name].shape) if name in d else None for d in (self.average, saved)]
            if shapes[0] != shapes[1]:
                raise CheckpointError(
                    f"the average of {name!r} has the shape {shapes[1]} in the checkpoint and "
                    f"{shapes[0]} in the network: it belongs to another network"
                )
        for name, value in self.average.items():
            value.copy_(saved[name])
        self.updates = int(state["updates"])


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: v for name, v in module.state_dict().items() if isinstance(v, Tensor)}


def _averaged(module: nn.Module) -> set[str]:
    """Names of what is averaged."""
    buffers = {n for n, _ in module.named_buffers() if n.rsplit(".", 1)[-1] in STATISTICS}
    return {n for n, p in module.named_parameters() if p.is_floating_point()} | buffers


def _start(value: Tensor) -> Tensor:
    small = value.is_floating_point() and value.dtype.itemsize < torch.float32.itemsize
    return value.detach().to(torch.float32 if small else value.dtype, copy=True)


@torch.no_grad()
def _copy_into(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, tensor in _tensors(module).items():
        tensor.copy_(values[name])
