"""From a run, or from somebody else's checkpoint, to one weight file of ours."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from torch import Tensor

from coloria import __version__
from coloria.errors import CheckpointError, OptionError, WeightsMissingError
from coloria.models import registry
from coloria.models.registry import Weights
from coloria.train.checkpoint import Checkpoints, load
from coloria.train.environment import git_commit
from coloria.train.log import COLUMNS
from coloria.train.run import changes_of, read_recipe, run_training
from coloria.weightfile import Card, read_state, write_state
from coloria.weights import find, read

SUFFIX = ".safetensors"

PLACES = ("data.train", "start.")
"""Settings whose values are paths."""

OWN_TERMS = (
    "trained by this project's own code; the terms of the photographs it was trained on apply to "
    "what may be done with it"
)


def export(
    source: str | Path,
    target: str | Path,
    *,
    model: str | None = None,
    stage: str | None = None,
    pick: int | None = None,
    terms: str = OWN_TERMS,
    data: str = "",
) -> Path:
    """Writes a weight file with its card: norms folded, matrices float16, vectors float32.

    Args:
        source: A run folder of ``coloria train``, or a weight file that the model can load.
        target: The file to write, ending in .safetensors.
        model: For a weight file without a card: which model it is of.
        stage: For a run: take the weights from the end of this stage.
        pick: For a run with adversarial stages: take the scored checkpoint of this step. Without
            it, the recipe's rule chooses among them; a run without any gives its newest weights.
        terms: For a run: under which terms the weights may be used.
        data: For a run: what the weights were trained on, for the card.

    Raises:
        OptionError: The target has another suffix, or it is unclear which model it is.
        CheckpointError: The run has no checkpoint yet, or none of that stage.
        WeightsError: The weight file is not one of that model.
    """
    target = Path(target)
    if target.suffix != SUFFIX:
        raise OptionError(f"the target must end in {SUFFIX}; got {target.name!r}")
    source = Path(source).expanduser()
    if source.is_dir():
        tensors, card = _of_run(source, stage, pick, terms, data)
    elif source.is_file():
        tensors, card = _of_file(source, model)
    else:
        raise WeightsMissingError(f"wanted a run folder or a weight file; {source} is neither")
    write_state(target, tensors, card)
    return target


def _of_run(
    folder: Path, stage: str | None, pick: int | None, terms: str, data: str
) -> tuple[dict[str, Tensor], Card]:
    training = run_training(folder)
    recipe = read_recipe(folder, training.schema())
    scored = None if stage else training.scored(recipe, folder, pick)
    if scored:
        step, path = scored
        weights = _of_scored(path)
    else:
        path, whole = _checkpoint(folder, stage)
        step = int(whole["step"])
        weights = training.exported(recipe, whole["state"])
    settings = recipe.model_dump(mode="json")
    settings["data"]["train"] = None
    if "start" in settings:
        settings["start"] = None
    provenance = {
        "recipe": settings,
        "changed on the way": _without_places(changes_of(folder)),
        "steps": step,
        "checkpoint": path.name,
        "commit": git_commit(),
        "coloria": __version__,
        "data": data,
        "figures": _figures(folder / "log.csv", step),
    }
    return weights.tensors, Card(
        model=recipe.model,
        config=weights.config,
        preprocessing=weights.preprocessing,
        default_size=recipe.default_size,
        provenance=provenance,
        terms=terms,
    )


def _without_places(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the photographs and the first weights lay is nobody's business."""
    told = []
    for change in changes:
        pairs = [text.partition("=") for text in change["set"]]
        places = {key: key.startswith(PLACES) for key, _, _ in pairs}
        told.append({**change, "set": [k if places[k] else f"{k}={v}" for k, _, v in pairs]})
    return told


def _of_scored(path: Path) -> Weights:
    tensors, card = read_state(path)
    if card is None:
        raise CheckpointError(f"{path} does not say what it is; it was not written by this run")
    return Weights(tensors, card.config, card.preprocessing)


def _checkpoint(folder: Path, stage: str | None) -> tuple[Path, dict[str, Any]]:
    checkpoints = Checkpoints(folder / "checkpoints")
    if stage is None:
        found = checkpoints.latest()
        if found is None:
            raise CheckpointError(f"{folder} has no checkpoint yet; let it train for a while")
        return found
    path = checkpoints.stage(stage)
    if path is None:
        raise CheckpointError(f"{folder} has no checkpoint of the stage {stage!r}")
    return path, load(path)


def _figures(path: Path, step: int) -> dict[str, float]:
    """The last validation figures up to that step."""
    figures: dict[str, float] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, COLUMNS):
            if row["name"].startswith("val/") and int(row["step"]) <= step:
                figures[row["name"].removeprefix("val/")] = round(float(row["value"]), 5)
    return figures


def _of_file(path: Path, model: str | None) -> tuple[dict[str, Tensor], Card]:
    state, card = read_state(path)
    name = registry.get(model).name if model else (card.model if card else None)
    name = name or registry.identify(state)
    if name is None:
        raise OptionError(f"{path} does not say which model it is of: give --model")
    found = find(name, path)
    if found.companion:
        state, card = read(found, name)
    config, coding = (card.config, card.preprocessing) if card else (None, None)
    about = registry.get(name)
    weights = about.family().convert(name, state, config, coding)
    return weights.tensors, card or Card(
        model=name,
        config=weights.config,
        preprocessing=weights.preprocessing,
        provenance={"converted from": " and ".join(p.name for p in (path, found.companion) if p)},
        terms=about.licence,
    )
