"""Pictures to see and to save: as they were coloured, or with another tone."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from coloria.web.api import client, desk_of, refusals
from coloria.web.desk import Desk
from coloria.web.errors import RefusedError
from coloria.web.jobs import ORIGINAL, File, Job, Result
from coloria.web.names import unique
from coloria.web.options import Tones
from coloria.web.orders import Written

__all__ = ["router"]

CHUNK_BYTES = 256 * 1024

ZIP = "coloria.zip"
"""What an archive is called."""

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Should a browser ever take a picture for a page, nothing in it runs. The style is that of the
browser's own page around a picture.
"""

router = APIRouter()

Changed = Annotated[Tones, Query()]

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _described(kind: str) -> dict[int | str, dict[str, Any]]:
    return refusals(404, 409, 410, 429, 503, ok={200: {"content": {kind: _BINARY}}})


@router.get("/download/{job}.zip", response_class=Response, responses=_described("application/zip"))
async def archive(request: Request, job: str, tones: Changed) -> Response:
    """All results in one file."""
    desk = desk_of(request)
    found = desk.get(job)
    ready = [(file, result) for file, result in found.results if result.file]
    if not ready:
        raise RefusedError("not_ready", "no picture is ready yet")
    if _changes(tones):
        for _ in ready:
            request.app.state.renders.take(client(request))
    return _Archive(desk, found, ready, tones)


@router.get(
    "/download/{job}/{index}/{name}", response_class=Response, responses=_described("image/*")
)
async def download(request: Request, job: str, index: int, name: str, tones: Changed) -> Response:
    """A picture in full size; `name` is an offer (`NAME_s1` of several), or `original`."""
    return _picture(request, job, index, name, tones, view=False)


@router.get("/view/{job}/{index}/{name}", response_class=Response, responses=_described("image/*"))
async def view(request: Request, job: str, index: int, name: str, tones: Changed) -> Response:
    """A JPEG of at most 1024 pixels a side, for a page."""
    return _picture(request, job, index, name, tones, view=True)


def _picture(
    request: Request, job_id: str, index: int, name: str, tones: Tones, *, view: bool
) -> Response:
    desk = desk_of(request)
    job = desk.get(job_id)
    file, result = desk.find(job, index, name)
    if _changes(tones) and name != ORIGINAL:
        request.app.state.renders.take(client(request))
    return _Picture(desk, job, file, result, tones, view)


def _changes(tones: Tones) -> bool:
    return bool(tones.model_dump(exclude_none=True))


class _Picture(Response):
    """Sends one file. What goes wrong before the first byte is a refusal like any other."""

    def __init__(
        self, desk: Desk, job: Job, file: File, result: Result | None, tones: Tones, view: bool
    ) -> None:
        super().__init__()
        self.desk, self.job, self.file, self.result = desk, job, file, result
        self.tones, self.small = tones, view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer."""
        name = self.file.filename(self.result.name if self.result else ORIGINAL)
        name, how = (f"{Path(name).stem}.jpg", "inline") if self.small else (name, "attachment")
        wanted = (self.job, self.file, self.result, self.tones)
        async with self.desk.picture(*wanted, view=self.small) as made:
            chunks = _chunks(self.desk, self.job, made)
            first = await anext(chunks)
            await send(_start(made.type, _disposition(how, name), made.bytes))
            await send(_body(first))
            async for chunk in chunks:
                await send(_body(chunk))
        await send(_body(b"", more=False))


class _Archive(Response):
    """Sends a ZIP file while it is being made; nothing of it is on disk."""

    def __init__(
        self, desk: Desk, job: Job, ready: list[tuple[File, Result]], tones: Tones
    ) -> None:
        super().__init__()
        self.desk, self.job, self.ready, self.tones = desk, job, ready, tones

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer."""
        names = unique([file.filename(result.name) for file, result in self.ready])
        sink = _Sink()
        # Without compression, but in the form that needs no sizes beforehand.
        whole = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=0)  # type: ignore[call-overload]
        await send(_start("application/zip", _disposition("attachment", ZIP)))
        for name, (file, result) in zip(names, self.ready, strict=True):
            about = zipfile.ZipInfo(name, self.job.created.timetuple()[:6])
            about.compress_type = zipfile.ZIP_DEFLATED
            async with self.desk.picture(self.job, file, result, self.tones, view=False) as made:
                with whole.open(about, "w") as entry:
                    async for chunk in _chunks(self.desk, self.job, made):
                        entry.write(chunk)
                        await send(_body(sink.take()))
        whole.close()
        await send(_body(sink.take(), more=False))


class _Sink:
    """A file that can only be written to; what was written is taken away again."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken, self.data = bytes(self.data), bytearray()
        return taken


async def _chunks(desk: Desk, job: Job, made: Written) -> AsyncIterator[bytes]:
    """A file piece by piece, read in a thread."""
    try:
        file = await asyncio.to_thread(Path(made.path).open, "rb")
    except FileNotFoundError:
        desk.get(job.id)  # it was deleted this very moment, then
        raise
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


def _start(kind: str, disposition: str, length: int | None = None) -> Message:
    headers = {
        "Content-Type": kind,
        "Content-Disposition": disposition,
        "Cache-Control": "no-store",
        "Content-Security-Policy": PICTURE_POLICY,
    }
    if length is not None:
        headers["Content-Length"] = str(length)
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def _disposition(how: str, name: str) -> str:
    """RFC 6266: the name in ASCII for old programs, and as it is."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
