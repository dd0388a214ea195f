"""What was measured, kept line by line, so that an interrupted evaluation goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Journal", "digest"]

_log = logging.getLogger("coloria.metrics")


def digest(*parts: object) -> str:
    """A short hash of what a figure depends on; files by their content."""
    whole = hashlib.sha256()
    for part in parts:
        text = _of_file(part) if isinstance(part, Path) else json.dumps(part, sort_keys=True)
        whole.update(f"{text}\0".encode())
    return whole.hexdigest()[:32]


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Journal:
    """Figures by what they depend on.

    Args:
        path: A file of JSON lines, made if it is missing; None keeps nothing. A last line that was
            cut off by a crash is left out.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, dict[str, float]] = {}
        try:
            if path and path.is_file():
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._learn(line)
        except OSError as error:
            _log.warning("%s cannot be read (%s): all is measured anew", path, error.strerror)

    def _learn(self, line: str) -> None:
        try:
            entry: dict[str, Any] = json.loads(line)
            self.known.setdefault(entry["key"], {}).update(entry["figures"])
        except (ValueError, TypeError, KeyError):  # cut off, or not ours
            return

    def find(self, key: str, wanted: set[str]) -> dict[str, float] | None:
        """The figures of that key if all that are wanted are there."""
        figures = self.known.get(key, {})
        return {name: figures[name] for name in wanted} if wanted <= figures.keys() else None

    def keep(self, key: str, figures: Mapping[str, float]) -> None:
        """Writes one line, whole or not at all."""
        self.known.setdefault(key, {}).update(figures)
        if self.path is None:
            return
        line = "\n" + json.dumps({"key": key, "figures": dict(figures)}) + "\n"
        try:
            self._append(self.path, line.encode())
        except OSError as error:
            _log.warning(
                "%s cannot be written (%s): an interrupted evaluation will begin anew",
                self.path,
                error.strerror,
            )
            self.path = None

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of two processes do not mix.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)
