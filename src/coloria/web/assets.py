"""The files of `static/`, in memory, at an address that holds their hash."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from coloria.web.errors import RefusedError

__all__ = ["Assets"]

_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")
_TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json"}
"""Where systems' own tables differ."""


@dataclass(frozen=True)
class _File:
    data: bytes
    packed: bytes | None
    type: str


class Assets:
    """One digest for all files: a page and what its scripts import always fit together.

    Args:
        folder: Of the files.
        reload: Read it anew for each request.
    """

    def __init__(self, folder: Path, *, reload: bool = False) -> None:
        self.folder, self.reload = folder, reload
        self._read()

    def _read(self) -> None:
        paths = sorted(p for p in self.folder.rglob("*") if p.is_file())
        self.files = {p.relative_to(self.folder).as_posix(): _file(p) for p in paths}
        digest = hashlib.sha256()
        for name, file in self.files.items():
            digest.update(f"{name}\0{len(file.data)}\0".encode() + file.data)
        self.digest = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The address of a file.

        Raises:
            KeyError: There is no such file.
        """
        if name not in self.files and self.reload:
            self._read()
        if name not in self.files:
            raise KeyError(f"no file static/{name}")
        return f"/static/{self.digest}/{name}"

    def respond(self, request: Request, digest: str, name: str) -> Response:
        """The file, to be kept for ever: another content has another address."""
        if self.reload:
            self._read()
        file = self.files.get(name)
        if file is None or (digest != self.digest and not self.reload):
            raise RefusedError("not_found", "there is no such file", hint="load the page anew")
        age = "no-store" if self.reload else "public, max-age=31536000, immutable"
        headers = {"Cache-Control": age, "Content-Type": file.type}
        if file.packed is None:
            return Response(file.data, headers=headers)
        headers["Vary"] = "Accept-Encoding"
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(file.data, headers=headers)
        return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"})


def _file(path: Path) -> _File:
    data = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    kind = kind or "application/octet-stream"
    text = kind.startswith(_TEXT)
    packed = gzip.compress(data, mtime=0) if text else None
    return _File(data, packed, f"{kind}; charset=utf-8" if text else kind)
