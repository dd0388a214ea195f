"""Where Keras trains: device, number format, and the GPUs that share a batch."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from coloria.device import pick_device, pick_precision
from coloria.errors import DeviceError, TrainingError
from coloria.keras_backend import backend, device

__all__ = ["Place", "place"]

TRAINS = ("torch", "tensorflow")
"""Backends of Keras that this trainer is tested on."""

_POLICIES = {
    torch.float32: "float32",
    torch.bfloat16: "mixed_bfloat16",
    torch.float16: "mixed_float16",
}


@dataclass(frozen=True)
class Place:
    """Where a training runs."""

    device: torch.device
    policy: str
    """Keras' name of the number format."""
    strategy: Any = None
    """TensorFlow's, with several GPUs."""

    @property
    def batches(self) -> torch.device:
        """Where batches are made ready: TensorFlow takes them from memory."""
        return self.device if backend() == "torch" else torch.device("cpu")

    def scope(self) -> AbstractContextManager[Any]:
        """A block in which variables are made, and steps done."""
        if self.strategy is not None:
            scope: AbstractContextManager[Any] = self.strategy.scope()
            return scope
        return device(self.device)


def place(name: str, gpus: int, precision: str) -> Place:
    """The place of that name.

    Args:
        name: "auto", "cpu" or "cuda".
        gpus: How many GPUs share each batch.
        precision: "auto", "fp32", "bf16" or "fp16".

    Raises:
        DeviceError: It is not there.
        TrainingError: This backend of Keras does not train, or not on so many GPUs.
    """
    if backend() not in TRAINS:
        raise TrainingError(
            f"KERAS_BACKEND={backend()}: zhang is trained on {' or '.join(TRAINS)}; set it to one "
            "of them, or unset it"
        )
    where = pick_device(name)
    strategy = None
    if backend() == "tensorflow":
        where = _seen(where, name)
        if gpus > 1:
            strategy = mirrored([f"GPU:{number}" for number in range(gpus)])
    elif gpus > 1:
        raise TrainingError(
            f"{gpus} GPUs share the batches of zhang on TensorFlow only: set "
            "KERAS_BACKEND=tensorflow, or give --gpus 1"
        )
    return Place(where, _POLICIES[pick_precision(precision, where)], strategy)


def _seen(where: torch.device, name: str) -> torch.device:
    """The device, if TensorFlow can use it, too; with "auto" else the CPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:  # else TensorFlow takes all memory of a GPU at once
        tf.config.experimental.set_memory_growth(gpu, True)
    if where.type == "cpu" or (gpus and where.type == "cuda"):
        return where
    if name == "auto":
        return torch.device("cpu")
    raise DeviceError(
        f"wanted the device {name!r}; TensorFlow {tf.__version__} sees no GPU: "
        "pip install 'tensorflow[and-cuda]', set KERAS_BACKEND=torch, or give --device cpu"
    )


def mirrored(devices: list[str]) -> Any:
    """TensorFlow's strategy that gives each device a part of every batch."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)
