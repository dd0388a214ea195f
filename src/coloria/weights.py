"""Where weight files come from: embedded in the package, in the cache, or given by the user.

Nothing is fetched unless :func:`download` is called, and nothing at all while ``COLORIA_OFFLINE``
is set. The cache itself is :mod:`coloria.cache`, the transfer :mod:`coloria.fetch`, and reading
the files the work of :mod:`coloria.weightfile`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from coloria import fetch
from coloria.cache import (
    cached,
    folder,
    home,
    offline,
    path_of,
    pinned,
    read_pin,
    state,
    write_pin,
)
from coloria.errors import (
    DownloadError,
    HashMismatchError,
    OfflineError,
    OptionError,
    WeightsError,
    WeightsFormatError,
    WeightsMismatchError,
    WeightsMissingError,
    did_you_mean,
)
from coloria.fetch import Progress
from coloria.models import registry
from coloria.released import RELEASED, Released, generators, released
from coloria.weightfile import (
    Card,
    atomic,
    looks_like_page,
    read_card,
    read_checkpoint,
    read_state,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Found",
    "Verified",
    "cached",
    "classes",
    "download",
    "embedded",
    "find",
    "folder",
    "home",
    "import_file",
    "offline",
    "path_of",
    "pinned",
    "read",
    "remove",
    "state",
    "verify",
]

_CHOICES = ("auto", "embedded", "released")


@dataclass(frozen=True, slots=True)
class Found:
    """One weight file that is there."""

    path: Path
    kind: Literal["embedded", "released", "file"]
    name: str
    """The released name, the model of an embedded file, or the stem of a file of the user."""
    note: str = ""
    """One line that tells which weights these are and how to get the others."""
    companion: Path | None = None
    """A second released file that goes with it, if it is in the cache (averaged parameters)."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What :func:`verify` has seen."""

    name: str
    path: Path
    sha256: str
    against: Literal["published", "first download", "nothing"]
    """What the hash was compared with; a file whose hash nobody published has its own first."""


def embedded(model: str) -> Path | None:
    """The compact weights of a model that came with the package, or None."""
    path = files("coloria") / "embedded" / f"{model}.safetensors"
    return path if isinstance(path, Path) and path.is_file() else None


def find(model: str, choice: str | os.PathLike[str] = "auto") -> Found:
    """The weight file that a model is to use.

    Args:
        model: canonical name of a model.
        choice: ``auto`` (released if it is in the cache, else embedded), ``embedded``,
            ``released``, ``released:NAME``, or the path of a file.

    Raises:
        WeightsMissingError: it is not there; the message names the command that helps.
        WeightsMismatchError: a released file of another model was asked for.
        UnknownNameError: there is no released file of that name.
        OptionError: not one of the choices and not a path.
    """
    text = os.fspath(choice)
    if text == "auto":
        return _auto(model)
    if text == "embedded":
        return _embedded(model)
    if text == "released" or text.startswith("released:"):
        return _released(_entry_for(model, text.partition(":")[2]))
    return _file(Path(text), is_path=isinstance(choice, os.PathLike))


def classes(model: str, found: Found) -> int:
    """How many classes these weights of a model know; 0: none. Reads no more than their card; a
    file without one is taken to be like the released one.
    """
    about = registry.get(model)
    card = read_card(found.path) if about.draws else None
    return int(card.config.get("n_classes", about.classes)) if card else about.classes


def with_weights(choice: str | os.PathLike[str] = "auto") -> list[str]:
    """The models whose weights of that choice are here, in the order of the table."""
    found = []
    for name in registry.names():
        try:
            find(name, choice)
        except WeightsError:
            continue
        found.append(name)
    return found


def _auto(model: str) -> Found:
    entry, compact = _usual(model), embedded(model)
    if entry and cached(entry.name):
        other = "; --weights embedded takes the compact ones" if compact else ""
        found = _released(entry)
        return replace(found, note=found.note + other)
    found = _embedded(model)
    return replace(found, note=found.note + _how_to_get(entry)) if entry else found


def _usual(model: str) -> Released | None:
    return next(iter(generators(model)), None)


def _how_to_get(entry: Released) -> str:
    damaged = f" ({path_of(entry.name)} is damaged)" if state(entry.name) == "damaged" else ""
    return f"; for the authors' own{damaged}: coloria weights download {entry.name}"


def _embedded(model: str) -> Found:
    path = embedded(model)
    if path is None:
        raise WeightsMissingError(_missing(model, _usual(model)))
    return Found(path, "embedded", model, f"{model}: the compact embedded weights")


def _missing(model: str, entry: Released | None) -> str:
    if entry is None:
        return (
            f"no weights for {model!r}: none are embedded and none were published; "
            "train it with 'coloria train' and give the file with --weights PATH"
        )
    return f"no weights for {model!r}: none are embedded, and {_fetch_hint(entry)}"


def _fetch_hint(entry: Released) -> str:
    path, what = path_of(entry.name), state(entry.name)
    if what == "damaged":
        there = f"{path} has {path.stat().st_size} bytes instead of {entry.bytes}"
    else:
        there = f"{path} is {'only partly fetched' if what == 'partial' else 'not there'}"
    return (
        f"{there}; fetch it with 'coloria weights download {entry.name}', or give --weights "
        "embedded or the path of a file"
    )


def _entry_for(model: str, name: str) -> Released:
    """The entry that ``released`` or ``released:NAME`` means for a model."""
    choices = generators(model)
    if name:
        entry = released(name)
        if entry in choices:
            return entry
        raise WeightsMismatchError(
            f"{name!r} is a {entry.role} of {entry.model!r}, not weights that {model!r} colours "
            f"with; for {model!r} there are: {', '.join(e.name for e in choices) or 'none'}"
        )
    if not choices:
        raise WeightsMissingError(f"no weights were published for {model!r}; --weights embedded")
    return choices[0]


def _released(entry: Released) -> Found:
    path = cached(entry.name)
    if path is None:
        raise WeightsMissingError(
            f"the released weights {entry.name!r} are missing: {_fetch_hint(entry)}"
        )
    companion = cached(entry.companion) if entry.companion else None
    note = f"{entry.model}: the released weights {entry.file}"
    if companion:
        note += f" with the averaged parameters of {companion.name}"
    elif entry.companion:
        note += f"; the averaged ones go with them: coloria weights download {entry.companion}"
    return Found(path, "released", entry.name, note, companion)


def _file(path: Path, *, is_path: bool) -> Found:
    path = path.expanduser()
    if path.is_file():
        averages = path.with_name(path.name.replace("EG_", "EG_EMA_", 1))
        companion = averages if averages != path and averages.is_file() else None
        beside = f", with the averaged parameters of {averages.name}" if companion else ""
        return Found(path, "file", path.stem, f"the weights of {path}{beside}", companion)
    if is_path or path.suffix or len(path.parts) > 1:
        raise WeightsMissingError(f"there is no weight file {path}")
    raise OptionError(
        f"weights {str(path)!r}{did_you_mean(str(path), _CHOICES)}: neither a file nor one of "
        "auto, embedded, released, released:NAME"
    )


def read(found: Found, model: str) -> tuple[dict[str, Tensor], Card | None]:
    """The tensors of a weight file, with the averaged ones of its companion, and its card.

    Raises:
        WeightsError: A file is damaged, or the companion belongs to another network.
    """
    state, card = read_state(found.path)
    if found.companion is not None and card is None:
        from coloria.models import bigcolor  # the only model with such a file

        if bigcolor.identify(state) == model:
            state = bigcolor.averaged(state, read_checkpoint(found.companion))
    return state, card


def download(
    name: str,
    *,
    progress: Progress | None = None,
    urls: Sequence[str] | None = None,
    sha256: str | None = None,
) -> Path:
    """Fetch a released file into the cache; one that is there in full size is left alone.

    Several processes may ask at once: one fetches, the others wait and find the file.

    Args:
        name: its name in :data:`coloria.released.RELEASED`.
        progress: called with (bytes there are, bytes there will be or None).
        urls: fetch from these addresses instead of the published ones.
        sha256: what its hash must be, where none was published.

    Raises:
        UnknownNameError: there is no such file.
        OptionError: `sha256` contradicts the published one.
        OfflineError: COLORIA_OFFLINE is set.
        HashMismatchError: what came is not the published file; it was removed.
        DownloadError: nothing came, or it cannot be stored.
    """
    from filelock import FileLock

    entry, path = released(name), path_of(name)
    addresses = tuple(urls or entry.urls)
    if sha256 and entry.sha256 not in (None, sha256):
        raise OptionError(f"the published sha256 of {entry.file} is {entry.sha256}, not {sha256}")
    if cached(name) and sha256 is None:
        return path
    if offline():
        raise OfflineError(
            f"{path.name} is not in the cache and COLORIA_OFFLINE is set; unset it, or "
            + _by_hand(entry, path, addresses)
        )
    _make_folder(path.parent)
    with FileLock(path.with_name(path.name + ".lock")):
        wanted = entry.sha256 or sha256 or read_pin(path)
        if cached(name) and wanted in (pinned(name), None):  # another process has fetched it
            return path
        try:
            digest = fetch.fetch(
                addresses, path, size=entry.bytes, sha256=wanted, progress=progress
            )
        except DownloadError as error:
            kind = HashMismatchError if isinstance(error, HashMismatchError) else DownloadError
            raise kind(f"{error}\n{_by_hand(entry, path, addresses)}") from error
        write_pin(entry, path, digest)
    return path


def _by_hand(entry: Released, path: Path, urls: Sequence[str]) -> str:
    return (
        f"fetch it by hand from {urls[0] if urls else 'its authors'} and run "
        f"'coloria weights import {entry.name} FILE', or put it at {path}"
    )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the cache folder {path} cannot be made ({error.strerror or error}); "
            "let COLORIA_HOME name one that can be written to"
        ) from error


def verify(name: str) -> Verified:
    """Read a cached file and compare its hash.

    Raises:
        UnknownNameError: there is no such file.
        WeightsMissingError: it is not in the cache.
        HashMismatchError: it is damaged, or another file; it is left where it is.
    """
    entry, path = released(name), path_of(name)
    if not path.is_file():
        raise WeightsMissingError(
            f"{path} is not there; fetch it with 'coloria weights download {name}'"
        )
    wanted, digest = pinned(name), fetch.sha256_of(path)
    if wanted not in (digest, None) or state(name) != "present":
        raise HashMismatchError(
            f"{path} has {path.stat().st_size} bytes and sha256 {digest}, wanted were "
            f"{entry.bytes or 'any'} bytes and {wanted}; run 'coloria weights remove {name}' and "
            f"'coloria weights download {name}'"
        )
    return Verified(
        name,
        path,
        digest,
        "published" if entry.sha256 else "first download" if wanted else "nothing",
    )


def import_file(name: str, source: str | os.PathLike[str]) -> Path:
    """Take a file that was fetched by hand into the cache, if it is the published one.

    Raises:
        UnknownNameError: there is no such released file.
        WeightsMissingError: `source` is not there.
        WeightsFormatError: `source` is a web page.
        HashMismatchError: `source` has another size or hash than the published file.
        WeightsError: the cache cannot be written.
    """
    entry, path, source = released(name), path_of(name), Path(source)
    if not source.is_file():
        raise WeightsMissingError(f"there is no file {source} to import")
    digest = _check_source(entry, source)
    try:
        if not (path.exists() and path.samefile(source)):
            with atomic(path) as temporary:
                shutil.copyfile(source, temporary)
        write_pin(entry, path, digest)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _check_source(entry: Released, source: Path) -> str:
    """The hash of a file to import, after all that can be said against it."""
    with source.open("rb") as file:
        if looks_like_page(file.read(512)):
            raise WeightsFormatError(f"{source} is a web page, not weights; fetch it again")
    size, digest = source.stat().st_size, fetch.sha256_of(source)
    if entry.bytes not in (None, size) or entry.sha256 not in (None, digest):
        raise HashMismatchError(
            f"{source} is not {entry.file}: it has {size} bytes and sha256 {digest}, the "
            f"published file has {entry.bytes} bytes and {entry.sha256 or 'an unknown sha256'}"
            f"{_rightful(digest)}; nothing was imported"
        )
    return digest


def _rightful(digest: str) -> str:
    """Which published file has that hash, if one has."""
    names = [e.name for e in RELEASED if e.sha256 == digest]
    return f"; it is the file of {names[0]!r}" if names else ""


def remove(name: str) -> list[Path]:
    """Delete a released file from the cache, with what is left of an unfinished download.

    Returns:
        The files that were deleted.

    Raises:
        UnknownNameError: there is no such released file.
        WeightsMissingError: nothing of it is in the cache.
    """
    path = path_of(name)
    tails = ("", ".part", ".part.json", ".sha256", ".lock")
    there = [p for tail in tails if (p := path.with_name(path.name + tail)).is_file()]
    if not there:
        raise WeightsMissingError(f"{path} is not there; nothing to remove")
    for file in there:
        file.unlink()
    return there
