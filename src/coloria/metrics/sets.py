"""Figures of a whole set of pictures: ``update`` for each, ``merge`` processes, ``compute`` once.

The protocol is torchmetrics' (``update``, ``compute``, ``reset``), without its weight. States are
sums in float64, never averages of parts: the figure does not depend on how the set was cut into
batches or processes. States are plain objects that pickle, so that processes can send them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from coloria.metrics.colorfulness import Form, colorfulness

__all__ = ["DeltaColorfulness", "MeanOver", "Pixels", "SetMeasure", "merged"]

Pixels = NDArray[np.uint8]
"""sRGB (H, W, 3)."""


class SetMeasure(Protocol):
    """What all figures of a set offer."""

    title: str
    """What the figure is, with the network it was made by."""

    def update(self, prediction: Pixels, truth: Pixels) -> None:
        """Adds one picture, sRGB (H, W, 3)."""

    def compute(self) -> float:
        """The figure of all pictures so far; NaN where there are too few for one."""

    def merge(self, other: Self) -> None:
        """Adds all pictures of another one, as of another process."""

    def reset(self) -> None:
        """Forgets all pictures."""


class MeanOver:
    """The mean over the pictures of a figure that each picture has.

    Args:
        figure: ``figure(prediction, truth, **options)``, or without the truth.
        title: What it is.
        of_truth: Whether it takes the truth.
        options: Passed on.
    """

    def __init__(
        self,
        figure: Callable[..., float],
        title: str,
        of_truth: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.figure, self.title, self.of_truth = figure, title, of_truth
        self.options = dict(options or {})
        self.reset()

    def reset(self) -> None:
        """Forgets all pictures."""
        self.values: list[float] = []

    def update(self, prediction: Pixels, truth: Pixels) -> None:
        """Adds one picture, sRGB (H, W, 3)."""
        pictures = (prediction, truth) if self.of_truth else (prediction,)
        self.values.append(float(self.figure(*pictures, **self.options)))

    def compute(self) -> float:
        """The mean, NaN without pictures; `fsum`, so that the order of pictures does not matter."""
        return math.fsum(self.values) / len(self.values) if self.values else math.nan

    def merge(self, other: MeanOver) -> None:
        """Adds all pictures of another one."""
        self.values += other.values


class DeltaColorfulness:
    """``|mean colourfulness of the predictions - that of the truths|``; lower is better.

    One of two definitions in use. The other, the mean over the pictures of the absolute difference,
    is the measure ``delta-colorfulness-mean``; it is never smaller, and often several times larger.

    Args:
        form: Of the colourfulness, see :func:`coloria.metrics.colorfulness.colorfulness`.
    """

    def __init__(self, form: Form = "signed") -> None:
        self.form: Form = form
        self.title = "Δ colourfulness" + ("" if form == "signed" else f" ({form})")
        self.reset()

    def reset(self) -> None:
        """Forgets all pictures."""
        self.differences: list[float] = []

    def update(self, prediction: Pixels, truth: Pixels) -> None:
        """Adds one picture, sRGB (H, W, 3)."""
        one, other = (float(colorfulness(p, self.form)) for p in (prediction, truth))
        self.differences.append(one - other)

    def compute(self) -> float:
        """The difference of the means; NaN without pictures."""
        if not self.differences:
            return math.nan
        return abs(math.fsum(self.differences)) / len(self.differences)

    def merge(self, other: DeltaColorfulness) -> None:
        """Adds all pictures of another one."""
        self.differences += other.differences


Some = TypeVar("Some", bound=SetMeasure)


def merged(parts: Iterable[Some]) -> Some:
    """All pictures of several processes in the first of `parts`."""
    first, *rest = parts
    for part in rest:
        first.merge(part)
    return first
