"""``coloria compare``: one photograph by every model, on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coloria.cli import options
from coloria.errors import OptionError, OutputExistsError
from coloria.models import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare"]


def _model_names(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    return [registry.get(name).name for name in value]


@click.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sheet to write: .png, or .html with sliders. By default <stem>_compared.png beside it.",
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    callback=_model_names,
    shell_complete=options.complete_model,
    help="Only this model; may be given several times. By default all that have weights here.",
)
@options.weights
@click.option("--sweep", is_flag=True, help="Also at several sizes for the network.")
@options.class_
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="bigcolor: so many colourings, a picture each.",
)
@options.device
@options.precision
@click.option("--overwrite", is_flag=True, help="Replace the sheet if it is there.")
def compare(
    picture: Path,
    output: Path | None,
    models: list[str],
    weights: str,
    overwrite: bool,
    **chosen: Any,
) -> None:
    """Colour PICTURE with every model that has weights here, on one labelled sheet."""
    from coloria.weights import with_weights

    names = models or with_weights(weights)
    if not names:
        raise OptionError("no model has weights here: see 'coloria weights list'")
    target = output or picture.with_name(f"{picture.stem}_compared.png")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} is there already: give --overwrite or another -o")
    from coloria import compare as sheets

    cells = sheets.cells(picture, names, weights, **chosen)
    sheets.write(cells, target)
    click.echo(target)
