"""Colour photographs to train on: found, filtered, split and decoded.

:class:`Photos` is the collection; :class:`~coloria.train.loader.Batches` makes batches of it.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coloria.errors import DataError
from coloria.metrics.colorfulness import colorfulness
from coloria.train.memory import spare_memory
from coloria.train.sources import (
    Entry,
    Opener,
    check_there,
    decode,
    list_entries,
)

__all__ = ["MIN_COLORFULNESS", "Photos"]

MIN_COLORFULNESS = 6.0
"""Photographs below this are left out: M3 of Hasler and Süsstrunk, signed, on the scale 0..255."""

Progress = Callable[[int, int], None]
"""Called with the number of files looked at so far and the number of files there are."""


class Photos:
    """An ordered collection of usable colour photographs.

    Attributes:
        sources: the folders and zip files.
        names: one name a photograph: its source and the path inside it.
        skipped: ``(name, reason)`` of the files that cannot be used.
        grey: names of the pictures that are too little colourful.
    """

    def __init__(self, store: _Store, entries: Sequence[Entry]) -> None:
        self._store = store
        self._entries = tuple(entries)
        self.sources = store.opener.sources
        self.names = [store.opener.path(entry) for entry in self._entries]
        self.skipped: list[tuple[str, str]] = []
        self.grey: list[str] = []

    @classmethod
    def find(
        cls,
        sources: Sequence[str | Path],
        *,
        limit: int | None = None,
        seed: int = 0,
        min_colorfulness: float = MIN_COLORFULNESS,
        short_side: int | None = None,
        cache_bytes: int | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Photos:
        """Look through folders and zip files and keep the colour photographs.

        Every file is decoded once; what is kept goes into the cache at the same time. With
        ``limit``, only as many files are looked at as it takes.

        Args:
            sources: folders (searched with all their sub-folders) and zip files.
            limit: how many photographs to keep at most; drawn by ``seed``, spread as evenly
                over the sub-folders as they allow.
            seed: of that choice.
            min_colorfulness: M3 of Hasler and Süsstrunk, signed, on the scale 0..255 (see
                :mod:`coloria.metrics.colorfulness`), measured on the picture shrunk to 64 x 64;
                0 keeps grey pictures, too.
            short_side: larger photographs are reduced to this shorter side, in pixels.
            cache_bytes: memory for decoded photographs; by default half of what is free (shared
                by the processes of one machine).
            workers: threads; by default one a processor.
            progress: called after each few files with (looked at, there are).

        Returns:
            The photographs, sorted by source and name.

        Raises:
            DataError: a source is missing or no photograph in it can be used.
        """
        opener = Opener([Path(source).expanduser() for source in sources])
        check_there(opener.sources)
        budget = spare_memory() // 2 if cache_bytes is None else cache_bytes
        store = _Store(opener, short_side, budget)
        entries, closed = list_entries(opener.sources)
        survey = _Survey(store, min_colorfulness, limit)
        survey.run(_spread(entries, seed) if limit else entries, len(entries), workers, progress)
        if not survey.kept:
            raise DataError(survey.nothing_usable())
        photos = cls(store, sorted(survey.kept))
        photos.skipped, photos.grey = sorted(closed + survey.skipped), sorted(survey.grey)
        return photos

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Photograph ``i`` as ``(H, W, 3)`` uint8 sRGB, read only; safe from any thread.

        Raises:
            DataError: its file has vanished or can no longer be read.
        """
        return self._store.pixels(self._entries[i])

    def split(self, val: float | int, seed: int = 0) -> tuple[Photos, Photos]:
        """Two disjoint collections, drawn by ``seed``: for training and for validation.

        Args:
            val: photographs for validation: a share if a float, a number if an int.
            seed: of the choice.

        Raises:
            DataError: one of the two would be empty.
        """
        count = round(val * len(self)) if isinstance(val, float) else val
        if not 0 < count < len(self):
            raise DataError(
                f"cannot put {val} of {len(self)} photographs aside for validation: training and "
                "validation need one at least; give another number or more photographs"
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.part(order[count:]), self.part(order[:count])

    def split_at(self, count: int) -> tuple[Photos, Photos]:
        """The first `count` photographs, and the others."""
        rows = np.arange(len(self))
        return self.part(rows[:count]), self.part(rows[count:])

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> Photos:
        """The photographs at those positions, in the order that they have here; what had been
        left out is the same.
        """
        part = Photos(self._store, [self._entries[row] for row in sorted(rows)])
        part.skipped, part.grey = self.skipped, self.grey
        return part


class _Store:
    """Decoded photographs, the first ones kept in memory until the budget is used up.

    Nothing is thrown out again: in training every photograph is read once an epoch in a random
    order, so one kept is as good as another.
    """

    def __init__(self, opener: Opener, short_side: int | None, budget: int) -> None:
        self.opener = opener
        self._short_side = short_side
        self._free = budget
        self._kept: dict[Entry, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def decode(self, entry: Entry) -> NDArray[np.uint8]:
        return decode(self.opener.read(entry), self._short_side)

    def keep(self, entry: Entry, photo: NDArray[np.uint8]) -> None:
        with self._lock:
            if entry not in self._kept and photo.nbytes <= self._free:
                self._kept[entry] = photo
                self._free -= photo.nbytes

    def pixels(self, entry: Entry) -> NDArray[np.uint8]:
        kept = self._kept.get(entry)
        if kept is not None:
            return kept
        try:
            photo = self.decode(entry)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever their libraries do
            raise DataError(
                f"{self.opener.path(entry)} could be read when training began and cannot be now: "
                f"{_reason(error)}; put it back, or start again without it"
            ) from error
        self.keep(entry, photo)
        return photo


@dataclass
class _Survey:
    """Looks at files one after the other and sorts them."""

    store: _Store
    min_colorfulness: float
    limit: int | None
    kept: list[Entry] = field(default_factory=list)
    grey: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def run(
        self, entries: Iterable[Entry], total: int, workers: int | None, progress: Progress | None
    ) -> None:
        """Look at entries, a few hundred at a time, until there are enough."""
        rest, seen = iter(entries), 0
        with ThreadPoolExecutor(workers or os.cpu_count(), "coloria-find") as pool:
            while chunk := list(islice(rest, self._chunk())):
                for entry, verdict in zip(chunk, pool.map(self._look, chunk), strict=True):
                    self._sort(entry, verdict)
                seen += len(chunk)
                if progress:
                    progress(seen, total)

    def _chunk(self) -> int:
        return 256 if self.limit is None else min(256, self.limit - len(self.kept))

    def _look(self, entry: Entry) -> float | str:
        """The picture's colourfulness, or why it cannot be used."""
        try:
            photo = self.store.decode(entry)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever their libraries do
            return _reason(error)
        value = _colorfulness(photo) if self.min_colorfulness > 0 else 0.0
        if value >= self.min_colorfulness:
            self.store.keep(entry, photo)
        return value

    def _sort(self, entry: Entry, verdict: float | str) -> None:
        name = self.store.opener.path(entry)
        if isinstance(verdict, str):
            self.skipped.append((name, verdict))
        elif verdict < self.min_colorfulness:
            self.grey.append(name)
        else:
            self.kept.append(entry)

    def nothing_usable(self) -> str:
        first = f"; the first: {': '.join(min(self.skipped))}" if self.skipped else ""
        return (
            f"no colour photograph in {', '.join(map(str, self.store.opener.sources))}: "
            f"{len(self.grey)} of colourfulness below {self.min_colorfulness:g}, "
            f"{len(self.skipped)} unreadable{first}"
        )


def _colorfulness(photo: NDArray[np.uint8]) -> float:
    small = Image.fromarray(photo).resize((64, 64), Image.Resampling.BOX)
    return float(colorfulness(np.asarray(small)))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _spread(entries: Sequence[Entry], seed: int) -> Iterator[Entry]:
    """One entry of each sub-folder in turn, in a random order within it."""
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    turns = [_shuffled(group, seed, key) for key, group in groups.items()]
    while turns:
        yield from (turn.pop() for turn in turns)
        turns = [turn for turn in turns if turn]


def _shuffled(group: list[Entry], seed: int, key: tuple[int, str]) -> list[Entry]:
    rng = np.random.default_rng([seed, key[0], zlib.crc32(key[1].encode())])
    return [group[row] for row in rng.permutation(len(group))]
