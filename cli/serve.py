"""``coloria serve``: the web site."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["serve"]


@click.command()
@click.option("--host", help="Address to listen on; 0.0.0.0 is all. [default: 127.0.0.1]")
@click.option("--port", type=int, help="0 takes any free one. [default: 8000]")
@click.option("--reload", is_flag=True, default=None, help="Development: watch the code.")
def serve(**given: Any) -> None:
    """Serve the web site.

    Every option can also be given by the environment: COLORIA_WEB_PORT is --port.
    """
    from coloria.errors import MissingExtraError
    from coloria.web.settings import Settings

    settings = Settings.load({name: value for name, value in given.items() if value is not None})
    try:
        from coloria.web.run import run
    except ImportError as error:
        raise MissingExtraError("the web site", "web") from error
    run(settings)
