"""``coloria eval``: how true and how colourful results are."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from errno import EACCES
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coloria.cli import options
from coloria.errors import OptionError
from coloria.models import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.table import Table

    from coloria.metrics.results import Result
    from coloria.metrics.rows import Row

__all__ = ["evaluate"]


def _measure_names(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    from coloria.metrics import table

    return [table.get(name).name for name in value]


def _model_names(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    return [registry.get(name).name for name in value]


FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(name="eval")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    callback=_model_names,
    shell_complete=options.complete_model,
    help="Which model is measured; may be given several times. By default artistic.",
)
@click.option("--all", "every", is_flag=True, help="Measure every model that has weights here.")
@click.option(
    "-w",
    "--weights",
    multiple=True,
    default=("auto",),
    show_default="auto",
    shell_complete=options.complete_weights,
    help="As for 'coloria colorize'; may be given several times, for a row each.",
)
@click.option("--data", type=FOLDER, help="Folder of colour photographs; they are made grey.")
@click.option("--pred", type=FOLDER, help="Folder of results made elsewhere; needs --truth.")
@click.option("--truth", type=FOLDER, help="Their photographs, paired by name.")
@click.option("--checkpoints", type=FOLDER, help="Run folder: one row a checkpoint.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    default=("ciede2000", "colorfulness"),
    show_default=True,
    callback=_measure_names,
    help="What is measured; may be given several times. 'coloria eval --list' names them.",
)
@click.option("--list", "list_measures", is_flag=True, help="List the measures and stop.")
@click.option("--limit", type=click.IntRange(1), help="Measure on so many photographs, drawn.")
@click.option("--size", type=click.IntRange(16), help="Scale photographs to this short side first.")
@click.option("--render-size", type=click.IntRange(16), help="Short side for the networks.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the draw, of the intervals, and of what bigcolor draws.",
)
@options.class_
@options.device
@options.precision
@click.option("--gpus", type=click.IntRange(1), default=None, help="Share out among so many GPUs.")
@click.option("--group-by", metavar="COLUMN", help="Also by this column of the CSV file beside.")
@click.option("--save-images", type=FOLDER, help="Keep every result, a folder a row.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write JSON; - prints.")
@click.option("--csv", "csv_file", type=FILE, help="Write the figures of each photograph.")
@click.option("--report", type=FILE, help="Write a report as one HTML file.")
@click.option(
    "--download",
    is_flag=True,
    help="First fetch the published networks that lpips and fid need, if they are not here.",
)
@click.option("--fresh", is_flag=True, help="Do not use figures of earlier evaluations.")
def evaluate(**given: Any) -> None:
    """Measure models on colour photographs that are made grey.

    Without --data it measures on a dozen small photographs that come with the package. The rows
    grey, tint (the best constant tint) and oracle (true colours on the grey picture's lightness)
    show what the figures mean.

    What was measured is kept, so that an interrupted evaluation goes on where it was.
    """
    if given.pop("list_measures"):
        _list()
        return
    result, rows = _evaluate(given)
    json_file = given["json_file"]
    if str(json_file) == "-":
        click.echo(result.to_json())
    else:
        _print(result)
    _write(result, rows, given)
    for name, why in result.left_out.items():
        click.echo(f"left out {name}: {why}", err=True)
    if result.left_out:
        click.echo(f"{len(result.left_out)} left out, the others are measured", err=True)
        sys.exit(1)


def _list() -> None:
    from coloria.metrics.table import MEASURES

    for name, measure in MEASURES.items():
        needs = f" (needs the extra {measure.extra})" if measure.extra else ""
        click.echo(f"{name}: {measure.summary}{needs}")


def _evaluate(given: dict[str, Any]) -> tuple[Result, list[Row]]:
    import tempfile

    from coloria import cache
    from coloria.metrics.evaluate import evaluate as run
    from coloria.metrics.rows import ModelRow, coloring, model_name

    sources = [name for name in ("pred", "checkpoints") if given[name]]
    if len(sources) > 1 or (sources and (given["models"] or given["every"])):
        raise OptionError("give models, --pred or --checkpoints, not several of them")
    if given["models"] and given["every"]:
        raise OptionError("give --model or --all, not both")
    _check_targets([given[key] for key in ("json_file", "csv_file", "report")])
    if not (given["data"] or given["truth"]):
        click.echo("measuring on the dozen photographs that come with the package", err=True)
    if given["download"]:
        _download(given["metrics"])
    use = {key: given[key] for key in ("device", "precision")}
    own = {key: given[key] for key in ("render_size", "class_", "seed")}
    with tempfile.TemporaryDirectory() as folder:
        rows: list[Row]
        if given["checkpoints"]:
            from coloria.metrics.checkpoints import checkpoint_rows

            run_folder, place = given["checkpoints"], Path(folder)
            rows = checkpoint_rows(
                run_folder, place, use["device"], use["precision"], coloring(**own)
            )
        elif given["pred"]:
            rows = []
        else:
            rows = [
                ModelRow(model_name(name, choice), name, choice, **use, options=coloring(**own))
                for choice in dict.fromkeys(given["weights"])
                for name in _models(given, choice)
            ]
            if not rows:
                raise OptionError("no model has weights here: see 'coloria weights list'")
        with _progress() as advance:
            result = run(
                data=given["data"],
                metrics=given["metrics"],
                pred=given["pred"],
                truth=given["truth"],
                rows=rows,
                limit=given["limit"],
                size=given["size"],
                **own,
                device=given["device"],
                gpus=given["gpus"] or 0,
                group_by=given["group_by"],
                save_images=given["save_images"],
                journal=None if given["fresh"] else cache.home() / "evaluations.jsonl",
                advance=advance,
            )
        if given["report"]:
            _report(result, rows, given)
    return result, rows


def _check_targets(paths: Sequence[Path | None]) -> None:
    """Refuses before the work what could not be written after it."""
    for path in paths:
        if path and str(path) != "-":
            with _writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                if not os.access(path.parent, os.W_OK):
                    raise PermissionError(EACCES, "no permission to write there")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    from coloria.errors import PictureWriteError

    try:
        yield
    except OSError as error:
        raise PictureWriteError(
            f"{path} cannot be written: {error.strerror or error}; name another file"
        ) from error


def _models(given: dict[str, Any], choice: str) -> list[str]:
    """The models measured with a choice of weights."""
    from coloria.weights import with_weights

    if given["every"]:
        return with_weights(choice)
    return list(dict.fromkeys(given["models"])) or ["artistic"]


def _download(metrics: Sequence[str]) -> None:
    """Fetches the networks of measures."""
    from coloria.cli.weights import progress_bar
    from coloria.metrics import networks, table

    for name in metrics:
        file = networks.NETWORKS.get(name)
        if file:
            table.get(name).load()  # without the extra, the network would be of no use
            with progress_bar(file.name) as progress:
                networks.locate(file, download=True, progress=progress)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks: dict[str, Any] = {}

        def advance(row: str, done: int, total: int) -> None:
            if row not in tasks:
                tasks[row] = bar.add_task(row, total=total)
            bar.update(tasks[row], completed=done)

        yield advance


def _report(result: Result, rows: Sequence[Row], given: dict[str, Any]) -> None:
    from coloria.metrics.report import report
    from coloria.metrics.rows import FolderRow

    shown = list(rows) or [FolderRow(result.rows[-1].name)]
    with _writing(given["report"]):
        report(result, shown, given["report"])
    click.echo(f"report: {given['report']}", err=True)


def _write(result: Result, rows: Sequence[Row], given: dict[str, Any]) -> None:
    from coloria.weightfile import atomic

    texts = {given["csv_file"]: result.to_csv}
    if str(given["json_file"]) != "-":
        texts[given["json_file"]] = result.to_json
    for path, text in texts.items():
        if path is not None:
            with _writing(path), atomic(path) as temporary:
                temporary.write_text(text(), encoding="utf-8", newline="")


def _print(result: Result) -> None:
    from rich.console import Console

    # Piped, a line is as long as it needs to be.
    console = Console(width=None if sys.stdout.isatty() else 200)
    for name in result.pairwise:
        console.print(_table(result, name))
        if len(result.groups) > 1:
            console.print(_groups(result, name))
    of_set = [name for name in result.measures if name not in result.pairwise]
    if of_set:
        console.print(_of_set(result, of_set))
    facts = result.settings
    console.print(
        f"{len(result.photographs)} photographs ({facts['data']}); 95 % bootstrap intervals over "
        f"them; {facts['when']}, {facts['machine']}, threads: {facts['threads']}",
        highlight=False,
        style="dim",
    )


def _empty(title: str, columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _table(result: Result, name: str) -> Table:
    """One measure: a line a row."""
    import math

    alone = name in result.original.figures  # as colourfulness, of which grey has none
    versus = "of original" if alone else "vs grey"
    table = _empty(result.title(name), ("mean", "95 %", "median", "p90", versus, "s/picture"))
    for row in result.rows_of(name):
        s, took = result.summary(row, name), result.seconds(row)
        change = "" if s.change is None or row.name == "grey" else f"{s.change:+.1%}"
        share = "" if s.share is None else f"{s.share:.0%}"
        table.add_row(
            row.name,
            f"{s.mean:.2f}",
            f"{s.low:.2f}–{s.high:.2f}",
            f"{s.median:.2f}",
            f"{s.p90:.2f}",
            share if alone else change,
            "" if row.is_baseline or math.isnan(took) else f"{took:.2f}",
        )
    return table


def _groups(result: Result, name: str) -> Table:
    """Means by group."""
    table = _empty(f"{result.title(name)}, mean by group", result.groups)
    for row in result.rows_of(name):
        means = [result.summary(row, name, group).mean for group in result.groups]
        table.add_row(row.name, *(f"{mean:.2f}" for mean in means))
    return table


def _of_set(result: Result, names: Sequence[str]) -> Table:
    table = _empty("Of the whole set", [result.title(name) for name in names])
    for row in result.rows:
        table.add_row(row.name, *(f"{row.of_set[name]:.3f}" for name in names))
    return table
