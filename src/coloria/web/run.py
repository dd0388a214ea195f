"""The server process."""

from __future__ import annotations

import os

import uvicorn

from coloria.web.app import create_app
from coloria.web.pages import HERE
from coloria.web.settings import Settings

__all__ = ["run"]


def run(settings: Settings) -> None:
    """Serves until it is told to stop."""
    if settings.reload:
        os.environ.update(settings.environment())
        uvicorn.run(
            "coloria.web.app:create_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            reload=True,
            reload_dirs=[str(HERE.parent)],
            reload_includes=["*.py", "*.html", "*.css", "*.js"],
        )
        return
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port)
