"""One process at a time in a run folder.

The lock is the operating system's: it goes away with the process, however that ends.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import IO

from coloria.errors import TrainingError

__all__ = ["LOCK", "FolderLock"]

LOCK = "run.lock"
"""Name of the file that is locked; it stays when the lock is gone."""

_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # how systems say that another one has it
_SPAN = 1 << 30  # the byte that is locked on Windows, far behind the text


class FolderLock:
    """Holds a folder from its making until :meth:`release`.

    Raises:
        TrainingError: another process, or another lock of this one, holds it.
        OSError: the folder cannot be written, or its file system knows no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] | None = None
        path = folder / LOCK
        file = path.open("a+", encoding="utf-8")
        try:
            _take(file)
        except OSError as error:
            if error.errno not in _HELD:
                file.close()
                raise
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise TrainingError(
                f"{folder} is in use by {holder}; wait until it ends, or stop it, or give "
                "another run folder"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let the next one in; doing it twice does no harm."""
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[str]) -> None:
        file.seek(_SPAN)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _take(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
