"""Receives a form with pictures: byte by byte to disk, with every limit checked on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from coloria import images
from coloria.errors import MissingExtraError, PictureTooLargeError, UnreadablePictureError
from coloria.web.errors import RefusedError, message_of
from coloria.web.names import clean
from coloria.web.settings import Settings

__all__ = ["Form", "Look", "Sent", "check_length", "drain", "look", "most_bytes", "receive"]

FIELD_BYTES = 200
"""Longest value of a field that is no picture."""

FIELDS = 20
"""Most of them."""

EXTRA_BYTES = 64 * 1024
"""Room in a form for its fields and the headers of its parts."""

UPLOAD_S = 300.0
"""Longest that one upload may take."""

DRAIN_BYTES, DRAIN_S = 64 * 1024 * 1024, 10.0
"""How much of a refused form is still read before the answer: most clients read no answer before
they have sent everything. What comes after it, uvicorn throws away.
"""


@dataclass
class Sent:
    """A picture as it came."""

    name: str
    path: Path
    bytes: int = 0


@dataclass
class Form:
    """What a form held."""

    files: list[Sent] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """What the header of a picture says."""

    format: str
    width: int
    height: int


def most_bytes(settings: Settings) -> int:
    """Of a whole form."""
    return settings.max_files * settings.max_bytes + EXTRA_BYTES


async def receive(
    headers: Mapping[str, str], body: AsyncIterator[bytes], folder: Path, settings: Settings
) -> Form:
    """Reads a form into a folder.

    Raises:
        RefusedError: Not such a form, or a limit; what was written stays in the folder.
    """
    kind, options = parse_options_header(headers.get("content-type"))
    if kind != b"multipart/form-data":
        came = kind.decode("latin-1")[:60] or "no type"
        raise RefusedError(
            "wrong_type",
            f"wanted a form (multipart/form-data); got {came!r}",
            hint="send the pictures as the field 'files'",
        )
    if not options.get(b"boundary"):
        raise RefusedError("bad_request", "the form has no boundary")
    reader = _Reader(folder, settings)
    try:
        async with asyncio.timeout(UPLOAD_S):
            await reader.read(options[b"boundary"], body)
    except TimeoutError as error:
        raise RefusedError(
            "upload_timeout", f"the upload took longer than {UPLOAD_S:.0f} seconds"
        ) from error
    except FormParserError as error:
        raise RefusedError("bad_request", "the form is damaged or incomplete") from error
    finally:
        reader.close()
    return reader.form


class _Reader:
    """The callbacks of the parser. They only take notes; writing is done between chunks, in a
    thread.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.form = Form()
        self.header, self.value = bytearray(), bytearray()
        self.disposition = b""
        self.name = ""
        self.text = bytearray()
        self.sent: Sent | None = None
        self.file: IO[bytes] | None = None
        self.pending: list[tuple[IO[bytes], bytes | None]] = []
        """What is to be written; None ends a file."""
        self.ended = False

    async def read(self, boundary: bytes, body: AsyncIterator[bytes]) -> None:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self.part_begin,
                "on_part_data": self.part_data,
                "on_part_end": self.part_end,
                "on_header_field": self.header_field,
                "on_header_value": self.header_value,
                "on_header_end": self.header_end,
                "on_headers_finished": self.headers_finished,
                "on_end": self.end,
            },
        )
        async for chunk in body:
            parser.write(chunk)
            if self.pending:
                await asyncio.to_thread(self._flush)
        parser.finalize()
        if not self.ended:
            raise FormParserError("no end")

    def _flush(self) -> None:
        for file, data in self.pending:
            if data is None:
                file.close()
            else:
                file.write(data)
        self.pending.clear()

    def close(self) -> None:
        for file in (self.file, *(file for file, _ in self.pending)):
            if file is not None:
                file.close()

    def part_begin(self) -> None:
        self.disposition, self.name = b"", ""
        self.text = bytearray()
        self.sent = None

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            self.disposition = bytes(self.value)
        self.header, self.value = bytearray(), bytearray()

    def headers_finished(self) -> None:
        _, options = parse_options_header(self.disposition)
        if b"name" not in options:
            raise RefusedError("bad_request", "a part of the form has no name")
        self.name = _decoded(options[b"name"])[:60]
        if b"filename" not in options:
            self._begin_field()
        elif options[b"filename"] or self.name != "files":
            self._begin_file(_decoded(options[b"filename"]))
        # A browser sends an empty name where nothing was chosen: what follows is passed over.

    def _begin_field(self) -> None:
        if self.name == "files":
            raise RefusedError("wrong_field", "files: wanted pictures; got text")
        if self.name in self.form.fields or len(self.form.fields) == FIELDS:
            raise RefusedError("wrong_field", f"{self.name}: the field is there twice, or too many")
        self.form.fields[self.name] = ""

    def _begin_file(self, name: str) -> None:
        if self.name != "files":
            raise RefusedError("wrong_field", f"{self.name}: no pictures are wanted in this field")
        most = self.settings.max_files
        if len(self.form.files) == most:
            raise RefusedError(
                "too_many_files",
                f"at most {most} pictures can be sent at once",
                file=clean(name),
                hint="send the others afterwards",
            )
        self.sent = Sent(clean(name), self.folder / f"{len(self.form.files)}.upload")
        self.file = self.sent.path.open("xb")
        self.form.files.append(self.sent)

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self.sent is not None and self.file is not None:
            self.sent.bytes += end - start
            if self.sent.bytes > self.settings.max_bytes:
                raise _too_large(self.settings, self.sent.name)
            self.pending.append((self.file, data[start:end]))
        elif self.name != "files":
            self.text += data[start:end]
            if len(self.text) > FIELD_BYTES:
                raise RefusedError("wrong_field", f"{self.name}: the value is too long")

    def part_end(self) -> None:
        if self.file is not None:
            self.pending.append((self.file, None))
            self.file = self.sent = None
        elif self.name in self.form.fields:
            self.form.fields[self.name] = _decoded(self.text).strip()

    def end(self) -> None:
        self.ended = True


def _decoded(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")


def _too_large(settings: Settings, name: str | None = None) -> RefusedError:
    return RefusedError(
        "too_large",
        f"a file may have {settings.max_mb:g} MB at most",
        file=name,
        hint="make the picture smaller, or save it as JPEG",
    )


def check_length(headers: Mapping[str, str], settings: Settings) -> int | None:
    """The length that the header says, if it does; checked before anything is read.

    Raises:
        RefusedError: Too much.
    """
    said = headers.get("content-length", "")
    length = int(said) if said.isdecimal() else None
    if length is not None and length > most_bytes(settings):
        raise _too_large(settings)
    return length


async def drain(body: AsyncIterator[bytes]) -> None:
    """Reads on for a while without keeping anything."""
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            async for chunk in body:
                read += len(chunk)
                if read > DRAIN_BYTES:
                    return


async def look(sent: Sent, max_pixels: int) -> Look:
    """Whether it is a picture, and how large; nothing is decoded but its header.

    Raises:
        RefusedError: Not a picture, or one with too many pixels.
    """
    try:
        return await asyncio.to_thread(partial(_look, sent, max_pixels))
    except PictureTooLargeError as error:
        raise RefusedError(
            "too_many_pixels", message_of(error), file=sent.name, hint="make it smaller first"
        ) from error
    except (UnreadablePictureError, MissingExtraError) as error:
        hint = f"wanted is one of {', '.join(images.FORMATS)}"
        told = "this server cannot read HEIC"
        message = told if isinstance(error, MissingExtraError) else message_of(error)
        raise RefusedError("not_a_picture", message, file=sent.name, hint=hint) from error


def _look(sent: Sent, max_pixels: int) -> Look:
    file = BytesIO(sent.path.read_bytes())
    file.name = sent.name
    return Look(*images.look(file, max_pixels=max_pixels))
