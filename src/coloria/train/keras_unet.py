"""Trains `zhang` through Keras' ``fit``, on the PyTorch or the TensorFlow backend.

The recipe is a plain one: Adam on the mean absolute error of pairs of pictures. Photographs, run
folder, records and checkpoints are those of every training here; a run can be interrupted at any
moment and goes on after its last checkpoint. Each stage makes a new optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coloria.errors import NonFiniteLossError
from coloria.keras_backend import backend, keras
from coloria.models.zhang import Zhang, assign, network, values, variables
from coloria.train import checkpoint
from coloria.train.collection import find_photos, make_batches
from coloria.train.keras_data import Feed
from coloria.train.keras_device import Place, place
from coloria.train.keras_files import write_files
from coloria.train.keras_losses import make_loss, metrics
from coloria.train.keras_recipe import KerasRecipe, KerasStage
from coloria.train.loader import Batch, Batches
from coloria.train.preflight import PlannedStage, Preflight
from coloria.train.run import Run
from coloria.train.sources import resolve_sources
from coloria.train.stage_record import StageRecord
from coloria.train.validate import joined, measure


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
        self.place = self._preflight(checks or Preflight(), device, gpus)
        # Keras draws its own seeds from these; its own way to do this loads TensorFlow.
        checkpoint.seed_all(recipe.run.seed)
        self.train_photos, self.val_photos = find_photos(recipe.data, recipe.run.seed, recipe.split)
        with self.place.scope():
            self.model = network(recipe.shape(), recipe.network.dropout, self.place.policy)
        self.net = Zhang(recipe.shape(), self.model)
        self.step = 0
        self.best: dict[str, Any] | None = None
        """Figure, epochs since, and weights of the stage's best epoch, with ``patience``."""

    def _preflight(self, checks: Preflight, device: str, gpus: int) -> Place:
        with checks.collect():
            resolve_sources(None, self.recipe.data.train)
        found = None
        with checks.collect():
            found = place(device, gpus, self.recipe.run.precision)
        checks.check()
        assert found is not None  # else check() has raised
        return found

    def batches(self, stage: KerasStage) -> tuple[Batches, Batches]:
        """For training and for validation."""
        recipe = self.recipe
        return make_batches(
            recipe.data,
            (self.train_photos, self.val_photos),
            size=stage.size,
            batch=stage.batch,
            seed=recipe.run.seed + recipe.stages.index(stage),
            share=stage.share,
            device=self.place.batches,
        )

    def plan(self) -> list[PlannedStage]:
        """What would be done, for ``--dry-run``."""
        rows = []
        for stage in self.recipe.stages:
            steps = 0 if stage.skip else len(self.batches(stage)[0]) * stage.epochs
            row = (stage.name, stage.size, stage.batch, stage.epochs, steps, steps * stage.batch)
            note = "skipped" if stage.skip else f"Keras on {backend()}"
            rows.append(PlannedStage(*row, self._memory(stage), note))
        return rows

    def _memory(self, stage: KerasStage) -> int:
        """Bytes of a step, estimated: weights, gradients and two moments; outputs of all layers
        and their gradients.
        """
        outputs = [layer.output for layer in self.model.layers[1:]]
        pictures = keras().KerasTensor((stage.batch, stage.size, stage.size, 3))
        shapes = keras().Model(self.model.inputs, outputs).compute_output_spec(pictures)
        numbers = sum(math.prod(tensor.shape) for tensor in shapes)
        return int(4 * (4 * self.model.count_params() + 2 * numbers))

    # -------------------------------------------------------------- the run

    def train(self, run: Run[KerasRecipe] | None, state: dict[str, Any] | None = None) -> None:
        """Does all stages, or those that are left, and writes what they gave.

        Args:
            run: The run folder.
            state: What :meth:`state` gave, of the checkpoint to go on from.
        """
        assert run is not None  # there is only the main process
        if state:
            self._restore(state)
        for index, stage in enumerate(self.recipe.stages):
            if state and index < state["stage"]:
                continue
            if stage.skip:
                run.timing.skip(stage.name, stage.size)
                continue
            resumed = state if state and index == state["stage"] and state["optimizer"] else None
            with self.place.scope():
                self._stage(run, index, stage, resumed)
            run.save(self.step, self.state(index + 1), stage.name)
        write_files(self.model, self.recipe, run.folder)

    def _stage(
        self,
        run: Run[KerasRecipe],
        index: int,
        stage: KerasStage,
        resumed: dict[str, Any] | None,
    ) -> None:
        train, valid = self.batches(stage)
        self._compile(stage, resumed)
        first, start = (resumed["epoch"], resumed["batch"]) if resumed else (0, 0)
        record = StageRecord(run, self.recipe.run, stage.name, stage.size, train, stage.epochs)
        steps = _Steps(self, index, stage, record, valid)
        with record.running(first * len(train) + start):
            if start == len(train):  # interrupted between its last step and its validation
                first, start = first + 1 if steps.end(first) else stage.epochs, 0
            if start:  # the rest of an epoch: a pass of another length
                steps.fit(Feed(train, start), first, first + 1)
                first = stage.epochs if self.model.stop_training else first + 1
            if first < stage.epochs:
                steps.fit(Feed(train), first, stage.epochs)
        if self.best:
            assign(self.model, self.best["net"])
            self.best = None

    def _compile(self, stage: KerasStage, resumed: dict[str, Any] | None) -> None:
        losses = self.recipe.losses
        loss = make_loss(losses.mae, losses.lab, losses.beta, losses.emphasis)
        self.model.compile(keras().optimizers.Adam(stage.lr), loss, metrics=metrics())
        self.model.optimizer.build(self.model.trainable_variables)
        if resumed:
            _give(self.model.optimizer.variables, resumed["optimizer"])

    # -------------------------------------------------------------- checkpoints

    def state(self, stage: int, **more: Any) -> dict[str, Any]:
        """Everything a continuation needs."""
        return {
            "stage": stage,
            "epoch": 0,
            "batch": 0,
            "step": self.step,
            "net": variables(self.model),
            "seeds": [values(v) for v in self._seeds()],
            "best": self.best,
            "optimizer": None,
            **more,
        }

    def optimizer_state(self) -> list[Tensor]:
        """Moments and counts, in the optimiser's own order."""
        return [values(v) for v in self.model.optimizer.variables]

    def _restore(self, state: dict[str, Any]) -> None:
        with self.place.scope():
            assign(self.model, state["net"])
            _give(self._seeds(), state["seeds"])
        self.step, self.best = state["step"], state["best"]

    def _seeds(self) -> list[Any]:
        """Where Dropout's random numbers stand on TensorFlow."""
        weights = {id(variable) for variable in self.model.weights}
        return [v for v in self.model.non_trainable_variables if id(v) not in weights]


class _Steps:
    """The steps of one stage: what ``fit`` calls."""

    def __init__(
        self, trainer: Trainer, index: int, stage: KerasStage, record: StageRecord, valid: Batches
    ) -> None:
        self.trainer, self.model, self.recipe = trainer, trainer.model, trainer.recipe
        self.index, self.stage, self.record, self.valid = index, stage, record, valid
        self.rate = stage.lr

    def fit(self, feed: Feed, first: int, last: int) -> None:
        """Epochs `first` to `last` - 1."""
        try:
            self.model.fit(
                feed.dataset(),
                initial_epoch=first,
                epochs=last,
                shuffle=False,  # the batches are, already
                verbose=0,
                callbacks=[_callback(self, feed)],
            )
        except Exception:
            if feed.error:
                raise feed.error from None
            raise
        finally:
            feed.close()

    def begin(self, epoch: int, done: int) -> None:
        """Before a step: sets its learning rate, and PyTorch's random numbers for Dropout."""
        key = [self.recipe.run.seed, self.index, epoch, done]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        at = epoch * len(self.record.batches) + done
        self.rate = self.stage.rate(at, self.record.steps)
        self.model.optimizer.learning_rate = self.rate

    def step(self, epoch: int, done: int, logs: Mapping[str, float]) -> None:
        """After a step; the figures are Keras' means over the epoch so far."""
        self.trainer.step += 1
        if not math.isfinite(logs["loss"]):
            raise NonFiniteLossError(
                f"stage {self.stage.name}, epoch {epoch}, step {self.trainer.step}: the loss is "
                f"{logs['loss']}; the last checkpoint is from before that: go on from it with a "
                f"smaller rate, --resume RUN --set stages.{self.index}.lr=..., or with --set "
                "run.precision=fp32"
            )
        figures = {f"train/{name}": float(value) for name, value in logs.items()}
        self.record.step(self.trainer.step, epoch, {"train/lr": self.rate, **figures})
        self.record.checkpoint(
            self.trainer.step,
            lambda: self.trainer.state(
                self.index, epoch=epoch, batch=done, optimizer=self.trainer.optimizer_state()
            ),
        )

    def end(self, epoch: int) -> bool:
        """After an epoch: validates and remembers the best; whether to go on."""
        figures: dict[str, float] = {}

        def validate() -> tuple[Mapping[str, float], list[Tensor]]:
            found, columns = measure(self._judge, self.valid, self.recipe.run.pictures)
            figures.update(found)
            return found, columns

        self.record.epoch(self.trainer.step, epoch, validate)
        return self._go_on(figures[f"val/{self.recipe.watch}"])

    def _go_on(self, value: float) -> bool:
        if self.recipe.patience is None:
            return True
        best = self.trainer.best
        if best is None or value < best["value"]:
            best = {"value": value, "waited": 0, "net": variables(self.model)}
        else:
            best = {**best, "waited": best["waited"] + 1}
        self.trainer.best = best
        return bool(best["waited"] < self.recipe.patience)

    def _judge(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        rgb, truth = self.trainer.net.colorize(batch.gray).float(), batch.rgb
        same = rgb.argmax(dim=1) == truth.argmax(dim=1)
        figures = {
            "val/mae": float((rgb - truth).abs().mean()),
            "val/keras_accuracy": float(same.float().mean()),
        }
        return joined(batch.gray, rgb), figures


def _callback(steps: _Steps, feed: Feed) -> Any:
    """Where ``fit`` is, told to the steps."""

    class Callback(keras().callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            feed.epoch = epoch

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            steps.begin(feed.epoch, feed.start + batch)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.step(feed.epoch, feed.start + batch + 1, logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = not steps.end(epoch)

    return Callback()


def _give(own: list[Any], saved: list[Tensor]) -> None:
    for variable, value in zip(own, saved, strict=True):
        variable.assign(value.numpy())
