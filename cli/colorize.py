"""``coloria colorize``: colours pictures from files, folders, patterns or stdin."""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from coloria.cli import options
from coloria.errors import OptionError

if TYPE_CHECKING:
    from coloria.batch import Existing, Outcome, Settings
    from coloria.colorizer import Colorizer
    from coloria.jobs import Job

__all__ = ["FORMATS", "TONES", "colorize"]

FORMATS = ("jpeg", "jpg", "png", "webp", "tiff", "tif", "bmp", "gif", "avif", "heic", "heif")
LUMAS = ("lab", "deoldify", "legacy")
TONES = {
    "strength": (0, 1, 1, "Share of the colour: 0 is grey."),
    "saturation": (0, 4, 1, "Factor on the colourfulness."),
    "warmth": (-1, 1, 0, "Cooler or warmer."),
    "contrast": (0, 4, 1, "Factor on the contrast."),
    "brightness": (-1, 1, 0, "Darker or brighter; black and white stay."),
}
"""Lowest, highest, default and meaning of each. Tests hold these three equal to the library's,
whose modules need the framework."""

STDIN = "<stdin>"


def _tones(function: Callable[..., Any]) -> Callable[..., Any]:
    """One option a tone."""
    for name, (low, high, default, text) in reversed(TONES.items()):
        function = click.option(
            f"--{name}",
            type=click.FloatRange(low, high),
            default=float(default),
            show_default=True,
            help=text,
        )(function)
    return function


@click.command()
@click.argument(
    "inputs",
    metavar="INPUTS...",
    nargs=-1,
    required=True,
    # One that may not be read fails alone, as a damaged one does.
    type=click.Path(allow_dash=True, readable=False),
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    type=click.Path(allow_dash=True),
    help="A file for one picture, a folder for several, - for stdout. "
    "[default: beside each picture]",
)
@options.model
@options.weights
@options.device
@options.precision
@click.option("--render-size", metavar="N", type=int, help="Short side of the network, in pixels.")
@click.option("--render-factor", metavar="N", type=int, help="The network runs on 16 N x 16 N.")
@click.option(
    "--luma",
    type=click.Choice(LUMAS),
    default="lab",
    show_default=True,
    help="lab keeps the lightness; deoldify and legacy (BigColor) are those programs' own.",
)
@_tones
@click.option(
    "--borders/--no-borders", default=True, show_default=True, help="Leave plain borders grey."
)
@click.option("--max-pixels", metavar="N", type=click.IntRange(1), help="Refuse larger pictures.")
@click.option(
    "--format",
    metavar="FORMAT",
    type=click.Choice(FORMATS, case_sensitive=False),
    help=f"Of the results: {', '.join(FORMATS)}. [default: that of each picture; png for gif]",
)
@click.option("--quality", metavar="1-100", type=click.IntRange(1, 100), help="For JPEG and such.")
@click.option("--suffix", help="Between the stem and the extension. [default: _MODEL]")
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@click.option("--skip-existing", is_flag=True, help="Leave results that are there as they are.")
@click.option("-r", "--recursive", is_flag=True, help="Look into subfolders; -o keeps the tree.")
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Pictures coloured together; more helps on a GPU.",
)
@options.class_
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="bigcolor: so many colourings of each picture, _s1, _s2, ...",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="bigcolor: which colouring; samples count on from it.",
)
@click.option(
    "--z-std",
    metavar="X",
    type=click.FloatRange(0, 10),
    help="bigcolor: how far colourings are apart. [default: 0.8]",
)
@click.option("--json", "as_json", is_flag=True, help="Print what became of each picture as JSON.")
@click.option("--side-by-side", is_flag=True, help="Also write before and after in one picture.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what failed.")
def colorize(
    inputs: tuple[str, ...],
    output: str | None,
    model: str,
    weights: str,
    device: str,
    precision: str,
    **chosen: Any,
) -> None:
    """Colour black-and-white photographs.

    INPUTS are files, folders, patterns such as 'scans/*.tif', or - for stdin. The result of
    photo.jpg is photo_artistic.jpg; originals are never replaced. Results of earlier runs that
    lie beside their originals are not coloured again.

    \b
    coloria colorize photo.jpg
    coloria colorize album -r -o coloured --skip-existing
    coloria colorize photo.jpg -m bigcolor --samples 5
    coloria colorize - < photo.jpg > coloured.jpg
    """  # noqa: D301  (click reads the escape)
    _check(inputs, output, chosen)
    say = (lambda text: None) if chosen["quiet"] else _say

    def load() -> Colorizer:
        import coloria

        colorizer = coloria.load(model, weights, device, precision)
        say(f"note: {colorizer.found.note}")
        return colorizer

    suffix = chosen["suffix"] if chosen["suffix"] is not None else f"_{model}"
    with _plan(inputs, output, suffix, chosen) as (jobs, left_out), _picture_notes(say):
        if left_out:
            say(f"note: left out {left_out} that earlier runs made")
        outcomes = _run(jobs, load, chosen)
        to_stdout = "-" in inputs and output in (None, "-")
        if to_stdout and outcomes[0].status == "coloured":
            _to_stdout(jobs[0].output)
    _report(outcomes, model, chosen, arrow=not to_stdout)


def _check(inputs: tuple[str, ...], output: str | None, chosen: dict[str, Any]) -> None:
    """Options that exclude each other."""
    for one, other in (("overwrite", "skip_existing"), ("render_size", "render_factor")):
        if chosen[one] and chosen[other]:
            raise OptionError(f"--{one} and --{other} exclude each other".replace("_", "-"))
    piped = "-" in inputs
    if piped and len(inputs) > 1:
        raise OptionError("- reads one picture from stdin: give no other INPUTS with it")
    if piped and chosen["samples"] > 1:
        raise OptionError("--samples gives several pictures: name a file in place of -")
    if output == "-" and not piped:
        raise OptionError("-o - is for a picture from stdin; 'coloria colorize - < FILE' reads one")
    if piped and sys.stdin.isatty():
        raise OptionError("wanted a picture on stdin; it is a terminal: pipe one in with < FILE")
    if piped and output in (None, "-"):
        _check_stdout(chosen)


def _check_stdout(chosen: dict[str, Any]) -> None:
    """Whether a picture can go there."""
    if sys.stdout.isatty():
        raise OptionError("a picture is not written to a terminal: name a file with -o, or > FILE")
    if chosen["as_json"] or chosen["side_by_side"]:
        raise OptionError("--json and --side-by-side need -o FILE: the picture goes to stdout")


@contextmanager
def _plan(
    inputs: tuple[str, ...], output: str | None, suffix: str, chosen: dict[str, Any]
) -> Iterator[tuple[list[Job], int]]:
    """The jobs, and how many results of earlier runs were left out."""
    from coloria.batch import plan

    if "-" in inputs:
        with TemporaryDirectory(prefix="coloria-") as folder:
            yield [_piped(folder, output, chosen)], 0
        return
    names = ("format", "recursive", "side_by_side", "samples")
    planned = plan(inputs, output, suffix=suffix, **{name: chosen[name] for name in names})
    yield planned.jobs, len(planned.left_out)


def _piped(folder: str, output: str | None, chosen: dict[str, Any]) -> Job:
    """The job of the picture on stdin; what goes to stdout is first written to a folder."""
    from coloria.jobs import Job, before_after_of

    path = Path(folder, "result") if output in (None, "-") else Path(str(output))
    if path.is_dir():
        raise OptionError(f"-o {path} is a folder: name a file for the picture from stdin")
    data = sys.stdin.buffer.read()
    both = before_after_of(path) if chosen["side_by_side"] else None
    return Job(Path(STDIN), path, both, data, chosen["format"])


def _run(jobs: list[Job], load: Callable[[], Colorizer], chosen: dict[str, Any]) -> list[Outcome]:
    """All outcomes; what was done before an interruption is told."""
    from coloria import batch

    outcomes: list[Outcome] = []
    bar = len(jobs) > 1 and sys.stderr.isatty() and not chosen["quiet"]
    try:
        for outcome in _watched(batch.run(jobs, load, _settings(chosen)), len(jobs), bar):
            if not chosen["quiet"]:
                _tell_class(outcome, outcomes)
            outcomes.append(outcome)
    except KeyboardInterrupt:
        _say(_summary(outcomes))
        raise
    return outcomes


def _tell_class(outcome: Outcome, before: list[Outcome]) -> None:
    """What a classifier took the picture for, once a picture."""
    told = before and before[-1].label and before[-1].input == outcome.input
    if outcome.label and outcome.label["probability"] is not None and not told:
        from coloria.classes import Label

        _say(f"note: {outcome.input}: {Label(**outcome.label)}")


def _settings(chosen: dict[str, Any]) -> Settings:
    from coloria.batch import Settings

    same = ("render_size", "render_factor", "luma", "borders", "quality", "batch_size")
    drawn = ("class_", "seed", "z_std")
    limit = {"max_pixels": chosen["max_pixels"]} if chosen["max_pixels"] else {}
    return Settings(
        **{name: chosen[name] for name in (*same, *drawn)},
        **limit,
        tone={name: chosen[name] for name in TONES},
        existing=_existing(chosen),
    )


def _existing(chosen: dict[str, Any]) -> Existing:
    return "overwrite" if chosen["overwrite"] else "skip" if chosen["skip_existing"] else "refuse"


def _watched(outcomes: Iterable[Outcome], total: int, bar: bool) -> Iterator[Outcome]:
    """The same, with a progress bar on stderr."""
    if not bar:
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("colouring", total=total)
        for outcome in outcomes:
            progress.advance(task)
            yield outcome


@contextmanager
def _picture_notes(say: Callable[[str], None]) -> Iterator[None]:
    """What had to be left out of a picture is told in a line, not as a warning of Python."""
    from coloria.picture import PictureWarning

    with warnings.catch_warnings():
        show = warnings.showwarning

        def told(
            message: Warning | str, category: type[Warning], filename: str, *args: Any, **more: Any
        ) -> None:
            # Pillow's own are about the picture, too: EXIF that is cut off, for example.
            if issubclass(category, PictureWarning) or Path(filename).parent.name == "PIL":
                say(f"note: {str(message).strip()}")
            else:
                show(message, category, filename, *args, **more)

        warnings.simplefilter("always", PictureWarning)
        warnings.showwarning = told
        yield


def _to_stdout(path: Path) -> None:
    sys.stdout.buffer.write(path.read_bytes())
    sys.stdout.buffer.flush()


def _report(outcomes: list[Outcome], model: str, chosen: dict[str, Any], *, arrow: bool) -> None:
    """JSON on stdout, the rest on stderr; exit code 1 if any failed."""
    if chosen["as_json"]:
        records = [{**outcome.record(), "model": model} for outcome in outcomes]
        click.echo(json.dumps(records, indent=2))
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not chosen["quiet"]:
        if arrow and len(outcomes) == 1 and not failed:
            _say(f"{outcomes[0].input} -> {outcomes[0].output}")
        _say(_summary(outcomes))
    for outcome in failed:
        _show_traceback(outcome)
        click.secho(f"failed: {outcome.error}", fg="red", err=True)
    if failed:
        click.get_current_context().exit(1)


def _summary(outcomes: list[Outcome]) -> str:
    count = Counter(outcome.status for outcome in outcomes)
    return f"{count['coloured']} coloured, {count['skipped']} skipped, {count['failed']} failed"


def _show_traceback(outcome: Outcome) -> None:
    """With ``coloria --traceback``."""
    if click.get_current_context().find_root().params.get("traceback"):
        from traceback import format_exception

        click.echo("".join(format_exception(outcome.exception)), err=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # above the progress bar, which takes the place of stderr
