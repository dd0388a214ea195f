"""From a recipe's `data` to photographs and batches, for every trainer."""

from __future__ import annotations

from typing import Any

import torch

from coloria.config import DataConfig
from coloria.errors import DataError
from coloria.train import distributed
from coloria.train.augment import Augment
from coloria.train.data import Photos
from coloria.train.film import Film
from coloria.train.loader import Batches
from coloria.train.sources import resolve_sources

__all__ = ["find_photos", "make_batches"]

VAL_BATCH = 32
"""Photographs validated at a time."""


def find_photos(
    data: DataConfig, seed: int, first: float | int | None = None
) -> tuple[Photos, Photos]:
    """The photographs to train on and those to validate on.

    Args:
        data: Where they are, and which of them are used.
        seed: Of every choice.
        first: Train on so many of them (or that share), the first ones by name, and validate on
            all others; None leaves it to ``data.val``.

    Raises:
        DataError: A source is missing, nothing in it can be used, or one part would be empty.
    """
    options: dict[str, Any] = {
        "seed": seed,
        "min_colorfulness": data.min_colorfulness,
        "short_side": data.short_side,
        "cache_bytes": None if data.cache_gb is None else int(data.cache_gb * 1e9),
    }
    photos = Photos.find(resolve_sources(None, data.train), limit=data.limit, **options)
    if first is not None:
        train, val = _by_index(photos, first)
    elif isinstance(data.val, int | float):
        train, val = photos.split(data.val, seed)
    else:
        paths = [data.val] if isinstance(data.val, str) else data.val
        train, val = photos, Photos.find(paths, **options)
    return train, val


def _by_index(photos: Photos, first: float | int) -> tuple[Photos, Photos]:
    count = round(first * len(photos)) if isinstance(first, float) else first
    if not 0 < count < len(photos):
        raise DataError(
            f"wanted the first {first} of the photographs for training and the rest for the test; "
            f"there are {len(photos)} that can be used: give more photographs, or another number "
            "or share, for example --set split=0.95"
        )
    return photos.split_at(count)


def make_batches(
    data: DataConfig,
    photos: tuple[Photos, Photos],
    *,
    size: int,
    batch: int,
    seed: int,
    share: float,
    device: torch.device,
) -> tuple[Batches, Batches]:
    """Batches of one stage, for training (this process's part) and for validation.

    Args:
        data: How photographs are varied.
        photos: Those to train on and those to validate on.
        size: Side of the crops, in pixels.
        batch: Pictures at a time, over all processes.
        seed: Of the stage; its first epoch must not repeat the last one's crops.
        share: Share of the photographs in an epoch.
        device: Where batches end up.
    """
    world = distributed.world_size()
    common: dict[str, Any] = {"size": size, "device": device}
    if data.workers:
        common["workers"] = data.workers
    train = Batches(
        photos[0],
        batch=max(1, batch // world),
        seed=seed,
        augment=Augment(**data.augment.model_dump()),
        film=Film(**data.film.model_dump()),
        share=share,
        drop_last=True,
        rank=distributed.rank(),
        world=world,
        **common,
    )
    return train, Batches(photos[1], batch=min(VAL_BATCH, len(photos[1])), **common)
