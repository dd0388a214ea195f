"""Batches of photographs, made by a few threads ahead of the training loop."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from coloria.errors import DataError, OptionError
from coloria.train.augment import Augment, Draw, center_crop, crop, luma, rotate
from coloria.train.film import Effects, Film, develop

__all__ = ["Batch", "Batches", "Pictures"]


class Pictures(Protocol):
    """An ordered collection of pictures, such as :class:`coloria.train.data.Photos`."""

    names: list[str]
    """One a picture."""

    def __len__(self) -> int: ...

    def read(self, i: int, /) -> NDArray[np.uint8]:
        """Picture ``i`` as ``(H, W, 3)`` uint8 sRGB, read only; safe from any thread."""


@dataclass(frozen=True)
class Batch:
    """What a training step gets.

    Attributes:
        gray: ``(B, 1, S, S)`` float32 0..1: what the network is given.
        rgb: ``(B, 3, S, S)`` float32 0..1 sRGB: the truth, untouched by film.
        indices: ``(B,)`` positions of the samples in the collection.
        names: their names.
    """

    gray: torch.Tensor
    rgb: torch.Tensor
    indices: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Raw:
    """A batch before the device has it: crops and what is still to be done to them."""

    indices: NDArray[np.int64]
    pixels: NDArray[np.uint8]  # (B, S, S, 3)
    draws: list[Draw]
    effects: list[Effects | None]


class Batches:
    """The batches of every epoch; each is a function of (seed, epoch, position) alone.

    With several processes, all of them count the same batches if ``drop_last`` is set; without
    it, the first ones may have one more.

    The number of threads, their order and where an epoch is entered change nothing: all that is
    random about a sample is drawn from a generator seeded by (seed, epoch, sample).

    Attributes:
        wait_s: seconds that the consumer has waited for data, in total.
        busy_s: seconds spent finishing batches on the device (in the consumer), in total.

    Args:
        photos: the collection.
        size: side of the samples, in pixels.
        batch: samples a batch (of each process).
        seed: of every draw.
        augment: how samples are varied and shuffled; ``None`` for validation: the central
            square of each photograph, in order.
        film: how the grey is varied; ``None`` for plain luma.
        share: share of the photographs an epoch; each epoch draws another part (validation
            always has the same).
        drop_last: leave out the last samples when they do not fill a batch in every process.
        workers: threads that read and crop.
        prefetch: batches made ahead at most; by default two more than there are threads.
        device: where batches are finished and end up.
        rank: number of this process.
        world: how many processes share the epoch.

    Raises:
        OptionError: a number is out of its range.
        DataError: there are too few photographs for one batch.
    """

    def __init__(
        self,
        photos: Pictures,
        *,
        size: int,
        batch: int,
        seed: int = 0,
        augment: Augment | None = None,
        film: Film | None = None,
        share: float = 1.0,
        drop_last: bool = False,
        workers: int = 2,
        prefetch: int | None = None,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check(size=size, batch=batch, workers=workers, share=share, rank=rank, world=world)
        self.photos, self.size, self.batch, self.seed = photos, size, batch, seed
        self.augment, self.film = augment, film
        self.drop_last, self.workers = drop_last, workers
        self.prefetch = workers + 2 if prefetch is None else max(1, prefetch)
        self.device = torch.device(device)
        self.rank, self.world = rank, world
        self.samples = max(1, round(share * len(photos)))
        self.wait_s = self.busy_s = 0.0
        if len(self) == 0:
            raise DataError(
                f"{self.samples} photographs do not fill one batch of {batch} in each of {world} "
                "processes; give more photographs or a smaller batch"
            )

    def __len__(self) -> int:
        """Batches an epoch (of this process)."""
        mine = self.samples // self.world if self.drop_last else self._mine_with_rest()
        return mine // self.batch if self.drop_last else math.ceil(mine / self.batch)

    def _mine_with_rest(self) -> int:
        return len(range(self.rank, self.samples, self.world))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from batch ``start`` on; those before it are not made.

        Threads run only while the iterator is alive: close it, or let go of it, and they end.

        Raises:
            DataError: a photograph has vanished or can no longer be read.
            OptionError: there is no batch ``start``.
        """
        if not 0 <= start <= len(self):
            raise OptionError(f"wanted a first batch of 0..{len(self)}, got {start}")
        order = self.order(epoch)
        parts = [order[k * self.batch : (k + 1) * self.batch] for k in range(start, len(self))]
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.workers, "coloria-data")
        waiting: deque[Future[_Raw]] = deque()
        try:
            waiting.extend(
                pool.submit(self._make, epoch, part, stop) for part in parts[: self.prefetch]
            )
            rest = iter(parts[self.prefetch :])
            while waiting:
                raw = self._wait(waiting.popleft())
                waiting.extend(
                    pool.submit(self._make, epoch, part, stop) for part in islice(rest, 1)
                )
                yield self._finish(raw)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the samples of one epoch that are this process's, in order."""
        key = [self.seed, epoch] if self.augment else [self.seed]
        chosen = np.random.default_rng(key).permutation(len(self.photos))[: self.samples]
        chosen = chosen if self.augment else np.sort(chosen)
        return chosen[self.rank :: self.world]

    def _make(self, epoch: int, part: NDArray[np.int64], stop: threading.Event) -> _Raw:
        samples = []
        for index in part.tolist():
            if stop.is_set():
                break
            samples.append(self._sample(epoch, index))
        pixels, draws, effects = zip(*samples, strict=True) if samples else ((), (), ())
        stacked = np.stack(pixels) if pixels else np.empty((0, self.size, self.size, 3), np.uint8)
        return _Raw(part, stacked, list(draws), list(effects))

    def _sample(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], Draw, Effects | None]:
        rng = np.random.default_rng([self.seed, epoch, index])
        photo = self.photos.read(index)
        extent = photo.shape[1], photo.shape[0]
        draw = self.augment.draw(rng, extent) if self.augment else center_crop(extent)
        effects = self.film.draw(rng, self.size) if self.film else None
        return crop(photo, draw, self.size), draw, effects

    def _wait(self, future: Future[_Raw]) -> _Raw:
        began = time.perf_counter()
        try:
            return future.result()
        finally:
            self.wait_s += time.perf_counter() - began

    @torch.no_grad()
    def _finish(self, raw: _Raw) -> Batch:
        """What is done on the device, to all samples at once."""
        began = time.perf_counter()
        pixels = torch.from_numpy(raw.pixels).to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            rgb = _turned(pixels.permute(0, 3, 1, 2).to(torch.float32).contiguous(), raw.draws)
            gray = luma(rgb).div_(255)
            gray = develop(gray, rgb.div_(255), raw.effects)
        self.busy_s += time.perf_counter() - began
        return Batch(gray, rgb, raw.indices, tuple(self.photos.names[i] for i in raw.indices))


def _turned(rgb: torch.Tensor, draws: list[Draw]) -> torch.Tensor:
    """Rotate ``(B, 3, S, S)`` whole values 0..255 where it was drawn; whole values again."""
    rows = [row for row, draw in enumerate(draws) if draw.angle != 0.0]
    if rows:
        angles = torch.tensor([draws[row].angle for row in rows], device=rgb.device)
        rgb[rows] = rotate(rgb[rows], angles).round_().clamp_(0, 255)
    return rgb


def _check(*, size: int, batch: int, workers: int, share: float, rank: int, world: int) -> None:
    if min(size, batch, workers, world) < 1 or not 0 <= rank < world or not 0 < share <= 1:
        raise OptionError(
            "wanted size, batch, workers and world of at least 1, rank below world and share in "
            f"(0, 1]; got size={size}, batch={batch}, workers={workers}, world={world}, "
            f"rank={rank}, share={share}"
        )
