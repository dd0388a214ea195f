"""Refusals: one table of codes, one JSON shape, and the same as a page for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from coloria.errors import (
    ColoriaError,
    OptionError,
    OutOfMemoryError,
    PictureTooLargeError,
    PictureWriteError,
    RequestError,
    UnknownNameError,
    UnreadablePictureError,
    WeightsError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

__all__ = [
    "API",
    "CODES",
    "MEANINGS",
    "ErrorView",
    "Problem",
    "RefusedError",
    "View",
    "install",
    "problem_of",
    "respond",
    "wants_page",
]

API = "/api/"
"""Below it answers are never pages."""

_CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The form is damaged or incomplete."),
    "cross_origin": (403, "A page of another site asks, which `--origins` does not allow."),
    "not_found": (404, "There is nothing at this address, or never was."),
    "method_not_allowed": (405, "The address does not take this method."),
    "upload_timeout": (408, "The upload took too long."),
    "not_ready": (409, "The picture is not ready yet, or has failed."),
    "expired": (410, "The pictures have been deleted."),
    "too_large": (413, "A file has too many bytes; `file` says which."),
    "too_many_pixels": (413, "A picture is too large; it was not decoded."),
    "not_a_picture": (415, "The content of a file is no picture that is known here."),
    "wrong_type": (415, "The body is no form."),
    "bad_host": (421, "The server is not known by the name in `Host`."),
    "no_files": (422, "There is no picture in the form."),
    "too_many_files": (
        422,
        "There are too many, or too many with their samples; with `all`, more than one.",
    ),
    "unknown_model": (422, "There is no such offer."),
    "wrong_field": (422, "A field is unknown, missing, or out of its range."),
    "too_many_requests": (429, "This client has asked too often, or has too much in line."),
    "internal": (500, "A mistake in the server; the log has it under the request's id."),
    "disk_full": (503, "There is no room for more pictures at the moment."),
    "queue_full": (503, "Too many pictures are waiting."),
    "unavailable": (503, "The processes that colour pictures do not start."),
}

CODES = {code: status for code, (status, _) in _CODES.items()}
"""Every code of an answer, and its status."""

MEANINGS = {code: meaning for code, (_, meaning) in _CODES.items()}
"""When each is given."""


class View(BaseModel):
    """What is shown as JSON; the words below a field are in the OpenAPI document, too."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Problem(View):
    """What went wrong, for programs (`code`) and for people."""

    code: str
    """One of the codes of this page; it does not change."""
    message: str
    """What was wanted, and what came."""
    file: str | None = None
    """The picture that it is about."""
    hint: str | None = None
    """What to do."""


class ErrorView(View):
    """The body of every refusal."""

    error: Problem
    request_id: str
    """As in the header `X-Request-ID` and in the log."""


class RefusedError(RequestError):
    """A request that is not done.

    Args:
        code: One of :data:`CODES`.
        message: What was wanted, and what came.
        file: The picture that it is about.
        hint: What to do.
        retry_after: Seconds after which it may work.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        file: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = Problem(code=code, message=message, file=file, hint=hint)
        self.status = CODES[code]
        self.headers = {} if retry_after is None else {"Retry-After": f"{max(1, retry_after):.0f}"}


_OF_PICTURES: tuple[tuple[type[Exception], str, str | None], ...] = (
    (PictureTooLargeError, "too_many_pixels", "make it smaller first"),
    (UnreadablePictureError, "damaged", "save it anew in another program, or choose another file"),
    (OutOfMemoryError, "out_of_memory", "make it smaller, or choose a smaller size"),
    (MemoryError, "out_of_memory", "make it smaller, or choose a smaller size"),
    (PictureWriteError, "cannot_write", "save it as PNG first"),
    (WeightsError, "weights", "choose another model"),
)


def problem_of(error: Exception, file: str) -> Problem:
    """What a worker tells of an error with one picture; nothing of this machine is in it."""
    for kind, code, hint in _OF_PICTURES:
        if isinstance(error, kind):
            return Problem(code=code, message=message_of(error), file=file, hint=hint)
    if isinstance(error, ColoriaError):
        return Problem(code="wrong_field", message=message_of(error), file=file)
    message = "something unforeseen happened to this picture"
    return Problem(code="internal", message=message, file=file, hint="try again later")


def message_of(error: Exception) -> str:
    """One line, without the library's own options."""
    text = " ".join(str(error).split()) or "not enough memory"
    return re.sub(r": (raise max_pixels|use a smaller render_size).*$", "", text)


def install(app: FastAPI) -> None:
    """Every error of a route becomes one shape."""

    def handle(request: Request, error: Exception) -> Response:
        return respond(request, _refusal(error))

    for kind in (ColoriaError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def _refusal(error: Exception) -> RefusedError:
    """Errors of other layers in our words."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return RefusedError("wrong_field", f"{place}: {first['msg'].lower()}")
    if isinstance(error, HTTPException):
        return _of_status(error)
    if isinstance(error, UnknownNameError):
        return RefusedError("unknown_model", str(error))
    if isinstance(error, OptionError):
        return RefusedError("wrong_field", str(error))
    raise error


def _of_status(error: HTTPException) -> RefusedError:
    if error.status_code == 404:
        return RefusedError("not_found", "there is nothing at this address", hint="start at /")
    if error.status_code == 405:
        refusal = RefusedError("method_not_allowed", "this address does not take that method")
        refusal.headers = dict(error.headers or {})
        return refusal
    return RefusedError("bad_request", str(error.detail))


def respond(request: Request, refusal: RefusedError) -> Response:
    """As a page for a browser that asks for one, else as JSON."""
    request_id = request.scope.get("request_id", "")
    pages = getattr(request.app.state, "pages", None) if "app" in request.scope else None
    if pages is not None and wants_page(request):
        response: Response = pages.error(request, refusal)
    else:
        body = ErrorView(error=refusal.problem, request_id=request_id).model_dump()
        response = JSONResponse(body, refusal.status)
    response.headers.update(refusal.headers)
    return response


def wants_page(request: Request) -> bool:
    """Whether a browser shows the answer to a person."""
    if request.url.path.startswith(API):
        return False
    return "text/html" in request.headers.get("accept", "")
