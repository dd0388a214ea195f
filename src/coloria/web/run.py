"""The server process."""

from __future__ import annotations

import logging
import os
import socket
from types import FrameType
from typing import Any

import uvicorn

from coloria.errors import OptionError
from coloria.web.app import create_app
from coloria.web.pages import HERE
from coloria.web.settings import Settings
from coloria.web.store import Store

__all__ = ["SiteServer", "options", "run"]

_log = logging.getLogger("coloria.web")

END_S = 5
"""How long answers that are under way may take when the server is told to end."""

MOST_CONNECTIONS = 1000


class SiteServer(uvicorn.Server):
    """Ends the streams of events when it is told to end; they would go on for minutes.

    Args:
        settings: How it is run.

    Raises:
        OptionError: The address or the folder cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.app.state.store = Store.of(settings)
        try:
            self.socket = listen(settings)
        except OptionError:
            self.app.state.store.close()
            raise
        super().__init__(uvicorn.Config(self.app, **options(settings)))

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is told to stop."""
        super().run(sockets or [self.socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen, and says where."""
        await super().startup(sockets)
        host, port = self.socket.getsockname()[:2]
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        _log.info("serving at http://%s (Ctrl-C ends it)", where)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C, or SIGTERM."""
        desk = getattr(self.app.state, "desk", None)
        if desk is not None:
            desk.stop()
        super().handle_exit(sig, frame)


def listen(settings: Settings) -> socket.socket:
    """The socket that requests arrive at.

    Raises:
        OptionError: The address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host, settings.port), family=family, backlog=MOST_CONNECTIONS
        )
    except OSError as error:
        raise OptionError(
            f"cannot listen on {settings.host}, port {settings.port} "
            f"({error.strerror or error}): choose another --host or --port"
        ) from error


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
