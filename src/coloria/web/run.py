"""The server process."""

from __future__ import annotations

import os
from types import FrameType
from typing import Any

import uvicorn

from coloria.web.app import create_app
from coloria.web.pages import HERE
from coloria.web.settings import Settings

__all__ = ["SiteServer", "options", "run"]

END_S = 5
"""How long answers that are under way may take when the server is told to end."""

MOST_CONNECTIONS = 1000


class SiteServer(uvicorn.Server):
    """Ends the streams of events when it is told to end; they would go on for minutes.

    Args:
        settings: How it is run.
    """

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        super().__init__(uvicorn.Config(self.app, **options(settings)))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C, or SIGTERM."""
        desk = getattr(self.app.state, "desk", None)
        if desk is not None:
            desk.stop()
        super().handle_exit(sig, frame)


def options(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told. The loop and the parser are those that are tested."""
    return {
        "host": settings.host,
        "port": settings.port,
        "loop": "asyncio",
        "http": "h11",
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(settings.proxies),
        "forwarded_allow_ips": list(settings.proxies),
        "limit_concurrency": MOST_CONNECTIONS,
        "timeout_graceful_shutdown": END_S,
    }


def run(settings: Settings) -> None:
    """Serves until it is told to stop."""
    if settings.reload:
        os.environ.update(settings.environment())
        uvicorn.run(
            "coloria.web.app:create_app",
            factory=True,
            reload=True,
            reload_dirs=[str(HERE.parent)],
            **options(settings),
        )
        return
    SiteServer(settings).run()
