"""``coloria weights``: the released weight files in the cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coloria.errors import OptionError, WeightsError
from coloria.released import RELEASED, Released, names, released

if TYPE_CHECKING:
    from coloria.fetch import Progress

__all__ = ["progress_bar", "weights"]


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in names() if name.startswith(incomplete)]


_several = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete
)
_any = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete)


@click.group()
def weights() -> None:
    """Fetch, check and remove the authors' weight files.

    The names are those that 'coloria weights list' shows. Files are kept in the folder that
    'coloria weights path' prints; COLORIA_HOME moves it, COLORIA_OFFLINE=1 forbids the network.
    """


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_files(as_json: bool) -> None:
    """List the released files: present or not, size, licence."""
    rows = [_row(entry) for entry in RELEASED]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _table(rows)


def _row(entry: Released) -> dict[str, object]:
    from coloria import weights as store

    return {
        "name": entry.name,
        "model": entry.model,
        "role": entry.role,
        "state": store.state(entry.name),
        "path": str(store.path_of(entry.name)),
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "license": entry.license,
        "year": entry.year,
        "project": entry.project,
        "paper": entry.paper,
        "urls": list(entry.urls),
        "note": entry.note,
    }


def _table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "model", "role", "state", "size", "licence", "year", "project"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=True)
    for row in rows:
        size = f"{int(str(row['bytes'])) / 1e6:.0f} MB" if row["bytes"] else "?"
        cells = (row["name"], row["model"], row["role"], row["state"])
        rest = (row["license"], row["year"] or "?", row["project"])
        table.add_row(*map(str, cells), size, *map(str, rest))
    # Piped, a line is as long as it needs to be.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


@weights.command()
@_several
@click.option("--url", help="Fetch from this address instead of the published ones.")
@click.option("--sha256", help="What the hash must be, where none was published.")
def download(names: tuple[str, ...], url: str | None, sha256: str | None) -> None:
    """Fetch released files into the cache; print where they are."""
    from coloria import weights as store

    if (url or sha256) and len(names) > 1:
        raise OptionError("--url and --sha256 are for one file; give one NAME")

    def one(name: str) -> None:
        with progress_bar(name) as progress:
            urls = [url] if url else None
            path = store.download(name, progress=progress, urls=urls, sha256=sha256)
        if not released(name).sha256:
            _say(f"{name}: its sha256 was never published; this copy has {store.pinned(name)}")
        click.echo(path)

    _each(names, one)


@weights.command()
@_any
def verify(names: tuple[str, ...]) -> None:
    """Check the hash of cached files; without a NAME, of all that are there."""
    from coloria import weights as store

    names = names or tuple(e.name for e in RELEASED if store.path_of(e.name).is_file())
    if not names:
        _say(f"no released weights in {store.folder()}")

    def one(name: str) -> None:
        seen = store.verify(name)
        if seen.against == "nothing":
            _say(f"{name}: not checked, nobody published its sha256")
        else:
            _say(f"{name}: as {seen.against}")
        click.echo(f"{seen.sha256}  {seen.path}")

    _each(names, one)


@weights.command()
@_any
def path(names: tuple[str, ...]) -> None:
    """Print where files are, or would be; without a NAME, the folder of all."""
    from coloria import weights as store

    if not names:
        click.echo(store.folder())
    for name in names:
        if store.state(name) != "present":
            _say(f"{name}: {store.state(name)}; fetch it with 'coloria weights download {name}'")
        click.echo(store.path_of(name))


@weights.command("import")
@click.argument("name", shell_complete=_complete)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_file(name: str, file: Path) -> None:
    """Take FILE, fetched by hand, into the cache as NAME; print where it is."""
    from coloria import weights as store

    path = store.import_file(name, file)
    if not released(name).sha256:
        _say(f"{name}: its sha256 was never published; this copy has {store.pinned(name)}")
    click.echo(path)


@weights.command()
@_several
def remove(names: tuple[str, ...]) -> None:
    """Delete files from the cache."""
    from coloria import weights as store

    _each(names, lambda name: _say(f"removed {store.remove(name)[0]}"))


def _each(names: tuple[str, ...], action: Callable[[str], None]) -> None:
    """Do it for every name, then raise what failed: one failure does not stop the rest."""
    failed: list[WeightsError] = []
    for name in names:
        try:
            action(name)
        except WeightsError as error:
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise WeightsError("\n".join(str(error) for error in failed))


def _say(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def progress_bar(name: str) -> Iterator[Progress | None]:
    """A progress bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *speed, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
