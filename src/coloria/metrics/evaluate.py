"""Measures models on colour photographs that are made grey.

The grey picture is Pillow's ``convert("L")`` of the photograph. Figures are means over the pixels
of a photograph, then over photographs; every table has the rows of
:mod:`coloria.metrics.baselines`.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from coloria.classes import NOBODY
from coloria.errors import ColoriaError, DeviceError, OptionError, WeightsMissingError
from coloria.metrics import table
from coloria.metrics.baselines import best_tint
from coloria.metrics.journal import Journal, digest
from coloria.metrics.photographs import (
    Photograph,
    bundled,
    find,
    grouped,
    pair,
    pixels,
    readable,
)
from coloria.metrics.results import Result, RowResult, picture_path
from coloria.metrics.rows import FolderRow, ModelRow, Row, baselines, coloring, model_name
from coloria.metrics.sets import Pixels, SetMeasure
from coloria.models import registry
from coloria.weightfile import atomic

DEFAULT_MEASURES = ("ciede2000", "colorfulness")
"""What is measured where nothing else is asked for."""

Advance = Callable[[str, int, int], None]
"""Told of each photograph: row, photographs done, photographs in all."""


@dataclass(frozen=True)
class Work:
    """What is done with each photograph, in any process."""

    measures: tuple[str, ...]
    size: int | None = None
    journal: Path | None = None
    save: Path | None = None
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By measure: options of those that run a network."""

    @property
    def pairwise(self) -> list[str]:
        """Measures that a photograph has a figure of."""
        return [name for name in self.measures if table.get(name).scope != "set"]

    @property
    def of_set(self) -> list[str]:
        """Measures that only a set has."""
        return [name for name in self.measures if table.get(name).scope == "set"]


def evaluate(
    models: Iterable[str] | str = ("artistic",),
    data: str | Path | None = None,
    metrics: Iterable[str] | str = DEFAULT_MEASURES,
    *,
    weights: str = "auto",
    pred: str | Path | None = None,
    truth: str | Path | None = None,
    rows: Sequence[Row] | None = None,
    limit: int | None = None,
    size: int | None = None,
    render_size: int | None = None,
    class_: int | str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    gpus: int = 0,
    group_by: str | None = None,
    save_images: str | Path | None = None,
    journal: str | Path | None = None,
    options: dict[str, dict[str, Any]] | None = None,
    advance: Advance | None = None,
) -> Result:
    """Colours grey versions of photographs and compares the results with them.

    Args:
        models: Their names.
        data: A folder of colour photographs; None takes a dozen that come with the package.
        metrics: Names of measures or their aliases; see :mod:`coloria.metrics.table`.
        weights: Of all models, as :func:`coloria.load` takes them.
        pred: A folder of results made elsewhere, measured in place of models.
        truth: Their photographs, paired by name.
        rows: What is measured in place of models, for example checkpoints of a run; `render_size`,
            `class_` and the seed of random vectors are among their own options, and given here
            they are only noted.
        limit: Measure on so many photographs, drawn by `seed`.
        size: Scale photographs to this short side first, in pixels; None leaves them as they are.
        render_size: Short side at which the networks run; None leaves it to the weights.
        class_: What all photographs show, a number, a name or "auto", for weights that know
            classes; others are not told.
        seed: Of the draw of photographs, of the intervals, and of the random vector of models that
            give many answers.
        device: "auto", "cpu", "cuda" or "mps".
        precision: As :func:`coloria.load` takes it.
        gpus: Share the photographs out among so many CUDA devices.
        group_by: A column of the CSV file in or beside the folder: figures by its values, too.
        save_images: Keep every result in this folder, and an index page.
        journal: A file that figures are kept in: those that it holds are not measured again.
        options: By measure: options of those that run a network, see
            :meth:`coloria.metrics.table.Measure.metric`.
        advance: Told of each photograph.

    Returns:
        All figures. Photographs that could not be measured are named in `left_out`.

    Raises:
        OptionError: Options do not fit together, or there is nothing to measure on.
        UnknownNameError: No such model or measure.
        WeightsError: A model, or the network of a measure, has no weights here.
        MissingExtraError: A measure needs optional dependencies.
    """
    names = tuple(dict.fromkeys(table.get(m).name for m in _listed(metrics)))
    work = Work(names, size, _path(journal), _path(save_images), options or {})
    _check(work)  # what is missing is said before the work begins
    if bool(pred) != bool(truth):
        raise OptionError("give both pred and truth: results and their photographs")
    if gpus and gpus > torch.cuda.device_count():
        raise DeviceError(f"wanted {gpus} GPUs; PyTorch sees {torch.cuda.device_count()}")
    folder = Path(truth or data or bundled()).expanduser()
    left_out: dict[str, str] = {}
    if pred:
        found, left_out = pair(Path(pred).expanduser(), folder, limit, seed)
        wanted: list[Row] = [FolderRow(Path(pred).name or "results")]
    else:
        found = find(folder, limit, seed)
        wanted = list(rows or ()) or [
            ModelRow(
                model_name(name, weights),
                name,
                weights,
                device,
                precision,
                coloring(render_size, class_, seed),
            )
            for name in dict.fromkeys(registry.get(model).name for model in _listed(models))
        ]
    labels = {row.options.get("class_") for row in wanted if isinstance(row, ModelRow)} - {None}
    if class_ is not None and not labels:
        raise OptionError(f"nothing that is measured here {NOBODY}")
    if work.save:
        _make_folder(work.save, folder)
    smallest = [(table.get(name).title, table.get(name).smallest) for name in work.pairwise]
    found, unreadable = readable(found, size, smallest)
    left_out |= unreadable
    if not found:
        raise OptionError(f"nothing can be measured: {'; '.join(left_out.values())}")
    if group_by:
        found = grouped(found, folder, group_by)
    original = RowResult("original", is_baseline=True)
    tint = best_tint(_truths(found, work, original))
    wanted = [*baselines(tint), *wanted]
    _tell_apart(wanted)
    devices = [f"cuda:{i}" for i in range(gpus)]
    results = [_measured(row, found, work, devices, advance) for row in wanted]
    settings = {
        "data": "bundled" if folder == bundled() else folder.name,
        "size": size,
        "render_size": render_size,
        "class": labels.pop() if labels else None,
        "limit": limit,
        "seed": seed,
        "grey": 'Pillow convert("L")',
        "device": "cuda" if gpus else device,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "when": datetime.now(UTC).date().isoformat(),
    }
    result = Result(found, list(names), [row for row, _ in results], left_out, settings)
    result.original = original
    result.titles = results[-1][1]
    if work.save:
        from coloria.metrics.report import index_page

        index_page(result, work.save)
    return result


def _make_folder(path: Path, data: Path) -> None:
    """Makes the folder of the results, which is none of the photographs'."""
    if path.resolve().is_relative_to(data.resolve()):
        raise OptionError(f"{path} lies among the photographs of {data}; name another folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{path} cannot be made: {error.strerror or error}") from error


def _tell_apart(rows: Sequence[Row]) -> None:
    """Numbers rows of one name: their figures, and the folders of their pictures, are apart."""
    seen: set[str] = set()
    for row in rows:
        name, number = row.name, 2
        while row.name in seen:
            row.name, number = f"{name} ({number})", number + 1
        seen.add(row.name)


def _check(work: Work) -> None:
    """Refuses what would fail later; all networks that are missing are named at once."""
    missing = []
    for name in work.measures:
        try:
            table.get(name).check(**work.options.get(name, {}))
        except WeightsMissingError as error:
            missing.append(str(error))
    if missing:
        raise WeightsMissingError("\n".join(missing))


def _truths(photographs: Sequence[Photograph], work: Work, original: RowResult) -> Iterator[Pixels]:
    """The photographs one by one; what is measured of one picture is noted of them, too."""
    alone = [name for name in work.pairwise if table.get(name).scope == "picture"]
    functions = {name: _function(name, work) for name in alone}
    original.figures = {name: [] for name in alone}
    for photograph in photographs:
        truth = pixels(photograph.truth, work.size)
        for name, function in functions.items():
            original.figures[name].append(function(truth, truth))
        yield truth


def _listed(names: Iterable[str] | str) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()


def _measured(
    row: Row,
    photographs: Sequence[Photograph],
    work: Work,
    devices: Sequence[str],
    advance: Advance | None,
) -> tuple[RowResult, dict[str, str]]:
    """One row on all photographs, and the titles of its measures of a set."""
    if devices and isinstance(row, ModelRow):
        figures, sets = shared_out(row, photographs, work, devices)
        if advance:
            advance(row.name, len(photographs), len(photographs))
    else:
        figures, sets = measure(row, photographs, work, advance)
    result = RowResult(row.name, row.is_baseline, step=row.step)
    result.figures = {name: [one[name] for one in figures] for name in work.pairwise}
    result.seconds = [one["seconds"] for one in figures]
    result.of_set = {name: each.compute() for name, each in sets.items()}
    return result, {name: each.title for name, each in sets.items()}


def shared_out(
    row: ModelRow, photographs: Sequence[Photograph], work: Work, devices: Sequence[str]
) -> tuple[list[dict[str, float]], dict[str, SetMeasure]]:
    """:func:`measure`, every n-th photograph in a process of its own for each device.

    Raises:
        ColoriaError: A process was killed, for want of memory perhaps.
    """
    model, weights, _, precision = row.load_as
    count = len(devices)
    threads = max(1, torch.get_num_threads() // count)
    context = get_context("spawn")  # CUDA cannot be used in a forked process
    with ProcessPoolExecutor(count, context, torch.set_num_threads, (threads,)) as pool:
        parts = [
            pool.submit(
                measure,
                ModelRow(row.name, model, weights, device, precision, row.options),
                photographs[i::count],
                work,
            )
            for i, device in enumerate(devices)
        ]
        try:
            done = [part.result() for part in parts]
        except BrokenProcessPool as error:
            raise ColoriaError(
                "a process that measured ended unexpectedly, for want of memory perhaps; what was "
                "measured is kept: the same command goes on"
            ) from error
    figures = [done[i % count][0][i // count] for i in range(len(photographs))]
    sets = done[0][1]
    for _, more in done[1:]:
        for name, each in more.items():
            sets[name].merge(each)
    return figures, sets


def measure(
    row: Row,
    photographs: Sequence[Photograph],
    work: Work,
    advance: Advance | None = None,
) -> tuple[list[dict[str, float]], dict[str, SetMeasure]]:
    """One row on photographs: the figures of each, and the measures of all.

    Args:
        row: What colours.
        photographs: Which ones.
        work: What is measured and kept.
        advance: Told of each photograph.
    """
    figures = []
    journal = Journal(work.journal)
    sets = {name: table.get(name).metric(**work.options.get(name, {})) for name in work.of_set}
    functions = {name: _function(name, work) for name in work.pairwise}
    for done, photograph in enumerate(photographs):
        if advance:
            advance(row.name, done, len(photographs))
        key = digest(photograph.truth, photograph.prediction, row.key, work.size)
        known = journal.find(key, {*work.pairwise, "seconds"})
        if known is None or sets or work.save:
            known = _of_one(row, photograph, work, functions, sets, known)
            journal.keep(key, known)
        figures.append(known)
    if advance:
        advance(row.name, len(photographs), len(photographs))
    return figures, sets


def _function(name: str, work: Work) -> Callable[..., float]:
    about = table.get(name)
    target, options = about.load(), work.options.get(name, {})
    if about.scope == "picture":
        return lambda prediction, truth: float(target(prediction, **options))
    return lambda prediction, truth: float(target(prediction, truth, **options))


def _of_one(
    row: Row,
    photograph: Photograph,
    work: Work,
    functions: dict[str, Callable[..., float]],
    sets: dict[str, SetMeasure],
    known: dict[str, float] | None,
) -> dict[str, float]:
    truth = pixels(photograph.truth, work.size)
    colored, seconds = row.timed(photograph, truth, work.size)
    for each in sets.values():
        each.update(colored, truth)
    if work.save:
        path = picture_path(work.save, row.name, photograph.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            Image.fromarray(colored).save(temporary, "PNG")
    if known is not None:
        return known
    figures = {name: function(colored, truth) for name, function in functions.items()}
    wrong = [name for name, value in figures.items() if math.isnan(value)]
    if wrong:
        raise OptionError(f"{', '.join(wrong)} of {photograph.name} is not a number")
    return {**figures, "seconds": seconds}
