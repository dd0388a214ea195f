"""`coloria train`: a model from colour photographs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.argument("model", required=False)
@click.option(
    "--config",
    help="Recipe by name or path; by default the published one, for a GPU. For a CPU there is "
    "MODEL-compact.",
)
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder or .zip of colour photographs; may be given several times.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; by default in runs/.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run folder.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--gpus", type=click.IntRange(1), help="Processes, one on each GPU.")
@click.option("--processes", type=click.IntRange(1), default=1, help="Processes on the CPU.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--list", "list_", is_flag=True, help="List the recipes and stop.")
def train(
    model: str | None,
    config: str | None,
    data: tuple[Path, ...],
    changes: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    device: str,
    gpus: int | None,
    processes: int,
    dry_run: bool,
    list_: bool,
) -> None:
    """Train MODEL on colour photographs.

    The photographs are any folder or .zip, given with --data, in the recipe, or by the
    environment variable COLORIA_DATA.
    """
    from coloria.errors import OptionError

    if list_:
        _list()
        return
    if gpus and (processes > 1 or device == "cpu"):
        raise OptionError("give --gpus N, or --device cpu --processes N, not both")
    if resume and (config or out):
        raise OptionError(
            "--resume takes the recipe and the folder of the run: change parts of "
            "it with --set, and leave out --config and --out"
        )
    if not (model or resume):
        raise OptionError("give a model to train, or --resume RUN; --list shows the recipes")
    count = gpus or processes
    if count > 1 and "WORLD_SIZE" not in os.environ and not dry_run:
        if _by_torchrun(model, resume):
            _spread(count, model, config, out, resume)
            return
        if processes > 1:
            raise OptionError("this model trains in one process; leave out --processes")
    from coloria.train.start import start

    start(
        model,
        config=config,
        data=data,
        changes=changes,
        folder=out,
        resume=resume,
        device="cuda" if gpus else device,
        gpus=gpus or 0,
        dry_run=dry_run,
    )


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from coloria.config import list_recipes

    table = Table("recipe", "model", "what it is")
    for recipe in list_recipes():
        table.add_row(recipe.name, recipe.model, recipe.description)
    Console().print(table)


def _by_torchrun(model: str | None, resume: Path | None) -> bool:
    """Whether several processes share the work; otherwise one takes all GPUs."""
    from coloria.train.run import run_training
    from coloria.train.trainers import training

    return (run_training(resume) if resume else training(model or "")).torchrun


def _spread(
    count: int, model: str | None, config: str | None, out: Path | None, resume: Path | None
) -> None:
    """This very command once more, in several processes, by torchrun."""
    from coloria.train.run import default_folder
    from coloria.train.trainers import default_recipe

    arguments = sys.argv[1:]
    if not (out or resume):  # the processes must agree on one folder
        arguments += ["--out", str(default_folder(str(model), config or default_recipe(model)))]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", "coloria", *arguments])  # noqa: S606
