"""Trains `zhang` through Keras' ``fit``, on the PyTorch or the TensorFlow backend.

The recipe is a plain one: Adam on the mean absolute error of pairs of pictures. Photographs, run
folder, records and checkpoints are those of every training here; a run can be interrupted at any
moment and goes on after its last checkpoint.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coloria.errors import NonFiniteLossError
from coloria.keras_backend import backend, device, keras, no_settings_file
from coloria.models.zhang import Zhang, assign, network, variables
from coloria.train.checkpoint import seed_all
from coloria.train.collection import find_photos, make_batches
from coloria.train.keras_data import Feed
from coloria.train.keras_device import Place, place
from coloria.train.keras_losses import make_loss, metrics
from coloria.train.keras_recipe import KerasRecipe
from coloria.train.loader import Batch, Batches
from coloria.train.log import written
from coloria.train.preflight import PlannedStage, Preflight
from coloria.train.run import Run
from coloria.train.sources import resolve_sources
from coloria.train.stage_record import StageRecord
from coloria.train.validate import joined, measure

STAGE = "fit"
"""Name of the only stage in the records."""

SMOOTH_START = 25
"""The rate rises from this part of the largest one, as in the other recipes."""


class Trainer:
    """One training, in one process.

    Args:
        recipe: The checked recipe.
        device: "auto", "cpu" or "cuda".
        checks: What the caller has found missing already.
        gpus: How many GPUs share each batch; more than one on TensorFlow only.

    Raises:
        TrainingError: Something is missing; one message names everything.
    """

    def __init__(
        self,
        recipe: KerasRecipe,
        device: str = "auto",
        checks: Preflight | None = None,
        gpus: int = 0,
    ) -> None:
        self.recipe = recipe
        self.place: Place = self._preflight(checks or Preflight(), device, gpus)
        seed_all(recipe.run.seed)  # Keras draws its seeds from these; its own way loads TensorFlow
        self.train_photos, self.val_photos = find_photos(recipe.data, recipe.run.seed, recipe.split)
        self.train_batches, self.val_batches = self._batches()
        with self.place.scope():
            self.model = network(recipe.shape(), recipe.network.dropout, self.place.policy)
            self._compile()
        self.net = Zhang(recipe.shape(), self.model)
        self.step = 0
        self.best: dict[str, Any] | None = None
        """Figure, epochs since, and weights of the best epoch, with ``patience``."""

    def _preflight(self, checks: Preflight, device: str, gpus: int) -> Place:
        with checks.collect():
            resolve_sources(None, self.recipe.data.train)
        found = None
        with checks.collect():
            found = place(device, gpus, self.recipe.run.precision)
        checks.check()
        assert found is not None  # else check() has raised
        return found

    def _batches(self) -> tuple[Batches, Batches]:
        recipe = self.recipe
        return make_batches(
            recipe.data,
            (self.train_photos, self.val_photos),
            size=recipe.size,
            batch=recipe.batch,
            seed=recipe.run.seed,
            share=recipe.share,
            device=self.place.batches,
        )

    def _compile(self) -> None:
        losses = self.recipe.losses
        loss = make_loss(losses.mae, losses.lab, losses.beta, losses.emphasis)
        adam = keras().optimizers.Adam(self._rate())
        self.model.compile(adam, loss, metrics=metrics())
        self.model.optimizer.build(self.model.trainable_variables)

    def _rate(self) -> Any:
        config, steps = self.recipe.optimizer, len(self.train_batches) * self.recipe.epochs
        if config.decay == "none":
            return config.lr
        rising = round(config.warmup * steps)
        return keras().optimizers.schedules.CosineDecay(
            config.lr / SMOOTH_START if rising else config.lr,
            steps - rising,
            warmup_target=config.lr if rising else None,
            warmup_steps=rising,
        )

    def plan(self) -> list[PlannedStage]:
        """What would be done, for ``--dry-run``."""
        recipe = self.recipe
        steps = len(self.train_batches) * recipe.epochs
        row = (STAGE, recipe.size, recipe.batch, recipe.epochs, steps, steps * recipe.batch)
        return [PlannedStage(*row, self._memory(), f"Keras on {backend()}")]

    def _memory(self) -> int:
        """Bytes of a step, estimated: weights, gradients and two moments; outputs of all layers
        and their gradients.
        """
        recipe, layers = self.recipe, self.model.layers[1:]
        every = keras().Model(self.model.inputs, [layer.output for layer in layers])
        pictures = keras().KerasTensor((recipe.batch, recipe.size, recipe.size, 3))
        values = sum(math.prod(out.shape) for out in every.compute_output_spec(pictures))
        return int(4 * (4 * self.model.count_params() + 2 * values))

    # -------------------------------------------------------------- the run

    def train(self, run: Run[KerasRecipe] | None, state: dict[str, Any] | None = None) -> None:
        """Does all epochs, or those that are left, and writes what they gave.

        Args:
            run: The run folder.
            state: What :meth:`state` gave, of the checkpoint to go on from.
        """
        assert run is not None  # there is only the main process
        recipe, batches = self.recipe, self.train_batches
        first, start = self._restore(state) if state else (0, 0)
        record = StageRecord(run, recipe.run, STAGE, recipe.size, batches, recipe.epochs)
        with self.place.scope(), record.running(first * len(batches) + start):
            if 0 < start < len(batches):  # the rest of an epoch: a pass of another length
                self._fit(record, Feed(batches, start), first, first + 1)
                first += 1
            elif start:
                first = self._end(record, first)
            if first < recipe.epochs:
                self._fit(record, Feed(batches), first, recipe.epochs)
        run.save(self.step, self.state(recipe.epochs), STAGE)
        with written(run.folder):
            self._write(run.folder)

    def _fit(self, record: StageRecord, feed: Feed, first: int, last: int) -> None:
        with self.place.scope():
            try:
                self.model.fit(
                    feed.dataset(),
                    initial_epoch=first,
                    epochs=last,
                    shuffle=False,  # the batches are, already
                    verbose=0,
                    callbacks=[_callback(self, record, feed)],
                )
            except Exception:
                if feed.error:
                    raise feed.error from None
                raise

    def _batch(self, record: StageRecord, epoch: int, done: int, logs: Mapping[str, float]) -> None:
        """After an optimiser step; the figures are means over the epoch so far."""
        self.step += 1
        if not math.isfinite(logs["loss"]):
            raise NonFiniteLossError(
                f"epoch {epoch}, step {self.step}: the loss is {logs['loss']}; stopped, the last "
                "checkpoint is from before it: go on from it with a smaller rate, --resume RUN "
                "--set optimizer.lr=..., or with --set run.precision=fp32"
            )
        rate = float(keras().ops.convert_to_numpy(self.model.optimizer.learning_rate))
        figures = {f"train/{name}": float(value) for name, value in logs.items()}
        record.step(self.step, epoch, {"train/lr": rate, **figures})
        record.checkpoint(self.step, lambda: self.state(epoch, done))

    def _end(self, record: StageRecord, epoch: int) -> int:
        """After an epoch: validates, remembers the best; the epoch that comes next."""
        figures: dict[str, float] = {}

        def validate() -> tuple[Mapping[str, float], list[Tensor]]:
            found, columns = measure(self._judge, self.val_batches, self.recipe.run.pictures)
            figures.update(found)
            return found, columns

        record.epoch(self.step, epoch, validate)
        return self.recipe.epochs if self._enough(figures) else epoch + 1

    def _enough(self, figures: Mapping[str, float]) -> bool:
        """Whether there was no better epoch for as long as the recipe waits."""
        if self.recipe.patience is None:
            return False
        value = figures[f"val/{self.recipe.watch}"]
        if self.best is None or value < self.best["value"]:
            self.best = {"value": value, "waited": 0, "net": variables(self.model)}
        else:
            self.best["waited"] += 1
        return bool(self.best["waited"] >= self.recipe.patience)

    def _judge(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        rgb, truth = self.net.colorize(batch.gray).float(), batch.rgb
        same = rgb.argmax(dim=1) == truth.argmax(dim=1)
        figures = {
            "val/mae": float((rgb - truth).abs().mean()),
            "val/keras_accuracy": float(same.float().mean()),
        }
        return joined(batch.gray, rgb), figures

    # -------------------------------------------------------------- checkpoints and results

    def state(self, epoch: int, batch: int = 0) -> dict[str, Any]:
        """Everything a continuation needs."""
        return {
            "epoch": epoch,
            "batch": batch,
            "step": self.step,
            "net": variables(self.model),
            "optimizer": [_tensor(v) for v in self.model.optimizer.variables],
            "seeds": [_tensor(v) for v in self._seeds()],
            "best": self.best,
        }

    def _restore(self, state: dict[str, Any]) -> tuple[int, int]:
        """Takes up a checkpoint; the epoch to go on with, and how many of its batches are done."""
        with self.place.scope():
            assign(self.model, state["net"])
            own = [*self.model.optimizer.variables, *self._seeds()]
            for variable, value in zip(own, [*state["optimizer"], *state["seeds"]], strict=True):
                variable.assign(value.numpy())
        self.step, self.best = state["step"], state["best"]
        return state["epoch"], state["batch"]

    def _seeds(self) -> list[Any]:
        """Where the random numbers of Dropout stand."""
        weights = {id(v) for v in self.model.weights}
        return [v for v in self.model.non_trainable_variables if id(v) not in weights]

    def _write(self, folder: Path) -> None:
        """The network in both of Keras' own forms, and as our weight file."""
        from coloria.export import export

        name = self.recipe.model
        with device(torch.device("cpu")):
            model = network(self.recipe.shape(), self.recipe.network.dropout)
            assign(model, self.best["net"] if self.best else variables(self.model))
            save(model, self.recipe.optimizer.lr, folder / name)
        export(folder, folder / f"{name}.safetensors")


def save(model: Any, lr: float, path: Path) -> None:
    """Writes ``path.keras`` and ``path.h5``, Keras' legacy form.

    Compiled with what Keras knows by itself, so that they load where this package is not.
    """
    of = keras()
    adam, mae = of.optimizers.Adam(lr), of.losses.MeanAbsoluteError()
    model.compile(adam, mae, metrics=[of.metrics.CategoricalAccuracy("accuracy")])
    legacy = logging.getLogger("absl")  # warns of the legacy form; that it is one is said above
    level = legacy.level
    legacy.setLevel(logging.ERROR)
    try:
        with no_settings_file():  # Keras loads TensorFlow here where it is installed
            for suffix in (".keras", ".h5"):
                hidden = path.with_name(f".{path.name}{suffix}")  # Keras goes by the suffix
                model.save(hidden)
                hidden.replace(path.with_name(f"{path.name}{suffix}"))
    finally:
        legacy.setLevel(level)


def _tensor(variable: Any) -> Tensor:
    value = np.array(keras().ops.convert_to_numpy(variable))
    return torch.from_numpy(value.astype(np.int64) if value.dtype.kind == "u" else value)


def _callback(trainer: Trainer, record: StageRecord, feed: Feed) -> Any:
    """Tells the trainer where ``fit`` is."""

    class Callback(keras().callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            feed.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            trainer._batch(record, feed.epoch, feed.start + batch + 1, logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if trainer._end(record, epoch) > epoch + 1:
                self.model.stop_training = True

    return Callback()
