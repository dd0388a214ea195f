"""Takes uploads in, has them coloured, gives the results out, and deletes them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coloria.classes import chosen
from coloria.web.errors import Problem, RefusedError
from coloria.web.facts import Facts
from coloria.web.jobs import FINAL, ORIGINAL, File, Job, JobView, Result, results_of
from coloria.web.offers import ALL, Offer
from coloria.web.options import Options, Tones, check, parse
from coloria.web.orders import Color, Done, Load, Render, Written
from coloria.web.pool import Pool, Task, TaskFailedError
from coloria.web.store import Store, new_id
from coloria.web.uploads import Form, Look, look, most_bytes

__all__ = ["Desk"]

REMEMBERED = 10_000
"""Deleted jobs that are still known to have been there."""

RECEIVING = 4
"""Uploads of one client read at the same time: each has room set aside, and may be slow."""

SWEEP_S = 1.0
"""Between two looks for what has expired."""

LOSSY = ("JPEG", "WEBP", "AVIF", "HEIF")
LOSSY_BYTES, PLAIN_BYTES = 3, 9
"""Of a pixel at most, as these write it, and as a format without loss does (16 bits, alpha)."""

VIEW_BYTES = 2_000_000
"""Of a view at most."""

USUAL_SIZE, LONGEST_SIDE, CHROMA_BYTES = 560, 2048, 12
"""Short and longest side, in pixels, of a network's result, and the bytes of one of its pixels."""


class Desk:
    """All jobs of this server.

    Args:
        facts: The offers and the settings.
        store: Where pictures lie.
    """

    def __init__(self, facts: Facts, store: Store) -> None:
        self.facts, self.settings, self.store = facts, facts.settings, store
        first = next(iter(facts.offers.values()))
        self.pool = Pool(self.settings, Load(model=first.model, weights=first.weights))
        self.jobs: dict[str, Job] = {}
        self.outcomes: Counter[str] = Counter()
        """Pictures by what became of them."""
        self.receiving: Counter[str] = Counter()
        """Uploads that are being read, by client."""
        self.stopping = False
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Starts the workers, and sweeps until it is cancelled."""
        self.pool.start()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for job in [j for j in self.jobs.values() if j.expires and j.expires <= now]:
                await self.delete(job.id)

    def stop(self) -> None:
        """Ends the streams of events, which would hold up the end of the server."""
        self.stopping = True
        for job in self.jobs.values():
            job.touch()

    async def close(self) -> None:
        """Ends the workers and deletes everything."""
        await self.pool.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.to_thread(self.store.close)

    # ------------------------------------------------------------------ in

    def admit(self, client: str, pictures: int = 1) -> None:
        """Whether so many more pictures can be taken in.

        Raises:
            RefusedError: Too many are waiting, of this client or altogether.
        """
        if self.pool.down:
            message = "the part of this server that colours pictures does not start"
            raise RefusedError("unavailable", message, hint="try again later", retry_after=30)
        own = sum(
            result.status not in FINAL
            for job in self.jobs.values()
            if job.client == client
            for _, result in job.results
        )
        if own + pictures > self.settings.per_client:
            raise RefusedError(
                "too_many_requests",
                f"{own} of your pictures are waiting; {self.settings.per_client} may",
                hint="wait until they are done",
                retry_after=self.pool.seconds,
            )
        if len(self.pool.colors) + pictures > self.settings.queue:
            raise RefusedError(
                "queue_full",
                "too many pictures are waiting at the moment",
                hint="try again in a little while",
                retry_after=self.pool.wait_s(),
            )

    def begin(self, client: str, length: int | None) -> tuple[str, Path]:
        """The id and the folder of an upload of so many bytes that is about to be read; when it
        has been, :meth:`ended` is to be called.

        Raises:
            RefusedError: Too many are waiting or being sent, or there is no room.
        """
        self.admit(client)
        if self.receiving[client] >= RECEIVING:
            raise RefusedError(
                "too_many_requests",
                f"{RECEIVING} uploads of yours are being received at this moment",
                hint="send them one after the other",
                retry_after=self.pool.seconds,
            )
        job = new_id()
        folder = self.store.make(job, length or most_bytes(self.settings))
        self.receiving[client] += 1
        return job, folder

    def ended(self, client: str) -> None:
        """One of its uploads is no longer being read."""
        self.receiving -= Counter([client])

    async def accept(self, job_id: str, client: str, form: Form) -> Job:
        """Makes a job of what was received, and puts its pictures in line.

        Raises:
            RefusedError: No or too many pictures, a wrong field, not a picture, no room.
        """
        model = form.fields.pop("model", "")
        offers = self._chosen(model, len(form.files))
        options = parse(form.fields)
        check(options, offers)
        each = sum(len(results_of(offer, options.samples)) for offer in offers)
        self._check_number(each, len(form.files))
        looks = [await look(sent, self.settings.max_pixels) for sent in form.files]
        self.admit(client, each * len(looks))
        folder = self.store.run / job_id
        files = [
            File(
                index=index,
                name=sent.name,
                source=sent.path,
                format=seen.format,
                width=seen.width,
                height=seen.height,
                results={r.name: r for offer in offers for r in results_of(offer, options.samples)},
            )
            for index, (sent, seen) in enumerate(zip(form.files, looks, strict=True))
        ]
        sizes = sum(_most_bytes(seen, each, options) for seen in looks)
        self.store.reserve(job_id, sum(sent.bytes for sent in form.files) * 2 + sizes)
        job = Job(job_id, client, model, options, files, folder)
        self.jobs[job_id] = job
        for file, result in job.results:
            self._put_in_line(job, file, result)
        return job

    def _check_number(self, each: int, files: int) -> None:
        """Whether so many results a picture can ever be in line."""
        most = self.settings.per_client
        if files > 1 and each * files > most:
            raise RefusedError(
                "too_many_files",
                f"{files} pictures in {each} colourings each are {each * files}; {most} may wait",
                hint="send fewer pictures, or ask for fewer samples",
            )

    def _chosen(self, model: str, files: int) -> list[Offer]:
        offers = self.facts.offers
        hint = f"there are: {', '.join([*offers, ALL])}"
        if not model:
            raise RefusedError("wrong_field", "model: the field is missing", hint=hint)
        if model != ALL and model not in offers:
            raise RefusedError("unknown_model", f"model: there is no {model!r}", hint=hint)
        if not files:
            raise RefusedError("no_files", "no picture was sent", hint="choose at least one")
        if model == ALL and files > 1:
            raise RefusedError(
                "too_many_files",
                f"all models take one picture; got {files}",
                hint="choose one picture, or one model",
            )
        return list(offers.values()) if model == ALL else [offers[model]]

    def _put_in_line(self, job: Job, file: File, result: Result) -> None:
        stem = f"{job.folder}/{file.index}"
        order = Color(
            source=str(file.source),
            name=file.name,
            tone=job.options.tone(),
            keep_location=job.options.keep_location,
            max_pixels=self.settings.max_pixels,
            model=result.offer.model,
            weights=result.offer.weights,
            size=job.options.size,
            class_=chosen(job.options.class_, result.offer.classes),
            seed=(result.sample or 1) - 1,
            stem=f"{stem}-{result.name}",
            original_stem=f"{stem}-{ORIGINAL}",
        )

        def progress(share: float) -> None:
            result.status, result.progress = "running", share
            job.touch()

        result.task = self.pool.submit(order, progress)
        self._later(self._follow(job, file, result))

    async def _follow(self, job: Job, file: File, result: Result) -> None:
        """Notes what becomes of one picture."""
        assert result.task is not None
        try:
            _note(file, result, await result.task.outcome)
            result.status = "done"
        except TaskFailedError as error:
            result.status, result.problem = "failed", error.problem
        except asyncio.CancelledError:
            message = "it was cancelled"
            result.problem = Problem(code="cancelled", message=message, file=file.name)
            result.status = "cancelled"
        result.task = None
        self.outcomes[result.status] += 1
        if job.final:
            job.expires = time.monotonic() + self.settings.keep_s
            if job.id in self.jobs:
                self.store.used[job.id] = _bytes_of(job)
        for other in self.jobs.values():
            if not other.final or other is job:
                other.touch()

    # ------------------------------------------------------------------ out

    def get(self, job_id: str) -> Job:
        """The job of an id.

        Raises:
            RefusedError: It has expired or was deleted, or there never was one.
        """
        if job_id in self.jobs:
            return self.jobs[job_id]
        if job_id in self._deleted:
            minutes = f"{self.settings.keep_minutes:g}"
            raise RefusedError(
                "expired",
                f"these pictures have been deleted, as all are {minutes} minutes after they are "
                "ready, or when somebody asks for it",
                hint="send them again",
            )
        message = "there are no such results: the address is wrong, or the server was restarted"
        raise RefusedError("not_found", message, hint="send the pictures again")

    def view(self, job: Job, base: str = "") -> JobView:
        """As JSON has it."""
        position = 0
        if job.status == "queued":
            own = {id(result.task) for _, result in job.results}
            line = [id(task) in own for task in self.pool.colors]
            position = line.index(True) if True in line else 0
        return job.view(position, base)

    def find(self, job: Job, index: int, name: str) -> tuple[File, Result | None]:
        """A picture of a job, and the result of a name; None for the original.

        Raises:
            RefusedError: There is no such picture.
        """
        if not 0 <= index < len(job.files) or name not in (ORIGINAL, *job.files[index].results):
            raise RefusedError("not_found", "this job has no such picture")
        file = job.files[index]
        return file, file.results.get(name)

    @asynccontextmanager
    async def picture(
        self, job: Job, file: File, result: Result | None, tones: Tones, *, view: bool
    ) -> AsyncIterator[Written]:
        """The file of a picture; one with another tone is made now, and deleted afterwards.

        Raises:
            RefusedError: It is not ready, or could not be made.
        """
        if result is None:
            made = file.original_view if view else file.original
        else:
            made = result.view if view else result.file
        if made is None:
            raise _not_ready(file, result)
        tone = job.options.tone(tones)
        if result is None or tone == job.options.tone():
            yield made
            return
        async with job.rendering:
            made = await self._render(job, file, result, tone, view)
            try:
                yield made
            finally:
                Path(made.path).unlink(missing_ok=True)

    async def _render(
        self, job: Job, file: File, result: Result, tone: dict[str, float], view: bool
    ) -> Written:
        assert result.chroma is not None
        order = Render(
            source=str(file.source),
            name=file.name,
            tone=tone,
            keep_location=job.options.keep_location,
            max_pixels=self.settings.max_pixels,
            chroma=result.chroma.path,
            view=view,
            target=f"{job.folder}/render-{new_id()}",
        )
        task = self.pool.submit(order)
        try:
            done = await task.outcome
        except TaskFailedError as error:
            problem = error.problem
            raise RefusedError(
                "unavailable", problem.message, file=file.name, hint=problem.hint, retry_after=5
            ) from error
        except asyncio.CancelledError:
            self.pool.cancel(task)
            raise
        return done.files["result"]

    # ------------------------------------------------------------------ away

    async def delete(self, job_id: str) -> None:
        """Cancels what is not done and deletes everything.

        Raises:
            RefusedError: There is no such job.
        """
        job = self.get(job_id)
        del self.jobs[job_id]
        self._deleted[job_id] = None
        while len(self._deleted) > REMEMBERED:
            self._deleted.popitem(last=False)
        tasks = [result.task for _, result in job.results if result.task is not None]
        for task in tasks:
            self.pool.cancel(task)
        job.touch()
        await self.forget(job_id)
        if tasks:  # what is at work may have written one more file
            self._later(self._forget_after(job_id, tasks))

    async def _forget_after(self, job_id: str, tasks: list[Task]) -> None:
        await asyncio.wait([task.outcome for task in tasks])
        await self.forget(job_id)

    async def forget(self, job_id: str) -> None:
        """Deletes the files of an upload."""
        await asyncio.to_thread(self.store.remove, job_id)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it beside everything else."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _not_ready(file: File, result: Result | None) -> RefusedError:
    problem = result.problem if result else None
    return RefusedError(
        "not_ready",
        problem.message if problem else "the picture is not ready yet",
        file=file.name,
        hint=problem.hint if problem else "ask for the state of the job first",
    )


def _note(file: File, result: Result, done: Done) -> None:
    """Takes over what a worker has written."""
    written = done.files
    result.file, result.view, result.chroma = (written[n] for n in ("result", "view", "chroma"))
    file.original, file.original_view = written["original"], written["original_view"]
    file.width, file.height = done.width, done.height
    file.notes += [note for note in done.notes if note not in file.notes]


def _bytes_of(job: Job) -> int:
    """What lies in the folder of a job that is ready, and room for renderings."""
    made = [f for _, r in job.results for f in (r.file, r.view, r.chroma) if f]
    made += [f for file in job.files for f in (file.original, file.original_view) if f]
    largest = max((f.bytes for f in made), default=0)
    return (
        sum(f.bytes for f in made)
        + 2 * largest
        + sum(file.source.stat().st_size for file in job.files)
    )


def _most_bytes(seen: Look, results: int, options: Options) -> int:
    """Of all that can come of a picture: original, results, views and chroma."""
    each = LOSSY_BYTES if seen.format in LOSSY else PLAIN_BYTES
    short, long = sorted((seen.width, seen.height))
    size = options.size or USUAL_SIZE
    chroma = size * min(LONGEST_SIDE, size * long / max(1, short)) * CHROMA_BYTES
    return int((results + 1) * (seen.width * seen.height * each + VIEW_BYTES) + results * chroma)
