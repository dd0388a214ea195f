"""Which recipe and which trainer each model has: one literal table. Importing it loads no
framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from coloria.config import Recipe, model_of
from coloria.errors import OptionError, UnknownNameError
from coloria.models import registry

if TYPE_CHECKING:
    from coloria.models.registry import Weights
    from coloria.train.data import Photos
    from coloria.train.preflight import PlannedStage, Preflight
    from coloria.train.run import Run

__all__ = ["TRAINERS", "Trainer", "Training", "default_recipe", "training", "training_of"]


class Trainer(Protocol):
    """One training, in one process of possibly several."""

    train_photos: Photos
    val_photos: Photos

    def plan(self) -> list[PlannedStage]:
        """What would be done, for ``--dry-run``."""

    def train(self, run: Run[Any] | None, state: dict[str, Any] | None = None) -> None:
        """Does all of it, or what is left after a checkpoint with that state."""


@dataclass(frozen=True)
class Training:
    """How a model is trained; code is named as ``module:name`` and loaded when it is used."""

    recipe: str
    """Class of its recipes."""
    trainer: str
    """Class of its trainer: made of (recipe, device, checks)."""
    weights: str
    """Function from (recipe, state of a checkpoint) to what a weight file is to hold."""
    default: str
    """The recipe that is used where no other is given."""
    chosen: str | None = None
    """Function from (recipe, run folder, step or None) to the scored checkpoint that is exported,
    where the trainer keeps such."""
    torchrun: bool = True
    """Several GPUs are several processes; otherwise one process is given their number."""

    def schema(self) -> type[Recipe]:
        """The class of its recipes."""
        schema: type[Recipe] = _named(self.recipe)
        return schema

    def make(self, recipe: Recipe, device: str, checks: Preflight, gpus: int = 0) -> Trainer:
        """Its trainer, ready to begin.

        Raises:
            TrainingError: something is missing; one message names everything.
        """
        more = {} if self.torchrun else {"gpus": gpus}
        trainer: Trainer = _named(self.trainer)(recipe, device, checks, **more)
        return trainer

    def exported(self, recipe: Recipe, state: Mapping[str, Any]) -> Weights:
        """What a weight file holds after a training."""
        weights: Callable[..., Weights] = _named(self.weights)
        return weights(recipe, state)

    def scored(self, recipe: Recipe, run: Path, step: int | None) -> tuple[int, Path] | None:
        """Step and weight file of the checkpoint to export, of those that were scored.

        Args:
            recipe: Of the run.
            run: Its folder.
            step: The one that the user picked; None for the recipe's own rule.

        Raises:
            CheckpointError: There is none of that step.
            OptionError: A step was picked, and this trainer scores no checkpoints.
        """
        if self.chosen is not None:
            found: tuple[int, Path] | None = _named(self.chosen)(recipe, run, step)
            return found
        if step is not None:
            raise OptionError(
                f"--pick is for models trained with scored checkpoints, not for {recipe.model!r}"
            )
        return None


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


TRAINERS: dict[str, Training] = {
    "artistic": Training(
        recipe="coloria.train.schedule:NoGanRecipe",
        trainer="coloria.train.nogan:Trainer",
        weights="coloria.train.schedule:weights",
        default="artistic",
        chosen="coloria.train.pick:chosen",
    ),
    "stable": Training(
        recipe="coloria.train.schedule:NoGanRecipe",
        trainer="coloria.train.nogan:Trainer",
        weights="coloria.train.schedule:weights",
        default="stable",
        chosen="coloria.train.pick:chosen",
    ),
    "eccv16": Training(
        recipe="coloria.train.chroma_recipe:ChromaRecipe",
        trainer="coloria.train.chroma:Trainer",
        weights="coloria.train.chroma_recipe:weights",
        default="eccv16",
    ),
    "siggraph17": Training(
        recipe="coloria.train.chroma_recipe:ChromaRecipe",
        trainer="coloria.train.chroma:Trainer",
        weights="coloria.train.chroma_recipe:weights",
        default="siggraph17-compact",
    ),
    "bigcolor": Training(
        recipe="coloria.train.bigcolor_recipe:BigColorRecipe",
        trainer="coloria.train.bigcolor:Trainer",
        weights="coloria.train.bigcolor_recipe:weights",
        default="bigcolor-compact",
    ),
    "zhang": Training(
        recipe="coloria.train.keras_recipe:KerasRecipe",
        trainer="coloria.train.keras_unet:Trainer",
        weights="coloria.train.keras_recipe:weights",
        default="zhang-compact",
        torchrun=False,
    ),
}
"""How each model is trained, by its name."""


def training(model: str) -> Training:
    """How the model of that name or alias is trained.

    Raises:
        UnknownNameError: There is no such model, or it cannot be trained.
    """
    name = registry.get(model).name
    if name not in TRAINERS:
        raise UnknownNameError("model to train", name, TRAINERS)
    return TRAINERS[name]


def default_recipe(model: str | None) -> str:
    """The recipe that a model is trained with if no other is given.

    Raises:
        UnknownNameError: The model cannot be trained.
    """
    return training(model or "").default


def training_of(recipe: str | Path, model: str | None = None) -> Training:
    """How a recipe is carried out: by the model that it names, else by that which was asked for.

    Args:
        recipe: Name or path.
        model: What was asked for.

    Raises:
        UnknownNameError: There is no such recipe, or neither model can be trained.
        ConfigError: The recipe cannot be read.
    """
    named = model_of(recipe)
    # A recipe without a model, or with a wrong one, is told so by the checks of that schema.
    return TRAINERS[named] if named in TRAINERS else training(model or named)
