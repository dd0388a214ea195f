"""One upload and what becomes of it: the state, and how it is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from coloria.saving import FORMATS
from coloria.web.errors import Problem, View
from coloria.web.offers import Offer
from coloria.web.options import Options
from coloria.web.orders import Written
from coloria.web.pool import Task

__all__ = [
    "FINAL",
    "ORIGINAL",
    "File",
    "FileView",
    "Job",
    "JobView",
    "Links",
    "Result",
    "Status",
    "results_of",
]

Status = Literal["queued", "running", "done", "failed", "cancelled"]

RENDERINGS = 2
"""Made at once of one job; more wait."""

FINAL = ("done", "failed", "cancelled")

ORIGINAL = "original"
"""In an address, in place of an offer's name: the picture as it was read."""


class Links(View):
    """Addresses of a job."""

    self: str
    """Its state."""
    events: str
    """Its state at each change, as server-sent events."""
    page: str
    """For people."""
    zip: str | None
    """All results; none before the first is there."""
    delete: str
    """To be asked with DELETE."""


class ResultView(View):
    """A picture by a model."""

    model: str
    """Name of the offer."""
    title: str
    """The model in words."""
    sample: int | None
    """Which of several colourings, from 1; none where there is one."""
    label: Literal["own", "pre-trained"]
    """Whose weights they are: this project's, or those that the model's authors published."""
    status: Status
    error: Problem | None
    """Why it failed."""
    width: int | None
    """In pixels; none until it is done."""
    height: int | None
    """The same."""
    bytes: int | None
    """Of the file at `url`."""
    url: str | None
    """Of the full size, to be saved; takes tones."""
    view_url: str | None
    """Of a JPEG of at most 1024 pixels a side; takes tones."""
    filename: str
    """What it is saved as."""


class FileView(View):
    """A picture that was sent."""

    index: int
    """From 0, in the order in which they were sent."""
    name: str
    """The file's, without folders and control characters. It is text: escape it."""
    status: Status
    width: int
    """In pixels, upright."""
    height: int
    """The same."""
    notes: list[str]
    """What could not be taken over from the file."""
    error: Problem | None
    """Why no model has coloured it."""
    original_url: str | None
    """The picture as it was read, once it has been."""
    original_view_url: str | None
    """The same, as a JPEG of at most 1024 pixels a side."""
    results: list[ResultView]
    """One by each model that was asked for, or as many as its samples."""


class JobView(View):
    """An upload and what became of it."""

    id: str
    """Random; who knows it sees the pictures."""
    status: Status
    """`failed` where a picture failed; results of the others are there all the same."""
    model: str
    """As it was asked for; `all` is every offer."""
    progress: float
    """0 to 1."""
    position: int
    """Pictures that are before it in line."""
    created: datetime
    expires_in_s: float | None
    """Seconds until all of it is deleted; none while it is not ready."""
    options: Options
    """As they were sent, or by default."""
    files: list[FileView]
    links: Links


@dataclass(eq=False)
class Result:
    """One picture by one offer; of several colourings one."""

    offer: Offer
    sample: int | None = None
    """Which of several colourings, from 1."""
    status: Status = "queued"
    progress: float = 0.0
    problem: Problem | None = None
    file: Written | None = None
    view: Written | None = None
    chroma: Written | None = None
    task: Task | None = None

    @property
    def name(self) -> str:
        """In addresses and names of files, as ``coloria colorize --samples`` has it."""
        return self.offer.name + (f"_s{self.sample}" if self.sample else "")


def results_of(offer: Offer, samples: int) -> list[Result]:
    """Those of one picture by one offer, which are to be."""
    if samples == 1 or not offer.draws:
        return [Result(offer)]
    return [Result(offer, sample) for sample in range(1, samples + 1)]


@dataclass(eq=False)
class File:
    """One picture that was sent."""

    index: int
    name: str
    """As the visitor calls it, cleaned; text, never a path."""
    source: Path
    format: str
    """By Pillow's name."""
    width: int
    height: int
    results: dict[str, Result]
    notes: list[str] = field(default_factory=list)
    original: Written | None = None
    original_view: Written | None = None

    @property
    def status(self) -> Status:
        """Of all its results together."""
        return _together([result.status for result in self.results.values()])

    def filename(self, name: str) -> str:
        """What a download of it is called."""
        format = "PNG" if self.format == "GIF" else self.format
        return f"{Path(self.name).stem}_{name}{FORMATS[format].suffixes[0]}"


@dataclass(eq=False)
class Job:
    """One upload."""

    id: str
    client: str
    model: str
    options: Options
    files: list[File]
    folder: Path
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    begun: float = field(default_factory=time.monotonic)
    expires: float | None = None
    """On the monotonic clock."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    rendering: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RENDERINGS))

    @property
    def results(self) -> list[tuple[File, Result]]:
        """All of them, picture by picture."""
        return [(file, result) for file in self.files for result in file.results.values()]

    @property
    def status(self) -> Status:
        """Of all its pictures together."""
        return _together([result.status for _, result in self.results])

    @property
    def final(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in FINAL

    def touch(self) -> None:
        """Wakes everybody who watches it."""
        self.changed.set()
        self.changed = asyncio.Event()

    def view(self, position: int = 0, base: str = "") -> JobView:
        """As JSON has it.

        Args:
            position: Pictures before it in line.
            base: What addresses begin with: "" or "/api/v1".
        """
        shares = [1.0 if r.status in FINAL else r.progress for _, r in self.results]
        left = None if self.expires is None else max(0.0, self.expires - time.monotonic())
        return JobView(
            id=self.id,
            status=self.status,
            model=self.model,
            progress=round(sum(shares) / len(shares), 3),
            position=position,
            created=self.created,
            expires_in_s=None if left is None else round(left, 1),
            options=self.options,
            files=[self._file(file, base) for file in self.files],
            links=self._links(base),
        )

    def _links(self, base: str) -> Links:
        here = f"{base}/jobs/{self.id}"
        there = any(result.file for _, result in self.results)
        return Links(
            self=here,
            events=f"{here}/events",
            page=f"/results/{self.id}",
            zip=f"{base}/download/{self.id}.zip" if there else None,
            delete=here,
        )

    def _file(self, file: File, base: str) -> FileView:
        place = f"{self.id}/{file.index}/{ORIGINAL}"
        problems = [r.problem for r in file.results.values()]
        return FileView(
            index=file.index,
            name=file.name,
            status=file.status,
            width=file.width,
            height=file.height,
            notes=file.notes,
            error=problems[0] if all(problems) else None,
            original_url=f"{base}/download/{place}" if file.original else None,
            original_view_url=f"{base}/view/{place}" if file.original_view else None,
            results=[self._result(file, name, r, base) for name, r in file.results.items()],
        )

    def _result(self, file: File, name: str, result: Result, base: str) -> ResultView:
        place = f"{self.id}/{file.index}/{name}"
        made = result.file
        return ResultView(
            model=result.offer.name,
            title=result.offer.title,
            sample=result.sample,
            label=result.offer.label,
            status=result.status,
            error=result.problem,
            width=file.width if made else None,
            height=file.height if made else None,
            bytes=made.bytes if made else None,
            url=f"{base}/download/{place}" if made else None,
            view_url=f"{base}/view/{place}" if made else None,
            filename=file.filename(name),
        )


def _together(statuses: Iterable[Status]) -> Status:
    """One word for several."""
    found = set(statuses)
    if found <= set(FINAL):
        order: tuple[Status, ...] = ("failed", "cancelled", "done")
        return next(status for status in order if status in found)
    return "queued" if found == {"queued"} else "running"
