"""What is measured: each row of the table colours grey photographs in its own way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coloria.metrics.baselines import Tint, gray_picture, oracle, tinted
from coloria.metrics.journal import digest
from coloria.metrics.photographs import Photograph, gray_of, pixels
from coloria.metrics.sets import Pixels
from coloria.models import registry

if TYPE_CHECKING:
    from coloria.colorizer import Colorizer


@dataclass
class Row:
    """One way to colour: a baseline."""

    name: str
    key: str
    """What a figure of this row depends on, beside the photograph."""
    paint: Callable[[Pixels, Pixels], Pixels] | None = None
    """From grey (H, W) and truth (H, W, 3) to sRGB."""
    is_baseline: bool = True
    step: int | None = None
    """Of the training, where it is a checkpoint."""

    def color(self, photograph: Photograph, truth: Pixels, size: int | None) -> Pixels:
        """The result for a photograph: sRGB (H, W, 3) uint8 of its size."""
        if self.paint is None:
            raise TypeError(f"row {self.name} has no way to colour")
        return self.paint(gray_of(truth), truth)

    def timed(
        self, photograph: Photograph, truth: Pixels, size: int | None
    ) -> tuple[Pixels, float]:
        """The result, and the seconds it took without reading the photograph."""
        began = time.perf_counter()
        colored = self.color(photograph, truth, size)
        return colored, time.perf_counter() - began


def baselines(tint: Tint) -> list[Row]:
    """Grey, the constant tint, the oracle."""
    return [
        Row("grey", "grey", lambda gray, _: gray_picture(gray)),
        Row(
            f"tint a* {tint[0]:g} b* {tint[1]:g}",
            f"tint {tint[0]} {tint[1]}",
            lambda gray, _: tinted(gray, tint),
        ),
        Row("oracle", "oracle", oracle),
    ]


class ModelRow(Row):
    """A model with its weights, loaded when it is first needed."""

    def __init__(
        self,
        name: str,
        model: str,
        weights: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        options: dict[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        self.load_as = (model, weights, device, precision)
        self.options = _taken(model, weights, options or {})
        super().__init__(name, self._key(), is_baseline=False, step=step)

    def _key(self) -> str:
        from coloria import weights
        from coloria.device import pick_device, pick_precision

        model, choice, name, precision = self.load_as
        path, device = weights.find(model, choice).path, pick_device(name)
        dtype = pick_precision(precision, device)
        return digest(model, path, device.type, str(dtype), self.options)

    @cached_property
    def colorizer(self) -> Colorizer:
        """The model, warmed up: the first run of a network is slower than the others."""
        import numpy as np

        from coloria.colorizer import load

        colorizer = load(*self.load_as)
        colorizer.colorize(np.zeros((64, 64), np.uint8), borders=False, **self.options)
        return colorizer

    def color(self, photograph: Photograph, truth: Pixels, size: int | None) -> Pixels:
        """Colours the grey picture; a photograph made grey has no scan border to leave out."""
        result: Pixels = self.colorizer.colorize(gray_of(truth), borders=False, **self.options)
        return result

    def timed(
        self, photograph: Photograph, truth: Pixels, size: int | None
    ) -> tuple[Pixels, float]:
        """As :meth:`Row.timed`, without the time that loading takes."""
        _ = self.colorizer
        return super().timed(photograph, truth, size)


def coloring(render_size: int | None, class_: int | str | None, seed: int) -> dict[str, Any]:
    """The options of a :class:`ModelRow`, which leaves out what its weights do not take."""
    sized = {} if render_size is None else {"render_size": render_size}
    return {**sized, "class_": class_, "seed": seed}


def _taken(model: str, choice: str, options: dict[str, Any]) -> dict[str, Any]:
    """Those that these weights take, the class as its number: figures belong together where these
    are equal.
    """
    from coloria import weights
    from coloria.classes import chosen

    taken = {name: value for name, value in options.items() if name not in ("class_", "seed")}
    if registry.get(model).draws:
        taken["seed"] = options.get("seed", 0)
        count = weights.classes(model, weights.find(model, choice))
        if count:
            taken["class_"] = chosen(options.get("class_"), count)
    return taken


class FolderRow(Row):
    """Results that were made elsewhere."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "", is_baseline=False)

    def color(self, photograph: Photograph, truth: Pixels, size: int | None) -> Pixels:
        """Reads the result."""
        if photograph.prediction is None:
            raise TypeError(f"{photograph.name} has no result")
        return pixels(photograph.prediction, size)

    def timed(
        self, photograph: Photograph, truth: Pixels, size: int | None
    ) -> tuple[Pixels, float]:
        """Nobody knows how long it took."""
        return self.color(photograph, truth, size), float("nan")


def model_name(name: str, weights: str) -> str:
    """How a row is called: the model, and its weights where they are not the usual ones."""
    return name if weights == "auto" else f"{name} ({Path(weights).stem})"
