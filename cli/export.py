"""`coloria export`: a weight file out of a run or of another checkpoint."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must end in .safetensors.",
)
@click.option("--model", help="Which model the file is of, where it does not say so itself.")
@click.option("--stage", help="Take the weights from the end of this stage of a run.")
@click.option(
    "--pick", type=int, metavar="STEP", help="Take the scored checkpoint of this step of a run."
)
@click.option("--data", default="", help="What it was trained on, for the card.")
@click.option("--terms", help="Under which terms the weights may be used, for the card.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def export(
    source: Path,
    output: Path,
    model: str | None,
    stage: str | None,
    pick: int | None,
    data: str,
    terms: str | None,
    overwrite: bool,
) -> None:
    """Write the weights of SOURCE, a run folder or a weight file, as one safetensors file.

    The file can be used with `coloria colorize --weights FILE`.
    """
    from coloria.errors import OptionError, OutputExistsError
    from coloria.export import OWN_TERMS
    from coloria.export import export as write

    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} is there already: give --overwrite or another name")
    if stage and pick is not None:
        raise OptionError("give --stage or --pick, not both")
    path = write(
        source, output, model=model, stage=stage, pick=pick, data=data, terms=terms or OWN_TERMS
    )
    click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB", err=True)
