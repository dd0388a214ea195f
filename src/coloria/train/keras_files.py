"""What a training of `zhang` leaves: the network in Keras' own two forms and as our weight file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from coloria.keras_backend import device, keras, loading
from coloria.models.zhang import assign, network, variables
from coloria.train.keras_recipe import KerasRecipe
from coloria.train.log import written

__all__ = ["write_files"]

SUFFIXES = (".keras", ".h5")
""".h5 is Keras' legacy form."""


def write_files(model: Any, recipe: KerasRecipe, folder: Path) -> None:
    """Writes ``zhang.keras``, ``zhang.h5`` and ``zhang.safetensors`` into a run folder.

    The network is compiled with what Keras knows by itself, so that the first two load where this
    package is not.

    Args:
        model: The trained network.
        recipe: What it was trained by.
        folder: The run folder, with its last checkpoint.

    Raises:
        TrainingError: A file cannot be written.
    """
    from coloria.export import export

    of = keras()
    with written(folder), device(torch.device("cpu")):
        plain = network(recipe.shape(), recipe.network.dropout)
        assign(plain, variables(model))
        adam, mae = of.optimizers.Adam(recipe.stages[-1].lr), of.losses.MeanAbsoluteError()
        adam.build(plain.trainable_variables)  # or Keras warns of the missing ones when it loads
        plain.compile(adam, mae, metrics=[of.metrics.CategoricalAccuracy("accuracy")])
        with loading(), _no_warning():  # Keras loads TensorFlow here where it can
            for suffix in SUFFIXES:
                hidden = folder / f".{recipe.model}{suffix}"  # Keras goes by the suffix
                plain.save(hidden)
                hidden.replace(folder / f"{recipe.model}{suffix}")
    export(folder, folder / f"{recipe.model}.safetensors")


@contextmanager
def _no_warning() -> Iterator[None]:
    """A block in which Keras does not warn of its legacy form: it is wanted here."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
