"""How much memory there is to keep decoded photographs in."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["spare_memory"]


def spare_memory() -> int:
    """Bytes of memory that this process may count on; 1 GiB where the system does not say.

    What is free (of the machine, or of the container's limit if that is less), shared by the
    processes that ``torchrun`` started on this machine.
    """
    said = [value for value in (_available(), _container()) if value is not None]
    return min(said, default=2**30) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _available() -> int | None:
    """MemAvailable of Linux."""
    words = _words(Path("/proc/meminfo"))
    return int(words[words.index("MemAvailable:") + 1]) * 1024 if words else None


def _container() -> int | None:
    """What is left below the limit of the control group (version 2)."""
    limit = _words(Path("/sys/fs/cgroup/memory.max"))
    used = _words(Path("/sys/fs/cgroup/memory.current"))
    return max(0, int(limit[0]) - int(used[0])) if limit and used and limit != ["max"] else None


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").split() if path.is_file() else []
