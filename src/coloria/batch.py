"""Colours the pictures of a plan, one bad one not stopping the rest.

Pictures go through the network in groups, and a group is all that is in memory at a time. The
model is loaded when the first picture that needs it has been read, so a run in which nothing is
left to do loads none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coloria import images
from coloria.errors import (
    ColoriaError,
    MissingExtraError,
    OptionError,
    OutOfMemoryError,
    OutputExistsError,
    PictureWriteError,
    UsageError,
)
from coloria.jobs import Job, Plan, plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coloria.colorizer import Colorizer, Prediction
    from coloria.picture import Picture, Pixels

__all__ = ["Existing", "Job", "Outcome", "Plan", "Settings", "Status", "plan", "run"]

GROUP_PIXELS = 64 * 1024 * 1024
"""Pixels held in one group, unless a single picture has more."""

Status = Literal["coloured", "skipped", "failed"]

Existing = Literal["refuse", "skip", "overwrite"]
"""What to do about a result that is already there."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How all pictures of a run are coloured and written."""

    render_size: int | None = None
    render_factor: int | None = None
    luma: Literal["lab", "deoldify", "legacy"] = "lab"
    tone: Mapping[str, float] = field(default_factory=dict)
    """Fields of :class:`coloria.color.Tone`."""
    borders: bool = True
    max_pixels: int = images.MAX_PIXELS
    quality: int | None = None
    existing: Existing = "refuse"
    batch_size: int = 1
    """Pictures that go through the network together, at most."""
    class_: int | str | None = None
    """What all pictures show, for models that know classes."""
    seed: int = 0
    """Which of the colourings of a model that gives many; samples count on from it."""
    z_std: float | None = None
    """How far these colourings are apart."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one picture."""

    input: str
    output: str
    status: Status
    width: int | None = None
    """In pixels; of the first page."""
    height: int | None = None
    seconds: float = 0.0
    """Its share of the time of its group."""
    model: str | None = None
    weights: str | None = None
    """In the words of ``--weights``; None where the model was not needed."""
    label: dict[str, Any] | None = None
    """What it was coloured as, by a model that knows classes: id, name, probability."""
    error: str | None = None
    exception: Exception | None = None
    """The error itself, for whoever wants its traceback."""

    def record(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {k: v for k, v in vars(self).items() if k != "exception"}


@dataclass
class _Opened:
    """A picture that has been read; of a file with several pages the first."""

    job: Job
    first: Picture
    pages: int
    targets: list[Path]
    """What is to be written."""

    @property
    def format(self) -> str:
        """The format of the result; PNG for one that cannot hold a photograph in colour."""
        wanted = self.job.format or images.SUFFIXES.get(self.job.output.suffix.lower())
        own = self.first.format
        return wanted or (own if own and own != "GIF" else "PNG")


def run(
    jobs: Iterable[Job], load: Callable[[], Colorizer], settings: Settings | None = None
) -> Iterator[Outcome]:
    """Colours pictures, and tells of each what became of it, in the order in which they end.

    Args:
        jobs: From :func:`coloria.jobs.plan`.
        load: Makes the colorizer; called once, and only if a picture needs it.
        settings: How.

    Yields:
        One outcome a job.

    Raises:
        UsageError: A setting is wrong for every picture.
        ColoriaError: What `load` raises.
    """
    settings, ready = settings or Settings(), cache(load)
    group: list[_Opened] = []
    for job in jobs:
        opened = _open(job, settings)
        if isinstance(opened, Outcome):
            yield opened
            continue
        if group and not _fits(opened, group, settings):
            yield from _colour(group, ready(), settings)
            group = []
        group.append(opened)
        if len(group) == settings.batch_size:
            yield from _colour(group, ready(), settings)
            group = []
    if group:
        yield from _colour(group, ready(), settings)


def _open(job: Job, settings: Settings) -> _Opened | Outcome:
    """The picture, or why there is nothing to do."""
    try:
        targets = _targets(job, settings.existing)
        if not targets:
            return _outcome(job, "skipped")
        pages = images.page_count(job.open())
        first = images.read(job.open(), max_pixels=settings.max_pixels)
        opened = _Opened(job, first, pages, targets)
        _check_pages(opened)
        return opened
    except Exception as error:
        return _failed(job, error)


def _targets(job: Job, existing: Existing) -> list[Path]:
    """The files to write."""
    there = [path for path in job.targets if path.exists()]
    if there and existing == "refuse":
        raise OutputExistsError(
            f"{there[0]}: the file is there already; --overwrite replaces it, "
            "--skip-existing leaves it as it is"
        )
    return [p for p in job.targets if existing == "overwrite" or p not in there]


def _check_pages(opened: _Opened) -> None:
    if opened.pages > 1 and opened.format.upper() not in ("TIFF", "TIF"):
        raise PictureWriteError(
            f"{opened.job.source}: it has {opened.pages} pages, and {opened.format} holds one: "
            "write .tif"
        )


def _fits(opened: _Opened, group: list[_Opened], settings: Settings) -> bool:
    """Whether it goes through the network together with the group; several pages go alone."""
    pixels = sum(o.first.height * o.first.width for o in [*group, opened])
    return opened.pages == group[0].pages == 1 and pixels <= GROUP_PIXELS


def _colour(group: list[_Opened], colorizer: Colorizer, settings: Settings) -> Iterator[Outcome]:
    """Colours and writes a group; where it is too large for the memory, one by one."""
    start = time.perf_counter()
    try:
        pictures = [opened.first for opened in group]
        samples = [opened.job.sample for opened in group]
        predictions = _predict(pictures, samples, colorizer, settings)
    except OutOfMemoryError as error:
        if len(group) == 1:
            yield _failed(group[0].job, error, colorizer)
        for opened in group if len(group) > 1 else []:
            yield from _colour([opened], colorizer, settings)
        return
    except Exception as error:
        yield from (_failed(opened.job, error, colorizer) for opened in group)
        return
    share = (time.perf_counter() - start) / len(group)
    for opened, prediction in zip(group, predictions, strict=True):
        yield _finish(opened, prediction, colorizer, settings, share)


def _predict(
    pictures: list[Picture],
    samples: list[int | None],
    colorizer: Colorizer,
    settings: Settings,
) -> list[Prediction]:
    if not colorizer.draws and any(sample is not None for sample in samples):
        raise OptionError(
            f"{colorizer.model.name} gives one answer: samples are for bigcolor, which gives many"
        )
    return colorizer.predict_batch(
        pictures,
        batch_size=settings.batch_size,
        render_size=settings.render_size,
        render_factor=settings.render_factor,
        class_=settings.class_,
        seed=[settings.seed + (sample or 0) for sample in samples],
        z_std=settings.z_std,
        borders=settings.borders and settings.luma == "lab",
    )


def _finish(
    opened: _Opened, prediction: Prediction, colorizer: Colorizer, settings: Settings, share: float
) -> Outcome:
    """Writes the results of one picture."""
    start, job = time.perf_counter(), opened.job
    try:
        pages = _Pages(opened, prediction, colorizer, settings)
        for target in opened.targets:
            _write(_shown(pages, target == job.before_after), target, opened, settings)
    except Exception as error:
        return _failed(job, error, colorizer)
    return replace(
        _outcome(job, "coloured", colorizer),
        width=opened.first.width,
        height=opened.first.height,
        label=vars(prediction.label) if prediction.label else None,
        seconds=round(share + time.perf_counter() - start, 3),
    )


def _shown(pages: _Pages, both: bool) -> Iterable[Picture]:
    """The pages of one file; a single one is made before writing begins."""
    made = (side_by_side(*pair) if both else pair[1] for pair in pages)
    return list(made) if pages.opened.pages == 1 else made


def _write(pages: Iterable[Picture], target: Path, opened: _Opened, settings: Settings) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureWriteError(
            f"the folder {target.parent} cannot be made ({error.strerror or error})"
        ) from error
    images.write(
        pages,
        target,
        format=opened.format,
        quality=settings.quality,
        overwrite=settings.existing == "overwrite",
        inputs=[opened.job.source] if opened.job.data is None else [],
    )


class _Pages:
    """Original and result, page by page; to go through as often as one likes.

    The network sees each page once. A single picture is kept, of several pages only their chroma.
    """

    def __init__(
        self, opened: _Opened, prediction: Prediction, colorizer: Colorizer, settings: Settings
    ) -> None:
        self.opened, self.colorizer, self.settings = opened, colorizer, settings
        self.chroma = [prediction.chroma]
        self.kept: tuple[Picture, Picture] | None = None

    def __iter__(self) -> Iterator[tuple[Picture, Picture]]:
        if self.opened.pages == 1:
            self.kept = self.kept or (self.opened.first, self._render(self.opened.first, 0))
            yield self.kept
            return
        source = self.opened.job.open()
        for number, page in enumerate(
            images.read_pages(source, max_pixels=self.settings.max_pixels)
        ):
            yield page, self._render(page, number)

    def _render(self, page: Picture, number: int) -> Picture:
        from coloria.colorizer import Prediction, make_tone

        if number == len(self.chroma):
            sample = self.opened.job.sample
            made = _predict([page], [sample], self.colorizer, self.settings)
            self.chroma += [p.chroma for p in made]
        prediction = Prediction(page, self.chroma[number])
        return prediction.render(self.settings.luma, make_tone(dict(self.settings.tone)))


def side_by_side(original: Picture, result: Picture) -> Picture:
    """The original to the left, the result to the right, in the depth of the result.

    Args:
        original: (H, W) or (H, W, 3).
        result: (H, W, 3), of the same height and width.

    Returns:
        (H, 2 W, 3), without EXIF: it speaks of another picture.
    """
    same = original.pixels.dtype == result.pixels.dtype
    before = original.pixels if same else original.pixels8()
    rgb = before if before.ndim == 3 else np.repeat(before[..., None], 3, axis=2)
    alpha = result.alpha
    twice = None if alpha is None else _beside(alpha, alpha)
    return replace(result, pixels=_beside(rgb, result.pixels), alpha=twice, exif=None)


def _beside(left: NDArray[Any], right: NDArray[Any]) -> Pixels:
    both: Pixels = np.concatenate([left, right], axis=1)
    return both


def _outcome(job: Job, status: Status, colorizer: Colorizer | None = None) -> Outcome:
    return Outcome(
        input=str(job.source),
        output=str(job.output),
        status=status,
        model=colorizer.model.name if colorizer else None,
        weights=_choice(colorizer) if colorizer else None,
    )


def _choice(colorizer: Colorizer) -> str:
    """Its weights in the words that ask for them."""
    found = colorizer.found
    return {"embedded": "embedded", "released": f"released:{found.name}"}.get(
        found.kind, str(found.path)
    )


def _failed(job: Job, error: Exception, colorizer: Colorizer | None = None) -> Outcome:
    """A failure of this picture alone; what is wrong for all pictures is raised."""
    if isinstance(error, UsageError) and not isinstance(error, MissingExtraError):
        raise error
    return replace(_outcome(job, "failed", colorizer), error=_line(job, error), exception=error)


def _line(job: Job, error: Exception) -> str:
    """One line that names the picture."""
    if isinstance(error, MemoryError):
        text = "not enough memory: make the picture smaller, or close other programs"
    elif isinstance(error, ColoriaError):
        text = str(error)
    else:
        text = f"unexpected {type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if str(job.source) in text else f"{job.source}: {text}"
