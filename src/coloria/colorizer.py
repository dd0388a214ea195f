"""The one interface of every model, and the picture path that they share.

A picture is read, made grey, sized for the network, coloured, and its chroma joined with its own
lightness at full resolution. The network only maps tensors; everything else is here, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from coloria import images
from coloria.borders import Box, find_border
from coloria.classes import Label
from coloria.color import TONE_RANGES, Tone
from coloria.device import autocast, memory_guard, pick_device, pick_precision
from coloria.errors import OptionError, WeightsMismatchError, did_you_mean
from coloria.images import Picture, Source
from coloria.join import Chroma, join, transfer_legacy, transfer_luma
from coloria.models import registry
from coloria.models.registry import Backbone, Model
from coloria.network_input import network_input
from coloria.variants import Variants
from coloria.weightfile import Card
from coloria.weights import Found, find, read

Luma = Literal["lab", "deoldify", "legacy"]

LUMAS: tuple[Luma, ...] = ("lab", "deoldify", "legacy")
"""How lightness and colour are joined: in Lab, by DeOldify's 8-bit YUV transfer, or as BigColor
does, with the grey value for the lightness."""

FACTOR_PIXELS = 16
"""A render factor counts in units of this many pixels (DeOldify)."""

SIZE_RANGE = (16, 2048)
"""Shortest and longest side, in pixels, at which a network is run."""


@dataclass(frozen=True)
class Prediction:
    """What the network saw in one picture; `render` makes the result, as often as one likes."""

    picture: Picture
    chroma: Chroma
    label: Label | None = None
    """What it was coloured as, by a network that knows classes."""

    def render(self, luma: Luma = "lab", tone: Tone | None = None) -> Picture:
        """The coloured picture, of the size of the original.

        Args:
            luma: How lightness and colour are joined.
            tone: Strength, saturation, warmth, contrast and brightness.

        Raises:
            OptionError: `luma` is unknown, or a tone was asked for with one that takes none.
        """
        tone = tone or Tone()
        if luma == "lab":
            return join(self.picture, self.chroma, tone)
        if luma not in LUMAS:
            raise OptionError(f"luma must be one of {', '.join(LUMAS)}; got {luma!r}")
        if tone != Tone():
            raise OptionError(
                f'luma="{luma}" reproduces the original program and takes no strength, '
                'saturation, warmth, contrast or brightness: use luma="lab"'
            )
        transfer = transfer_luma if luma == "deoldify" else transfer_legacy
        return transfer(self.picture, self.chroma)


class Colorizer:
    """Colours pictures with one model. Make it with :func:`load`.

    Attributes:
        model: What the registry says of the model.
        found: Which weights it uses, and a sentence on where they come from.
        device: Where it runs.
        dtype: In which precision the network multiplies.
    """

    def __init__(
        self,
        model: Model,
        backbone: Backbone,
        *,
        found: Found,
        card: Card | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.backbone = model, backbone
        self.found, self.card = found, card
        self.device, self.dtype = device, dtype

    def colorize(
        self,
        source: Source,
        *,
        render_size: int | None = None,
        render_factor: int | None = None,
        class_: int | str | None = None,
        seed: int = 0,
        z_std: float | None = None,
        luma: Luma = "lab",
        borders: bool = True,
        max_pixels: int = images.MAX_PIXELS,
        **tone: float,
    ) -> Any:
        """Colours one picture.

        Args:
            source: A path, the bytes of a file, an open binary file, a PIL image, or an array
                (H, W) or (H, W, 3 or 4), uint8 or uint16.
            render_size: Short side, in pixels, at which the network runs; the aspect is kept.
            render_factor: The network runs on a square of 16 times this side, as DeOldify does.
            class_: For `bigcolor` with classes: number or name of what the picture shows, or
                "auto" (the default) for what a classifier sees.
            seed: For `bigcolor`: which of its many colourings; the same seed, the same picture.
            z_std: For `bigcolor`: how far its colourings are apart; 0.8 if not given.
            luma: "lab" keeps L* of the original; "deoldify" is the original program's YUV
                transfer, bit for bit; "legacy" is BigColor's L* = 100 * grey.
            borders: Leave plain scan borders uncoloured (only with luma "lab").
            max_pixels: Refuse larger pictures before decoding them.
            **tone: The fields of :class:`coloria.color.Tone`.

        Returns:
            A PIL image of the same size; for an array an array (H, W, 3 or 4) of its dtype.

        Raises:
            PictureError: The picture cannot be read.
            OptionError: An option is out of its range.
            OutOfMemoryError: The device has too little memory for this size.
        """
        wanted = make_tone(tone)
        prediction = self.predict(
            images.read(source, max_pixels=max_pixels),
            render_size=render_size,
            render_factor=render_factor,
            class_=class_,
            seed=seed,
            z_std=z_std,
            borders=borders and luma == "lab",
        )
        return images.give_back(prediction.render(luma, wanted))

    def colorize_samples(
        self, source: Source, samples: int, *, seed: int = 0, **options: Any
    ) -> list[Any]:
        """So many colourings of one picture, with the seeds `seed`, `seed` + 1 and so on.

        Takes the options of :meth:`colorize`; each result is what that gives for its seed.

        Raises:
            OptionError: The model gives one answer only, or fewer than one was asked for.
        """
        if samples < 1:
            raise OptionError(f"samples must be at least 1; got {samples}")
        if samples > 1 and not self.draws:
            raise OptionError(
                f"{self.model.name} gives one answer: samples are for bigcolor, which gives many"
            )
        return [self.colorize(source, seed=seed + i, **options) for i in range(samples)]

    @property
    def draws(self) -> bool:
        """Whether it gives many answers, told apart by their seeds."""
        return hasattr(self.backbone, "dim_z")

    def colorize_batch(
        self,
        sources: Sequence[Source],
        *,
        batch_size: int = 8,
        render_size: int | None = None,
        render_factor: int | None = None,
        class_: int | str | None = None,
        seed: int = 0,
        z_std: float | None = None,
        luma: Luma = "lab",
        borders: bool = True,
        max_pixels: int = images.MAX_PIXELS,
        **tone: float,
    ) -> list[Any]:
        """Colours several pictures; those of one size for the network run together.

        Takes a sequence of what :meth:`colorize` takes, and gives a list in the same order.
        `batch_size` is how many run together at most; the rest is as there.
        """
        wanted = make_tone(tone)
        pictures = [images.read(source, max_pixels=max_pixels) for source in sources]
        predictions = self.predict_batch(
            pictures,
            batch_size=batch_size,
            render_size=render_size,
            render_factor=render_factor,
            class_=class_,
            seed=seed,
            z_std=z_std,
            borders=borders and luma == "lab",
        )
        return [images.give_back(p.render(luma, wanted)) for p in predictions]

    def predict(self, picture: Picture, **options: Any) -> Prediction:
        """Runs the network on one picture; takes the sizes, `borders`, class and random vector of
        :meth:`colorize`.
        """
        return self.predict_batch([picture], **options)[0]

    def predict_batch(
        self,
        pictures: Sequence[Picture],
        *,
        batch_size: int = 8,
        render_size: int | None = None,
        render_factor: int | None = None,
        class_: int | str | None = None,
        seed: int | Sequence[int] = 0,
        z_std: float | None = None,
        borders: bool = True,
    ) -> list[Prediction]:
        """Runs the network on several pictures, those of one network size together.

        `seed` is one for all, or one for each; the rest is as in :meth:`colorize`.
        """
        if batch_size < 1:
            raise OptionError(f"batch_size must be at least 1; got {batch_size}")
        seeds = [seed] * len(pictures) if isinstance(seed, int) else seed
        variants = Variants(self.model.name, self.backbone, class_=class_, seeds=seeds, z_std=z_std)
        boxes = [find_border(p.gray()) if borders else Box.whole(p) for p in pictures]
        sizes = [self._size(box, render_size, render_factor) for box in boxes]
        labels = variants.labels(pictures, boxes)
        results: list[Prediction | None] = [None] * len(pictures)
        for size in dict.fromkeys(sizes):
            same = [i for i, other in enumerate(sizes) if other == size]
            for start in range(0, len(same), batch_size):
                part = same[start : start + batch_size]
                grays = [network_input(pictures[i], boxes[i], size, self.resize) for i in part]
                colors = self._run(np.stack(grays), variants.inputs(labels, part))
                for i, rgb in zip(part, colors, strict=True):
                    results[i] = Prediction(pictures[i], Chroma(rgb, boxes[i]), labels[i])
        return [result for result in results if result is not None]

    @property
    def resize(self) -> str:
        """How pictures are brought to the network's size: what the weight file says, else
        DeOldify's bilinear.
        """
        return str(self._said("resize", "bilinear"))

    @property
    def mirror(self) -> bool:
        """Whether the result is the mean with that of the mirror image: steadier, twice the
        work. What the weight file says, else not.
        """
        return bool(self._said("mirror", False))

    def _said(self, key: str, other: Any) -> Any:
        return self.card.preprocessing.get(key, other) if self.card else other

    def _size(
        self, box: Box, render_size: int | None, render_factor: int | None
    ) -> tuple[int, int]:
        """Height and width, in pixels, at which the network runs."""
        if render_size is not None and render_factor is not None:
            raise OptionError("give render_size or render_factor, not both")
        if render_size is None and render_factor is None:
            render_size = self.card.default_size if self.card else None
            render_size = render_size or self.model.render_size
            render_factor = None if render_size else self.model.render_factor
        if render_factor is not None:
            side = _in_range("render_factor", render_factor, FACTOR_PIXELS)
            return side, side
        short = _in_range("render_size", render_size or SIZE_RANGE[0], 1)
        sides = (box.height, box.width)
        scale = min(short / min(sides), SIZE_RANGE[1] / max(sides))
        return (self._side(box.height * scale), self._side(box.width * scale))

    def _side(self, length: float) -> int:
        """The nearest side the network can take."""
        multiple = self.backbone.multiple
        return max(round(length / multiple) * multiple, self.backbone.minimum)

    def _run(
        self, grays: NDArray[np.uint8], chosen: Mapping[str, torch.Tensor]
    ) -> NDArray[np.float32]:
        """The network: (B, H, W) uint8 grey, and what it takes beside it by name, (B, ...), to
        (B, H, W, 3) float32 sRGB, not clipped.
        """
        size = f"{len(grays)} picture(s) at {grays.shape[2]}x{grays.shape[1]}"
        advice = "use a smaller render_size or render_factor, a smaller batch_size, or device cpu"
        with memory_guard(size, self.device, advice), torch.inference_mode():
            x = torch.from_numpy(grays)[:, None].to(self.device, torch.float32) / 255
            more = {name: value.to(self.device) for name, value in chosen.items()}
            if self.mirror:
                x = torch.cat([x, x.flip(-1)])
                more = {name: torch.cat([value, value]) for name, value in more.items()}
            with autocast(self.device, self.dtype):
                x = x.contiguous(memory_format=torch.channels_last)
                rgb: torch.Tensor = cast(Any, self.backbone).colorize(x, **more)
            if self.mirror:
                rgb = (rgb[: len(grays)] + rgb[len(grays) :].flip(-1)) / 2
            result: NDArray[np.float32] = rgb.float().permute(0, 2, 3, 1).cpu().numpy()
        return result


def load(
    name: str,
    weights: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> Colorizer:
    """A colorizer, ready to use.

    Args:
        name: A model or its alias; ``coloria models`` lists them.
        weights: "auto" (the released ones when they are in the cache, else the embedded ones),
            "embedded", "released", "released:NAME", or the path of a file.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto" (bfloat16 where the hardware multiplies it natively, else float32),
            "fp32", "bf16" or "fp16".

    Raises:
        UnknownNameError: No such model.
        WeightsError: The weights are missing, damaged, or of another model.
        DeviceError: The device is not there.
    """
    model = registry.get(name)
    where = pick_device(device)
    dtype = pick_precision(precision, where)
    found = find(model.name, weights)
    state, card = read(found, model.name)
    if card and card.model != model.name:
        raise WeightsMismatchError(
            f"wanted weights of {model.name!r}; {found.path} holds weights of {card.model!r}: use "
            f"the model {card.model!r}, or another file"
        )
    config, coding = (card.config, card.preprocessing) if card else (None, None)
    backbone = model.family().load(model.name, state, config, coding)
    backbone.to(device=where, memory_format=torch.channels_last)
    return Colorizer(model, backbone, found=found, card=card, device=where, dtype=dtype)


def make_tone(options: dict[str, float]) -> Tone:
    """The tone of keyword arguments.

    Raises:
        OptionError: One of them is none of its fields.
    """
    for name in options:
        if name not in TONE_RANGES:
            raise OptionError(
                f"unknown option {name!r}{did_you_mean(name, TONE_RANGES)}; "
                f"there are: {', '.join(TONE_RANGES)}"
            )
    return Tone(**options)


def _in_range(name: str, value: int, unit: int) -> int:
    """That many units in pixels, checked."""
    low, high = (-(-SIZE_RANGE[0] // unit), SIZE_RANGE[1] // unit)
    if not low <= value <= high:
        raise OptionError(f"{name} must lie in {low}..{high}; got {value}")
    return value * unit
