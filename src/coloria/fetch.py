"""Fetch one published file over HTTP, so that it arrives whole or not at all.

pooch, the usual tool for this, downloads into a temporary file of a random name and drops it on
any failure: it can neither go on where a broken connection stopped (these files have up to 874 MB)
nor try a second mirror, nor tell a web page from weights. So the transfer is written here, over
requests, with the order that pooch has taught: temporary file, then hash, then rename.

Beside the target lie, while it is being fetched, ``<file>.part`` with the bytes so far and
``<file>.part.json`` with what is needed to go on: the URL and the validator of the server.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from coloria.errors import DownloadError, HashMismatchError
from coloria.weightfile import looks_like_page

if TYPE_CHECKING:
    from requests import Response, Session

__all__ = ["Progress", "fetch", "sha256_of"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None: not known)."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
MAX_REDIRECTS = 5
MAX_RESUMES = 5
"""How often a broken connection is taken up again within one call, if bytes came each time."""

_CHUNK = 1 << 16  # bytes; an unfinished one is lost when the connection breaks
_MAX_PAGE = 1 << 18  # bytes of a web page that are read to find a form in it
_PAGE = "this is a web page, not the file"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class _LocalError(DownloadError):
    """A failure on this side, which no other mirror would mend."""


class _BrokenError(DownloadError):
    """The connection broke; what came is kept and can be added to."""


class _WrongError(DownloadError):
    """What comes is not the file; it is thrown away."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Fetch a file from the first of `urls` that gives it; `target` appears whole or not at all.

    Args:
        urls: http(s) addresses of the same file, tried in order.
        target: the file to make; its folder exists.
        size: length in bytes, if it is known.
        sha256: hexadecimal hash, if it is known.
        progress: told how far it is.

    Returns:
        The hexadecimal sha256 of what was fetched.

    Raises:
        HashMismatchError: nothing but wrong files came.
        DownloadError: nothing came, the disk is full, or the file cannot be written.
    """
    import requests

    failures: list[tuple[str, DownloadError]] = []
    transfer = _Transfer(_Part(target), size, sha256, progress)
    with requests.Session() as session:
        session.max_redirects = MAX_REDIRECTS
        for url in urls:
            try:
                return transfer.get(session, url)
            except _LocalError:
                raise
            except DownloadError as error:
                failures.append((url, error))
    wrong = any(isinstance(error, HashMismatchError) for _, error in failures)
    lines = "".join(f"\n  {url}: {error}" for url, error in failures) or " no address is given"
    raise (HashMismatchError if wrong else DownloadError)(
        f"{target.name} could not be fetched:{lines}"
    )


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Part:
    """The bytes fetched so far, and where they came from."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.origin = target.with_name(target.name + ".part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def etag(self, url: str) -> str | None:
        """The validator under which the bytes came from `url`; '' without, None if not from it."""
        try:
            origin = json.loads(self.origin.read_text())
            return str(origin["etag"]) if origin["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def restart(self, url: str, etag: str) -> None:
        """Throw the bytes away and write down where the next ones come from."""
        self.drop()
        self.path.touch()
        self.origin.write_text(json.dumps({"url": url, "etag": etag}))

    def drop(self) -> None:
        self.origin.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        self.path.replace(self.target)
        self.drop()


@dataclass
class _Transfer:
    """One file on its way; `get` may be called once for each mirror."""

    part: _Part
    size: int | None
    sha256: str | None
    progress: Progress | None

    def get(self, session: Session, url: str) -> str:
        """Fetch from one address, check, and rename; returns the sha256."""
        _check_scheme(url)
        try:
            with _local_errors(self.part):
                digest = self._checked(session, url)
                self.part.finish()
        except (_WrongError, HashMismatchError):
            self.part.drop()
            raise
        return digest

    def _checked(self, session: Session, url: str) -> str:
        """Fetch and hash; once more from the start if older bytes may be at fault."""
        resumed = self._collect(session, url)
        digest = sha256_of(self.part.path)
        if resumed and self.sha256 not in (None, digest):
            self.part.drop()
            self._collect(session, url)
            digest = sha256_of(self.part.path)
        if self.sha256 not in (None, digest):
            raise HashMismatchError(
                f"came with sha256 {digest}, the published file has {self.sha256}; removed"
            )
        return digest

    def _collect(self, session: Session, url: str) -> bool:
        """Fill the part file, taking up broken connections; whether older bytes were used."""
        resumed = False
        for _ in range(MAX_RESUMES):
            before = self.part.size()
            try:
                return self._once(session, url) or resumed
            except _BrokenError:
                resumed = True
                if self.part.size() <= before:
                    raise
        return self._once(session, url) or resumed

    def _once(self, session: Session, url: str) -> bool:
        """One request and its body; whether it went on from older bytes."""
        offset, headers = self._range(url)
        if offset and offset == self.size:
            return True
        response = _open(session, url, headers)
        with response:
            if offset and self._continues(response, url, offset):
                self._write(response, offset)
                return True
            if response.status_code == 200:
                self._start(response, url)
                return False
        if not offset or response.status_code not in (206, 416):
            raise DownloadError(f"the server answered {response.status_code} {response.reason}")
        self.part.drop()  # the server does not go on from where we are
        return self._once(session, url)

    def _range(self, url: str) -> tuple[int, dict[str, str]]:
        """From which byte to ask for, and the headers that say so.

        The older bytes are gone on from only when something proves that they are of the same
        file: the server's own strong validator, or the hash that is known beforehand.
        """
        offset, etag = self.part.size(), self.part.etag(url)
        provable = bool(etag) or self.sha256 is not None
        if not offset or not provable or (self.size is not None and offset > self.size):
            return 0, {}
        condition = {"If-Range": etag} if etag else {}
        return offset, {"Range": f"bytes={offset}-"} | condition

    def _continues(self, response: Response, url: str, offset: int) -> bool:
        """Whether the answer is exactly the rest of the file from `offset` on."""
        found = re.fullmatch(
            r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "")
        )
        if response.status_code != 206 or not found:
            return False
        first, last, total = found.groups()
        etags = {self.part.etag(url), _strong_etag(response)} - {"", None}
        whole = total == "*" or int(last) + 1 == int(total)
        fits = self.size is None or total in ("*", str(self.size))
        return int(first) == offset and whole and fits and len(etags) <= 1

    def _start(self, response: Response, url: str) -> None:
        """Begin anew with the whole file."""
        length = _length(response)
        if self.size is not None and length not in (None, self.size):
            if looks_like_page(next(_chunks(response), b"")):
                raise DownloadError(_PAGE)
            raise DownloadError(f"the server offers {length} bytes instead of {self.size}")
        self.part.restart(url, _strong_etag(response))
        self._write(response, 0)

    def _write(self, response: Response, offset: int) -> None:
        """Add the body to the part file."""
        length = _length(response)
        total = self.size if self.size is not None or length is None else offset + length
        self._check_space(total, offset)
        done = offset
        with self.part.path.open("ab") as file:
            for chunk in _chunks(response):
                if done == 0 and looks_like_page(chunk):
                    raise _WrongError(_PAGE)
                done += len(chunk)
                if self.size is not None and done > self.size:
                    raise _WrongError(f"more than the {self.size} bytes of the published file")
                file.write(chunk)
                if self.progress:
                    self.progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        if total is not None and done < total:
            raise _BrokenError(f"the connection ended after {done} of {total} bytes")

    def _check_space(self, total: int | None, offset: int) -> None:
        free = shutil.disk_usage(self.part.path.parent).free
        if total is not None and total - offset > free:
            raise _LocalError(
                f"the disk is full: {total - offset} bytes are still to come and "
                f"{self.part.path.parent} has room for {free}; make room, or let COLORIA_HOME "
                "name a folder on another disk"
            )


@contextmanager
def _local_errors(part: _Part) -> Iterator[None]:
    """Turn what the file system refuses into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _LocalError(
                f"the disk is full ({error.strerror}): {part.path} holds the {part.size()} bytes "
                "that came; make room and call again (it goes on from there if the server can), or "
                "let COLORIA_HOME name a folder on another disk"
            ) from error
        raise _LocalError(f"{part.path} cannot be written: {error.strerror or error}") from error


def _open(session: Session, url: str, headers: dict[str, str], form: bool = True) -> Response:
    """Ask for `url`; a download form (Google Drive puts one before large files) is sent once."""
    import requests
    from urllib3.exceptions import HTTPError

    try:
        response = session.get(
            url,
            headers={"Accept-Encoding": "identity"} | headers,
            stream=True,
            timeout=TIMEOUT,
        )
        _check_downgrade([r.url for r in response.history] + [response.url])
        if "text/html" not in response.headers.get("Content-Type", "").lower():
            return response
        with response:
            page = response.raw.read(_MAX_PAGE, decode_content=True)
    except requests.TooManyRedirects as error:
        raise DownloadError(f"more than {MAX_REDIRECTS} redirects") from error
    except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
        raise _BrokenError(_reason(error)) from error
    except OSError as error:  # the root of all that requests raises
        raise DownloadError(_reason(error)) from error
    if response.status_code >= 400:
        return response
    action = _form_address(page.decode("utf-8", "replace"), response.url) if form else None
    if action is None:
        raise DownloadError(_PAGE)
    _check_scheme(action)
    return _open(session, action, headers, form=False)


def _chunks(response: Response) -> Iterator[bytes]:
    """The body; what the network does wrong is a `_BrokenError`."""
    try:
        yield from response.iter_content(_CHUNK)
    except OSError as error:  # the root of all that requests raises
        raise _BrokenError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """The innermost cause in a few words: requests wraps it several times."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    cause = getattr(error, "reason", None)
    if isinstance(cause, Exception):
        error = cause
    text = str(error.args[0] if error.args else error)
    return text.split("): ", 1)[-1][:200] or type(error).__name__


def _length(response: Response) -> int | None:
    """Bytes of the body, if the answer says so and the body is not compressed."""
    text = response.headers.get("Content-Length", "")
    plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return int(text) if plain and text.isdecimal() else None


def _strong_etag(response: Response) -> str:
    """The validator that is the same only for the same bytes, or ''."""
    etag: str = response.headers.get("ETag", "")
    return "" if etag.startswith("W/") else etag


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError("only http and https are fetched")


def _check_downgrade(hops: Sequence[str]) -> None:
    """Refuse an answer that came by plain HTTP when HTTPS was asked for."""
    schemes = [urlsplit(hop).scheme for hop in hops]
    if schemes[0] == "https" and set(schemes) != {"https"}:
        raise DownloadError("redirected from https to an address that is not")


class _FormParser(HTMLParser):
    """The action and the hidden fields of the form with the id ``download-form``."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if tag == "form" and given.get("id") == "download-form":
            self.action, self._inside = given.get("action", ""), True
        if tag == "input" and self._inside and given.get("type") == "hidden" and "name" in given:
            self.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


def _form_address(page: str, base: str) -> str | None:
    """The address that the download form of a page leads to, or None without such a form."""
    parser = _FormParser()
    parser.feed(page)
    if parser.action is None:
        return None
    query = urlencode(parser.fields)
    address = urljoin(base, parser.action)
    return f"{address}{'&' if '?' in address else '?'}{query}" if query else address
