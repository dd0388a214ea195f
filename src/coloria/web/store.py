"""The private folder of uploads and results, and how much may lie in it.

Each server has a folder of its own, with a lock that the system takes back when the server ends in
whatever way: one that starts finds what crashed ones left, and deletes it.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from coloria.cache import home
from coloria.errors import OptionError
from coloria.web.errors import RefusedError
from coloria.web.settings import Settings

__all__ = ["Store", "new_id"]

_log = logging.getLogger("coloria.web")

PREFIX = "run-"

ID_BYTES = 16
"""128 random bits: nobody guesses one."""

RETRY_S = 60
"""When a full disk may have room again."""


def new_id() -> str:
    """Random, and safe in an address and as a name of a folder."""
    return secrets.token_urlsafe(ID_BYTES)


class Store:
    """Folders of jobs below one that is this server's own.

    Args:
        folder: Where; by default ``web`` in the cache folder.
        max_bytes: Of all jobs together.

    Raises:
        OptionError: The folder cannot be made.
    """

    def __init__(self, folder: str | None, max_bytes: int) -> None:
        self.root = Path(folder).expanduser().absolute() if folder else home() / "web"
        self.max_bytes = max_bytes
        self.used: dict[str, int] = {}
        """Bytes set aside for each job."""
        run = self.root / (PREFIX + secrets.token_hex(8))
        self.run = run
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            clear(self.root)
            self._lock = FileLock(_lock_of(run))
            self._lock.acquire(timeout=0)
            run.mkdir(mode=0o700)
        except OSError as error:
            raise OptionError(
                f"the folder for uploads, {self.root}, cannot be used ({error.strerror or error}); "
                "name another one with --folder"
            ) from error

    @classmethod
    def of(cls, settings: Settings) -> Store:
        """As the settings say."""
        return cls(settings.folder, int(settings.max_disk_mb * 1e6))

    @property
    def bytes(self) -> int:
        """All that is set aside."""
        return sum(self.used.values())

    def make(self, job: str, size: int) -> Path:
        """The empty folder of a new job, and room for it.

        Raises:
            RefusedError: There is not so much room.
        """
        self.reserve(job, size)
        folder = self.run / job
        folder.mkdir(mode=0o700)
        return folder

    def reserve(self, job: str, size: int) -> None:
        """Room for a job, in place of what it had.

        Raises:
            RefusedError: There is not so much.
        """
        if self.bytes - self.used.get(job, 0) + size > self.max_bytes:
            raise RefusedError(
                "disk_full",
                "there is no room for more pictures at the moment",
                hint="try again when others have been deleted, or send smaller ones",
                retry_after=RETRY_S,
            )
        self.used[job] = size

    def remove(self, job: str) -> None:
        """Deletes all of a job."""
        shutil.rmtree(self.run / job, ignore_errors=True)
        self.used.pop(job, None)

    def close(self) -> None:
        """Deletes everything."""
        shutil.rmtree(self.run, ignore_errors=True)
        self._lock.release()
        _lock_of(self.run).unlink(missing_ok=True)


def clear(root: Path) -> None:
    """Deletes the folders of servers that are no more."""
    for run in {p.with_suffix("") for p in root.glob(f"{PREFIX}*")}:
        lock = FileLock(_lock_of(run))
        with contextlib.suppress(Timeout), lock.acquire(timeout=0):
            if run.exists():
                _log.warning("deleted %s, which an earlier server left", run)
            shutil.rmtree(run, ignore_errors=True)
            _lock_of(run).unlink(missing_ok=True)


def _lock_of(run: Path) -> Path:
    return run.with_suffix(".lock")
