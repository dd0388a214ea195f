"""The batches of the training core as Keras takes them: one epoch at a time, never all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from coloria.errors import ColoriaError
from coloria.keras_backend import backend
from coloria.train.loader import Batch, Batches

__all__ = ["Feed", "pair"]


def pair(batch: Batch) -> tuple[Tensor, Tensor]:
    """Grey repeated and truth, both (B, S, S, 3) in [0, 1]."""
    gray, rgb = (x.permute(0, 2, 3, 1) for x in (batch.gray, batch.rgb))
    return gray.expand(-1, -1, -1, 3), rgb.contiguous()


@dataclass
class Feed:
    """What ``fit`` is given. Every pass over it is the epoch that stands in :attr:`epoch`."""

    batches: Batches
    start: int = 0
    """The first batch of every pass: past 0 in an epoch that an interrupted run had begun."""
    epoch: int = 0
    error: ColoriaError | None = None
    """What went wrong in a pass; TensorFlow hands on only a text of it."""
    _running: Iterator[Batch] | None = None

    def __len__(self) -> int:
        return len(self.batches) - self.start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        try:
            yield from self._pairs()
        except ColoriaError as error:
            self.error = error
            raise

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._running = batches = self.batches.epoch(self.epoch, self.start)
        for left in range(len(self) - 1, -1, -1):
            batch = next(batches)
            if not left:  # Keras asks for no more than there are: end the threads here
                batches.close()  # type: ignore[attr-defined]
            yield pair(batch)

    def close(self) -> None:
        """Ends the threads of a pass that was broken off; Keras may hold on to it for long."""
        if self._running is not None:
            self._running.close()  # type: ignore[attr-defined]

    def dataset(self) -> Any:
        """For the backend that Keras runs on."""
        return self._tensorflow() if backend() == "tensorflow" else _torch(self)

    def _tensorflow(self) -> Any:
        import tensorflow as tf

        spec = tf.TensorSpec((None, self.batches.size, self.batches.size, 3), tf.float32)
        arrays = lambda: ((x.numpy(), y.numpy()) for x, y in self)  # noqa: E731
        data = tf.data.Dataset.from_generator(arrays, output_signature=(spec, spec))
        # No prefetch: the threads of Batches work ahead, and only so is waiting for them counted.
        return data.apply(tf.data.experimental.assert_cardinality(len(self)))


def _torch(feed: Feed) -> Any:
    class Dataset(IterableDataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(feed)

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(feed)

    return DataLoader(Dataset(), batch_size=None)
