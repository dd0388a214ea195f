"""``coloria models``: which models there are, and how they are built."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from coloria.models.registry import MODELS, Architecture, Model

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["models"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--table", "compare", is_flag=True, help="Compare the models by architecture.")
def models(as_json: bool, compare: bool) -> None:
    """List the models: weights present, size, licence, what each is good for.

    Embedded weights came with the package; released ones are the authors' own, fetched with
    'coloria weights download NAME'.
    """
    if as_json:
        click.echo(json.dumps([_record(model) for model in MODELS.values()], indent=2))
    else:
        _print(_comparison() if compare else _list())


def _record(model: Model) -> dict[str, Any]:
    """All that is known of a model without loading it."""
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "title": model.title,
        "summary": model.summary,
        "paper": model.paper,
        "year": model.year,
        "licence": model.licence,
        "architecture": asdict(model.architecture),
        "embedded": _embedded(model),
        "released": _released(model),
    }


def _embedded(model: Model) -> dict[str, Any] | None:
    """The weights that came with the package."""
    from coloria import weights
    from coloria.weightfile import read_card

    path = weights.embedded(model.name)
    if path is None:
        return None
    card = read_card(path)
    terms = card.terms if card else ""
    return {"path": str(path), "bytes": path.stat().st_size, "terms": terms}


def _released(model: Model) -> list[dict[str, Any]]:
    """The authors' weights, the usual ones first."""
    from coloria import weights
    from coloria.released import generators

    return [
        {
            "name": entry.name,
            "state": weights.state(entry.name),
            "path": str(weights.path_of(entry.name)),
            "bytes": entry.bytes,
            "licence": entry.license,
        }
        for entry in generators(model.name)
    ]


def _list() -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "alias", "embedded", "released", "licence"):
        table.add_column(title, no_wrap=True)
    table.add_column("good for")
    for model in MODELS.values():
        record = _record(model)
        there = record["embedded"]
        first = next(iter(record["released"]), None)
        table.add_row(
            model.name,
            ", ".join(model.aliases),
            megabytes(there["bytes"]) if there else "none",
            f"{first['state']}, {megabytes(first['bytes'])}" if first else "none",
            model.licence,
            model.summary,
        )
    return table


def _comparison() -> Table:
    """One row a model, as such comparisons are printed: a check mark or a dash."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for title in ("U-Net", "ResNet-34", "ResNet-101", "CNN", "GAN", "supervised"):
        table.add_column(title, justify="center", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for model in MODELS.values():
        built = model.architecture
        marks = [_mark(yes) for yes in _properties(built)]
        table.add_row(model.name, *marks, f"{built.parameters / 1e6:.1f} M")
    return table


def _properties(built: Architecture) -> tuple[bool, ...]:
    encoders = (built.resnet == 34, built.resnet == 101)
    return (built.unet, *encoders, built.cnn, built.gan, built.supervised)


def _mark(yes: bool) -> str:
    try:
        "✓–".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "x" if yes else "-"
    return "✓" if yes else "–"


def megabytes(size: int | None) -> str:
    """A size in bytes as people read it."""
    return "?" if size is None else f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"


def _print(table: Table) -> None:
    from rich.console import Console

    # Piped, a line is as long as it needs to be.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
