"""The folder of the released weight files: what is there, and with which hash.

It is ``$COLORIA_HOME/weights``, or ``weights`` in the user's cache folder of the system. Looking
into it loads nothing, fetches nothing and makes nothing.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from coloria.released import Released, released

__all__ = [
    "cached",
    "folder",
    "home",
    "offline",
    "path_of",
    "pinned",
    "read_pin",
    "state",
    "write_pin",
]

_log = logging.getLogger("coloria.weights")


def home() -> Path:
    """The folder for all that this library keeps: COLORIA_HOME, else the user's cache folder."""
    given = os.environ.get("COLORIA_HOME")
    if given:
        return Path(given).expanduser().absolute()
    return user_cache_path("coloria", appauthor=False)


def folder() -> Path:
    """The folder of the released weight files; it need not exist."""
    return home() / "weights"


def offline() -> bool:
    """Whether COLORIA_OFFLINE switches the network off (0, false, no, off and '' do not)."""
    value = os.environ.get("COLORIA_OFFLINE", "").strip().lower()
    return value not in ("", "0", "false", "no", "off")


def path_of(name: str) -> Path:
    """Where the released file of that name is, or would be.

    Raises:
        UnknownNameError: there is no such file.
    """
    return folder() / released(name).file


def state(name: str) -> Literal["present", "damaged", "partial", "absent"]:
    """Whether a released file is in the cache, judged by its size alone."""
    entry, path = released(name), path_of(name)
    if path.is_file():
        return "present" if entry.bytes in (None, path.stat().st_size) else "damaged"
    return "partial" if path.with_name(path.name + ".part").is_file() else "absent"


def cached(name: str) -> Path | None:
    """The released file of that name if it is in the cache in its full size, else None."""
    return path_of(name) if state(name) == "present" else None


def pinned(name: str) -> str | None:
    """The sha256 that a released file must have: the published one, else that of the first copy."""
    return released(name).sha256 or read_pin(path_of(name))


def _pin_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def read_pin(path: Path) -> str | None:
    """The hash written down beside a file, or None."""
    try:
        return _pin_path(path).read_text().split()[0]
    except (OSError, IndexError):
        return None


def write_pin(entry: Released, path: Path, digest: str) -> None:
    """Keep the hash of the first copy where none was published, as ``sha256sum -c`` reads it."""
    if entry.sha256 is None:
        _pin_path(path).write_text(f"{digest}  {path.name}\n")
        _log.info("%s: nobody published its sha256; from now on it is %s", path.name, digest)
