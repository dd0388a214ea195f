"""``coloria serve``: the web site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from coloria.cli import options

__all__ = ["FLAGS", "serve"]

FLAGS: dict[str, tuple[str, str]] = {
    "host": ("127.0.0.1", "Address to listen on; 0.0.0.0 is every one of this machine."),
    "port": ("8000", "Port to listen on; 0 takes any free one."),
    "workers": ("1", "Processes that colour pictures."),
    "threads": ("processors / workers", "PyTorch's threads in each."),
    "worker-mb": ("4000", "Most memory of each, in megabytes (on Linux, on the CPU)."),
    "device": ("auto", f"Where they run: {', '.join(options.DEVICES)}."),
    "precision": ("auto", f"How they multiply: {', '.join(options.PRECISIONS)}."),
    "models": ("all whose weights are there", "Names of those offered, with commas between."),
    "max-files": ("5", "Pictures of one upload."),
    "max-mb": ("25", "Largest file, in megabytes."),
    "max-megapixels": ("40", "Largest picture, in millions of pixels."),
    "keep-minutes": ("10", "How long results are kept, from the moment they are ready."),
    "queue": ("100", "Pictures that may wait, each model counting; more is refused."),
    "per-client": ("20", "Pictures of one client that may wait, each model counting."),
    "per-minute": ("60", "Uploads of one client in a minute."),
    "timeout": ("120", "Seconds for one picture with one model."),
    "max-disk-mb": ("2000", "Uploads and results together, in megabytes."),
    "folder": ("web in the cache folder", "Where uploads and results lie."),
    "contact": ("none", "Mail address shown on the site."),
    "origins": ("none", "Other sites whose pages may use the API (CORS), with commas between."),
    "hosts": ("local names, or any", "Names that the site may be asked for by."),
    "proxies": ("none", "Addresses of reverse proxies whose X-Forwarded-For is believed."),
}
"""Default and meaning of each setting that takes a value. Tests hold the defaults equal to those of
:class:`coloria.web.settings.Settings`, which needs pydantic."""

EXTRA = ("fastapi", "jinja2", "python_multipart", "starlette", "uvicorn")
"""What the extra `web` installs."""


def _flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """One option a setting."""
    for name, (default, text) in reversed(FLAGS.items()):
        metavar = "N" if default.isdecimal() else "TEXT"
        option = click.option(f"--{name}", metavar=metavar, help=f"{text} [default: {default}]")
        function = option(function)
    return function


@click.command()
@_flags
@click.option("--log-json", is_flag=True, help="Write the log as one JSON object a line.")
@click.option("--reload", is_flag=True, help="For development: start again when the code changes.")
def serve(log_json: bool, reload: bool, **given: Any) -> None:
    """Serve the web site.

    Every option can also be given by the environment: COLORIA_WEB_MAX_MB=50 is --max-mb 50. The
    log goes to stderr. Ctrl-C ends the server and deletes all pictures.

    \b
    coloria serve
    coloria serve --port 80 --host 0.0.0.0 --workers 2 --contact help@example.org
    """  # noqa: D301  (click reads the escape)
    from coloria.errors import MissingExtraError
    from coloria.web.settings import Settings

    chosen = {name: value for name, value in given.items() if value is not None}
    chosen |= {name: True for name, on in (("log_json", log_json), ("reload", reload)) if on}
    settings = Settings.load(chosen)
    try:
        from coloria.web.run import run
    except ImportError as error:
        if error.name not in EXTRA:
            raise
        raise MissingExtraError("the web site", "web") from error
    run(settings)
