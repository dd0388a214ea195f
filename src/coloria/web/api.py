"""The API: once for the pages, once more below /api/v1, where OpenAPI describes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Literal

import anyio
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

import coloria
from coloria.web.desk import Desk
from coloria.web.errors import ErrorView, RefusedError, View, wants_page
from coloria.web.jobs import Job, JobView
from coloria.web.limits import client_of
from coloria.web.metrics import TYPE
from coloria.web.options import Options
from coloria.web.uploads import check_length, drain, receive

__all__ = ["ALWAYS", "BASE", "base_of", "client", "desk_of", "metrics", "refusals", "router"]

BASE = "/api/v1"

KEEPALIVE_S = 15.0
"""Longest silence of a stream of events; proxies close what is silent for a minute."""

LAST = "end"
"""Id of the last event: a browser that comes back with it is told to stay away."""

MOST_TEST_BYTES = 1_000_000

ALWAYS = (400, 403, 421, 422, 500)
"""Statuses that every route may give."""

router = APIRouter()


class Echo(View):
    """That a request has arrived."""

    ok: bool
    received: int
    """Bytes of its body."""


class Health(View):
    """How the server is."""

    status: Literal["ok", "starting", "down"]
    """`ok`, `starting` (no worker is ready yet) or `down` (none can be started)."""
    version: str
    workers: int
    """Ready ones."""
    queue: int
    """Pictures that wait."""


class Choices(View):
    """What can be asked for."""

    offers: list[dict[str, Any]]
    """What `model` may be, each with its weights, `own` or `pre-trained`."""
    limits: dict[str, Any]
    """Of one upload: files, bytes of a file, pixels, seconds that results are kept."""
    tones: dict[str, dict[str, float]]
    """Lowest, highest and default value of each."""


def refusals(
    *statuses: int, ok: dict[int | str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its description, and what else is to be said in it."""
    found: dict[int | str, dict[str, Any]] = {**(ok or {})}
    for status in (*ALWAYS, *statuses):
        found[status] = {"model": ErrorView}
        if status in (429, 503):
            found[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return found


def desk_of(request: Request) -> Desk:
    """The desk of this server."""
    desk: Desk = request.app.state.desk
    return desk


def base_of(request: Request) -> str:
    """What the addresses of an answer begin with."""
    return BASE if request.url.path.startswith(BASE) else ""


def client(request: Request) -> str:
    """Who asks."""
    return client_of(request.client.host) if request.client else "local"


_FORM = {
    "type": "object",
    "required": ["files", "model"],
    "properties": {
        "files": {
            "type": "array",
            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
            "minItems": 1,
            "description": "The pictures.",
        },
        "model": {"type": "string", "description": "The name of an offer, or `all` of them."},
        **Options.model_json_schema()["properties"],
    },
    "additionalProperties": False,
}


@router.post(
    "/upload",
    status_code=202,
    response_model=JobView,
    responses=refusals(
        *(408, 413, 415, 429, 503),
        ok={202: {"headers": {"Location": {"schema": {"type": "string"}}}}},
    ),
    openapi_extra={
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}
    },
)
async def upload(request: Request) -> Response:
    """Send pictures to be coloured."""
    body = request.stream()
    try:
        job = await _take(request, body)
    except RefusedError as error:
        # Who waits for leave to send reads the answer at once; others when they have sent all.
        if "expect" in request.headers:
            error.headers["Connection"] = "close"
        else:
            await drain(body)
        raise
    if wants_page(request):
        return RedirectResponse(f"/results/{job.id}", 303)
    view = desk_of(request).view(job, base_of(request))
    return JSONResponse(view.model_dump(mode="json"), 202, {"Location": view.links.self})


async def _take(request: Request, body: AsyncIterator[bytes]) -> Job:
    desk, who = desk_of(request), client(request)
    request.app.state.uploads.take(who)
    length = check_length(request.headers, desk.settings)
    job_id, folder = desk.begin(who, length)
    try:
        form = await receive(request.headers, body, folder, desk.settings)
        return await desk.accept(job_id, who, form)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await desk.forget(job_id)
        raise
    finally:
        desk.ended(who)


@router.get("/jobs/{job}", responses=refusals(404, 410))
async def state(request: Request, job: str) -> JobView:
    """How far an upload is, and where its results are."""
    desk = desk_of(request)
    return desk.view(desk.get(job), base_of(request))


@router.get(
    "/jobs/{job}/events",
    response_class=StreamingResponse,
    responses=refusals(404, 410, ok={200: {"content": {"text/event-stream": {}}}, 204: {}}),
)
async def events(request: Request, job: str) -> Response:
    """The same as a stream of server-sent events, one at each change."""
    found = desk_of(request).get(job)
    if request.headers.get("last-event-id") == LAST:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(desk_of(request), found, base_of(request)),
        media_type="text/event-stream",
        headers=headers,
    )


async def _events(desk: Desk, job: Job, base: str) -> AsyncIterator[str]:
    while True:
        changed = job.changed
        last = job.final or job.id not in desk.jobs
        name = f"id: {LAST}\n" if last else ""
        yield f"{name}event: job\ndata: {desk.view(job, base).model_dump_json()}\n\n"
        if last:
            return
        while not changed.is_set():
            with anyio.move_on_after(KEEPALIVE_S):
                await changed.wait()
            if desk.stopping:
                return
            if not changed.is_set():
                yield ": still here\n\n"


@router.delete("/jobs/{job}", status_code=204, responses=refusals(404, 410))
async def delete(request: Request, job: str) -> Response:
    """Cancel what is not done, and delete everything now."""
    await desk_of(request).delete(job)
    return Response(status_code=204)


@router.post("/jobs/{job}/delete", include_in_schema=False)
async def delete_by_form(request: Request, job: str) -> Response:
    """The same for a page without scripts."""
    await desk_of(request).delete(job)
    return RedirectResponse("/", 303)


@router.post("/test", responses=refusals(413))
async def test(request: Request) -> Echo:
    """Check that POST requests arrive."""
    received = 0
    async with aclosing(request.stream()) as body:
        async for chunk in body:
            received += len(chunk)
            if received > MOST_TEST_BYTES:
                raise RefusedError("too_large", f"at most {MOST_TEST_BYTES} bytes, please")
    return Echo(ok=True, received=received)


@router.get("/health", responses=refusals(ok={503: {"model": Health}}))
async def health(request: Request) -> Response:
    """Whether pictures are being coloured."""
    pool = desk_of(request).pool
    status: Literal["ok", "starting", "down"]
    status = "ok" if pool.ready else "down" if pool.down else "starting"
    view = Health(
        status=status, version=coloria.__version__, workers=pool.ready, queue=len(pool.colors)
    )
    return JSONResponse(view.model_dump(), 200 if pool.ready else 503)


choices = APIRouter()


@choices.get("/models", responses=refusals())
async def models(request: Request) -> Choices:
    """Which models can be chosen, and the limits of an upload."""
    return Choices(**request.app.state.facts.shown())


@choices.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The description of all this."""
    return JSONResponse(request.app.openapi())


metrics = APIRouter(include_in_schema=False)


@metrics.get("/metrics")
async def numbers(request: Request) -> Response:
    """For Prometheus."""
    text = request.app.state.metrics.text(desk_of(request))
    return Response(text, media_type=TYPE)
