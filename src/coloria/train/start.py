"""Begins or resumes a training in this process: what `coloria train` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from coloria.config import load_recipe
from coloria.errors import OptionError, UnknownNameError
from coloria.models import registry
from coloria.train import distributed
from coloria.train.checkpoint import Checkpoints
from coloria.train.nogan import Trainer
from coloria.train.plan import plan
from coloria.train.preflight import Preflight, plan_table
from coloria.train.run import Run, default_folder, read_recipe
from coloria.train.schedule import NoGanRecipe

DEFAULT_RECIPES = {"artistic": "artistic", "stable": "stable"}
"""The recipe of each model that can be trained, where no other is given."""


def default_recipe(model: str | None) -> str:
    """The recipe that a model is trained with if no other is given.

    Raises:
        UnknownNameError: The model cannot be trained.
    """
    name = registry.get(model or "").name
    if name not in DEFAULT_RECIPES:
        raise UnknownNameError("model to train", name, DEFAULT_RECIPES)
    return DEFAULT_RECIPES[name]


def start(
    model: str | None,
    *,
    config: str | None = None,
    data: Sequence[Path] = (),
    changes: Sequence[str] = (),
    folder: Path | None = None,
    resume: Path | None = None,
    device: str = "auto",
    gpus: int = 0,
    dry_run: bool = False,
    console: Console | None = None,
) -> Path | None:
    """Trains a model; in several processes each calls this.

    Args:
        model: Which one; may be left out with `resume`.
        config: Recipe by name or path.
        data: Folders or .zip files of photographs; the recipe's own where empty.
        changes: `key=value` for the recipe.
        folder: Run folder of a new run.
        resume: Run folder to go on with.
        device: "auto", "cpu" or "cuda".
        gpus: How many GPUs must be there.
        dry_run: Show the plan and stop.
        console: Where the plan and the times are shown; standard error by default.

    Returns:
        The run folder; None after a dry run.

    Raises:
        ConfigError: The recipe has a mistake.
        TrainingError: Something is missing, or training cannot go on.
    """
    console = console or Console(stderr=True)
    recipe = (
        read_recipe(resume, NoGanRecipe, changes)
        if resume
        else load_recipe(config or default_recipe(model), NoGanRecipe, changes)
    )
    if data:  # so that the run folder knows them, and --resume needs no --data
        recipe = _with_data(recipe, data)
    if model and registry.get(model).name != recipe.model:
        raise OptionError(f"the recipe trains {recipe.model!r}, not {model!r}")
    checks = Preflight()
    if gpus:
        checks.gpus(gpus)
    with distributed.process_group("cuda" if gpus else "cpu"):
        trainer = Trainer(recipe, device, checks)
        if dry_run:
            console.print(plan_table(plan(trainer)))
            return None
        where = resume or folder or default_folder(recipe.model, config or default_recipe(model))
        if not distributed.is_main():
            trainer.train(None, _state(where) if resume else None)
            return where
        with _open(where, recipe, resume, changes) as run:
            _say_data(console, trainer)
            trainer.train(run, run.state)
            console.print(run.timing_table())
    done = f"done: {where}; 'coloria export {where} -o FILE.safetensors' writes the weights"
    console.print(done, soft_wrap=True, highlight=False)
    return where


def _with_data(recipe: NoGanRecipe, data: Sequence[Path]) -> NoGanRecipe:
    paths = [str(Path(path).expanduser().absolute()) for path in data]
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": paths})})


def _open(
    where: Path, recipe: NoGanRecipe, resume: Path | None, changes: Sequence[str]
) -> Run[NoGanRecipe]:
    if resume:
        return Run.resume(where, NoGanRecipe, changes, keep=recipe.run.keep)
    return Run.create(where, recipe, keep=recipe.run.keep)


def _state(folder: Path) -> dict[str, Any] | None:
    found = Checkpoints(folder / "checkpoints").latest()
    return found[1]["state"] if found else None


def _say_data(console: Console, trainer: Trainer) -> None:
    photos = trainer.train_photos
    console.print(
        f"{len(photos)} photographs to train on, {len(trainer.val_photos)} to validate; left out: "
        f"{len(photos.skipped)} unreadable, {len(photos.grey)} nearly grey",
        highlight=False,
    )
    for name, reason in photos.skipped[:10]:
        console.print(f"  {name}: {reason}", highlight=False, markup=False)
