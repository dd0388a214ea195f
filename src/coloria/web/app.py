"""The application: puts the parts together."""

from __future__ import annotations

from fastapi import FastAPI

import coloria
from coloria.web import errors, pages
from coloria.web.facts import Facts
from coloria.web.offers import offers
from coloria.web.pages import Pages
from coloria.web.settings import Settings

__all__ = ["create_app"]


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
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.facts = settings, facts
    app.state.pages = Pages(settings, facts)
    app.include_router(pages.router)
    errors.install(app)
    return app
