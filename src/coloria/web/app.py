"""The application: puts the parts together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import coloria
from coloria.web import api, downloads, errors, logs, pages
from coloria.web.desk import Desk
from coloria.web.facts import Facts
from coloria.web.guard import Guard
from coloria.web.limits import Rate
from coloria.web.metrics import Metrics
from coloria.web.offers import offers
from coloria.web.pages import Pages
from coloria.web.settings import Settings
from coloria.web.store import Store

__all__ = ["create_app"]

RENDERINGS = 5
"""A minute for each upload a minute: people move sliders."""

ABOUT = """
Colours black-and-white photographs. Send pictures with `POST /upload`, follow the job by its
events or its state, and take the results from the addresses that it names. They are deleted some
minutes after they are ready.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The web site as an ASGI application.

    Args:
        settings: By default those of the environment.

    Raises:
        OptionError: A setting is wrong.
        WeightsMissingError: No model has weights here.
    """
    settings = settings or Settings.load({})
    facts = Facts(settings, offers(settings.models))
    app = FastAPI(
        title="coloria",
        version=coloria.__version__,
        description=ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    state = app.state
    state.settings, state.facts, state.metrics = settings, facts, Metrics()
    state.store = None
    state.pages = Pages(settings, facts)
    state.uploads = Rate(settings.per_minute)
    state.renders = Rate(settings.per_minute * RENDERINGS)
    for router in (api.router, downloads.router):
        app.include_router(router, include_in_schema=False)
        app.include_router(router, prefix=api.BASE)
    app.include_router(api.choices, prefix=api.BASE)
    app.include_router(api.metrics)
    app.include_router(pages.router)
    errors.install(app)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Content-Type", "Last-Event-ID"],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(Guard, settings=settings, metrics=state.metrics)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The desk is there as long as the server is."""
    logs.configure(as_json=app.state.settings.log_json)
    store = app.state.store or Store.of(app.state.settings)
    app.state.desk = desk = Desk(app.state.facts, store)
    running = asyncio.create_task(desk.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await desk.close()
