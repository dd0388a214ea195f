"""The checkpoints of a run as rows: how a model became what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coloria.errors import CheckpointError
from coloria.metrics.rows import ModelRow, Row
from coloria.train.checkpoint import Checkpoints, load
from coloria.train.run import read_recipe, run_training
from coloria.weightfile import Card, write_state


def checkpoint_rows(
    run: Path, folder: Path, device: str, precision: str, options: dict[str, Any]
) -> list[Row]:
    """One row a checkpoint of a run folder, in the order of their steps; those that an adversarial
    stage scored, too.

    Args:
        run: A run folder of ``coloria train``.
        folder: Where their weight files are written; it must live as long as the rows.
        device: As :func:`coloria.load` takes it.
        precision: As :func:`coloria.load` takes it.
        options: Of the colouring.

    Raises:
        TrainingError: It is no run folder.
        CheckpointError: There is no checkpoint yet.
    """
    training = run_training(run)
    recipe = read_recipe(run, training.schema())
    files: dict[str, Path] = {}
    for path in Checkpoints(run / "checkpoints").all():
        weights = training.exported(recipe, load(path)["state"])
        card = Card(recipe.model, weights.config, weights.preprocessing, recipe.default_size)
        files[path.stem] = folder / f"{path.stem}.safetensors"
        write_state(files[path.stem], weights.tensors, card)
    scored = sorted((run / "scores").glob("*.safetensors"))
    files = {path.stem: path for path in scored} | files
    if not files:
        raise CheckpointError(f"{run} has no checkpoint yet; let it train for a while")
    return [
        ModelRow(
            f"step {name.lstrip('0') or '0'}",
            recipe.model,
            str(file),
            device,
            precision,
            options,
            int(name) if name.isdecimal() else None,
        )
        for name, file in sorted(files.items())
    ]
