"""Checkpoints: written whole or not at all, read without running code.

A checkpoint is a dict of tensors, numbers, text, lists and dicts, in PyTorch's own zip form.
Writing goes through a temporary file in the same folder that is flushed to the disk before it
takes its name, so that a process killed at any moment leaves the earlier checkpoints as they were.
Reading checks every byte against the sums within the file, so a damaged one is noticed.
"""

from __future__ import annotations

import errno
import logging
import os
import pickle
import random
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from coloria.errors import CheckpointError
from coloria.weightfile import atomic

__all__ = ["Checkpoints", "load", "rng_state", "save", "seed_all", "set_rng_state"]

_log = logging.getLogger(__name__)


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a checkpoint; it appears whole or not at all.

    Args:
        path: the file to make or to replace.
        state: tensors, numbers, text, None, and lists, tuples and dicts of them.

    Raises:
        CheckpointError: it cannot be written (disk full); what was there before is intact.
        TypeError: something in ``state`` is none of these.
    """
    path = Path(path)
    _check_plain(state, "state")
    try:
        with atomic(path) as temporary:
            _write(temporary, dict(state))
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(_not_written(path, error)) from error


def _write(path: Path, state: dict[str, Any]) -> None:
    """Through a file of ours: PyTorch's own writer hides why the system refused."""
    with path.open("wb") as file:
        writer = _Remember(file.write)
        try:
            torch.save(state, cast(IO[bytes], writer))
        except RuntimeError as error:
            raise writer.refused or error from error


class _Remember:
    """A file to write to that keeps the first error of the system."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self.refused: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return int(self._write(data))
        except OSError as error:
            self.refused = self.refused or error
            raise

    def flush(self) -> None:
        """Nothing is held back here."""


_PLAIN = (torch.Tensor, int, float, str, bool, bytes, type(None))


def _check_plain(value: Any, place: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_plain(inner, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check_plain(inner, f"{place}[{number}]")
    elif not isinstance(value, _PLAIN) or isinstance(value, np.generic):
        raise TypeError(
            f"{place} is a {type(value).__name__}; a checkpoint holds tensors, numbers, text, "
            "lists and dicts only, so that reading it runs no code"
        )


def _sync_folder(folder: Path) -> None:
    """Have the new name itself on the disk, too, where the system can do that for a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems know no fsync of a folder
            raise
    finally:
        os.close(handle)


def _not_written(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    free = shutil.disk_usage(path.parent).free / 1e6 if path.parent.is_dir() else 0.0
    last = _newest_intact(path.parent)
    kept = f"the last checkpoint, {last}, is intact" if last else "there is no earlier checkpoint"
    return (
        f"the checkpoint {path} could not be written: {reason} ({free:.0f} MB free there); {kept}; "
        "make room and go on with --resume"
    )


def load(path: str | os.PathLike[str], mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint, all its bytes checked, no code of it run.

    Args:
        path: the file.
        mmap: leave the tensors in the file until they are used; the file must stay that long.

    Returns:
        What was saved; tensors on the CPU.

    Raises:
        CheckpointError: missing, damaged or not a checkpoint; the message names the newest intact
            one in the same folder.
    """
    path = Path(path)
    try:
        return _read(path, mmap)
    except _DamagedError as error:
        other = _newest_intact(path.parent, but=path)
        hint = f"{other} is intact: use that one" if other else "no other one there is intact"
        raise CheckpointError(f"the checkpoint {path} {error}; {hint}") from error


class _DamagedError(Exception):
    """Why a file is not a checkpoint; never leaves this module."""


def _read(path: Path, mmap: bool = False) -> dict[str, Any]:
    _check_bytes(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _DamagedError("holds Python objects that are not data; refused") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise anything; nothing is hidden
        raise _DamagedError(f"is damaged: {type(error).__name__}: {error}") from error
    if not isinstance(state, dict):
        raise _DamagedError(f"holds a {type(state).__name__}, not a dict")
    return state


def _check_bytes(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
    except OSError as error:
        raise _DamagedError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zipfile raises several kinds on damaged files
        raise _DamagedError(f"is damaged or cut short ({error})") from error
    if broken:
        raise _DamagedError(f"is damaged: the bytes of {broken} have changed")


def _newest_intact(folder: Path, but: Path | None = None) -> Path | None:
    for path in _newest_first(folder):
        if path != but:
            try:
                _check_bytes(path)
            except _DamagedError:
                continue
            return path
    return None


_NAME = re.compile(r"(?P<step>\d{9,})(-(?P<stage>.+))?\.pt")


def _newest_first(folder: Path) -> list[Path]:
    """The checkpoints of a folder by their steps; of one step, the stage's after the plain one."""
    found = [(match, path) for path in folder.glob("*.pt") if (match := _match(path))]
    found.sort(key=lambda item: (int(item[0]["step"]), item[0]["stage"] or ""), reverse=True)
    return [path for _, path in found]


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.name)


class Checkpoints:
    """The checkpoints of one run.

    Those of steps (``000001200.pt``) are removed but for the newest ``keep``; those with the name
    of a stage (``000001200-gen-64.pt``) stay.

    Attributes:
        folder: where they lie; made when the first one is written.
        keep: how many of those of steps stay.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def save(self, step: int, state: Mapping[str, Any], stage: str | None = None) -> Path:
        """Write the checkpoint after ``step`` steps of the whole run, and remove old ones.

        Args:
            step: steps since the beginning of the run, over all stages.
            state: see :func:`save`.
            stage: the stage that ends here; its checkpoint is never removed.

        Raises:
            CheckpointError: it cannot be written; the earlier ones are intact.
        """
        if stage is not None and not re.fullmatch(r"[\w.-]+", stage):
            raise ValueError(f"a stage is named with letters, digits, '-', '_', '.': got {stage!r}")
        path = self.folder / f"{step:09d}{f'-{stage}' if stage else ''}.pt"
        save(path, state)
        self._prune()
        return path

    def _prune(self) -> None:
        plain = [path for path in _newest_first(self.folder) if _match(path)["stage"] is None]  # type: ignore[index]
        for path in plain[self.keep :]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob(".*.pt.*.tmp"):  # of processes that were killed
            path.unlink(missing_ok=True)

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that can be read, and its content; None if there is none.

        A damaged one is passed over with a warning in the log.

        Raises:
            CheckpointError: there are some, and all are damaged.
        """
        damaged = []
        for path in _newest_first(self.folder):
            try:
                return path, _read(path)
            except _DamagedError as error:
                damaged.append(f"{path} {error}")
                _log.warning("passed over: the checkpoint %s %s", path, error)
        if damaged:
            raise CheckpointError(
                f"no checkpoint can be read: {'; '.join(damaged)}; start a new run"
            )
        return None

    def all(self) -> list[Path]:
        """All checkpoints that are there, the oldest first."""
        return _newest_first(self.folder)[::-1]

    def stage(self, name: str) -> Path | None:
        """The checkpoint of that stage, the newest if there are several."""
        named = (path for path in _newest_first(self.folder) if _match(path)["stage"] == name)  # type: ignore[index]
        return next(named, None)


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries below draw from the global one
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The state of the global generators of Python, NumPy and PyTorch, fit for a checkpoint."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Put back what :func:`rng_state` gave.

    States of CUDA devices that are not there are left out.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for device, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda, device)
