"""Grey as old film gives it: what a colouring network has to cope with.

A black-and-white photograph is not the luma of a colour photograph: the emulsion weighs the
colours its own way, the print has faded, the grain shows, and the scan was saved as JPEG.
:class:`Film` draws such effects for a share of the samples, in the order in which they happen to
a photograph: lens (blur), emulsion (mix of the colours), grain, development (gamma), ageing
(fading), scan (JPEG). Only the network's input is changed, never the truth.

The mixes are weights on *linear* red, green and blue, because film adds up light. They follow
from where emulsions are sensitive: silver halide by itself up to about 500 nm (blue),
orthochromatic film up to about 590 nm (Langford, *Basic Photography*, 7th ed., p. 158), hence to
blue and green, and hardly to the red primary of sRGB with its dominant wavelength near 611 nm;
panchromatic film to the whole visible range, with more blue than the eye unless a yellow filter
is in front of the lens. The figures are ours, chosen by that; the scatter about them stands for
the variety of makes, light and filters.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MIXES", "Effects", "Film", "Mix", "develop"]


class Mix(NamedTuple):
    """How a kind of film weighs the colours."""

    name: str
    odds: float
    """How often it is drawn, relative to the others."""
    weights: tuple[float, float, float]
    """On linear red, green, blue; their sum is 1."""


MIXES = (
    Mix("panchromatic", 0.40, (0.28, 0.40, 0.32)),
    Mix("yellow filter", 0.22, (0.35, 0.53, 0.12)),
    Mix("red filter", 0.08, (0.72, 0.24, 0.04)),
    Mix("orthochromatic", 0.24, (0.04, 0.46, 0.50)),
    Mix("blue-sensitive", 0.06, (0.01, 0.12, 0.87)),
)

CONCENTRATION = 40.0
"""Of the Dirichlet distribution about a mix: the weights scatter by about 0.08 each way."""


@dataclass(frozen=True)
class Effects:
    """What was drawn for one sample; the defaults change nothing."""

    mix: tuple[float, float, float] | None = None
    """Weights on linear red, green, blue; ``None`` for Pillow's luma."""
    blur: float = 0.0
    """Standard deviation in pixels."""
    grain: NDArray[np.float32] | None = None
    """``(S, S)`` noise with the share of full range as its unit, about 0."""
    gamma: float = 1.0
    """Exponent on the grey value."""
    black: float = 0.0
    """What black becomes, 0..1."""
    white: float = 1.0
    """What white becomes, 0..1."""
    quality: int | None = None
    """JPEG quality; ``None`` for no JPEG."""


@dataclass(frozen=True)
class Film:
    """How often, and how far, the grey input departs from plain luma.

    Attributes:
        share: share of the samples that get any effect; the others are plain luma.
        mix: probability of another mix of the colours than luma, among those samples. This
            and the following are independent of each other.
        blur: probability of blur.
        blur_sigma: range of its standard deviation, in pixels of the network's input.
        grain: probability of grain.
        grain_level: range of its standard deviation at mid-grey, as a share of full range.
        grain_size: range of the distance over which it is alike, in pixels.
        gamma: probability of another gamma.
        gamma_range: range of the exponent (log-uniform).
        fading: probability of fading.
        black: highest value that black is lifted to, 0..1.
        white: lowest value that white is lowered to, 0..1.
        jpeg: probability of a JPEG round trip.
        quality: range of its quality, in Pillow's units (1..95).
        mixes: the kinds of film.
    """

    share: float = 0.5
    mix: float = 0.6
    blur: float = 0.3
    blur_sigma: tuple[float, float] = (0.3, 1.0)
    grain: float = 0.4
    grain_level: tuple[float, float] = (0.01, 0.05)
    grain_size: tuple[float, float] = (1.0, 2.0)
    gamma: float = 0.5
    gamma_range: tuple[float, float] = (0.7, 1.45)
    fading: float = 0.4
    black: float = 0.15
    white: float = 0.85
    jpeg: float = 0.4
    quality: tuple[int, int] = (40, 92)
    mixes: tuple[Mix, ...] = MIXES

    def draw(self, rng: np.random.Generator, size: int) -> Effects | None:
        """The effects on one sample of ``size`` pixels a side; ``None`` for plain luma."""
        if rng.random() >= self.share:
            return None
        chosen = rng.random(6) < (
            self.mix,
            self.blur,
            self.grain,
            self.gamma,
            self.fading,
            self.jpeg,
        )
        mix, blur, grain, gamma, fading, jpeg = chosen.tolist()
        return Effects(
            mix=self._mix(rng) if mix else None,
            blur=rng.uniform(*self.blur_sigma) if blur else 0.0,
            grain=self._grain(rng, size) if grain else None,
            gamma=math.exp(rng.uniform(*np.log(self.gamma_range))) if gamma else 1.0,
            black=rng.uniform(0, self.black) if fading else 0.0,
            white=rng.uniform(self.white, 1) if fading else 1.0,
            quality=int(rng.integers(*self.quality, endpoint=True)) if jpeg else None,
        )

    def _mix(self, rng: np.random.Generator) -> tuple[float, float, float]:
        odds = np.array([mix.odds for mix in self.mixes])
        kind = self.mixes[rng.choice(len(odds), p=odds / odds.sum())].weights
        red, green, blue = rng.dirichlet(np.maximum(kind, 0.01) * CONCENTRATION)
        return red, green, blue

    def _grain(self, rng: np.random.Generator, size: int) -> NDArray[np.float32]:
        level, spacing = rng.uniform(*self.grain_level), rng.uniform(*self.grain_size)
        side = max(2, round(size / spacing))
        noise = rng.standard_normal((side, side), dtype=np.float32)
        image = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
        grain = np.asarray(image)
        return np.asarray(grain * (level / grain.std()), dtype=np.float32)


def develop(
    gray: torch.Tensor, rgb: torch.Tensor, effects: Sequence[Effects | None]
) -> torch.Tensor:
    """The grey pictures with their effects.

    Args:
        gray: ``(B, 1, S, S)`` luma, 0..1.
        rgb: ``(B, 3, S, S)`` sRGB, 0..1; read only.
        effects: one a picture; ``None`` keeps its luma.

    Returns:
        ``(B, 1, S, S)``, 0..1, a new tensor, in steps of 1/255.
    """
    gray = gray.clone()
    rows = [row for row, effect in enumerate(effects) if effect is not None]
    if rows:
        drawn = [effect for effect in effects if effect is not None]
        gray[rows] = _develop(gray[rows], rgb[rows], drawn)
    return gray


def _develop(gray: torch.Tensor, rgb: torch.Tensor, effects: list[Effects]) -> torch.Tensor:
    mixed = [row for row, effect in enumerate(effects) if effect.mix is not None]
    if mixed:
        weights = _tensor([effects[row].mix for row in mixed], gray)
        gray[mixed] = _mixed(rgb[mixed], weights)
    blurred = [row for row, effect in enumerate(effects) if effect.blur > 0]
    if blurred:
        gray[blurred] = _blurred(gray[blurred], _tensor([effects[r].blur for r in blurred], gray))
    grainy = [row for row, effect in enumerate(effects) if effect.grain is not None]
    if grainy:
        grain = np.stack([np.asarray(effects[row].grain) for row in grainy])
        gray[grainy] = _grainy(gray[grainy], torch.from_numpy(grain)[:, None].to(gray.device))
    tones = [(effect.gamma, effect.black, effect.white) for effect in effects]
    toned = [row for row, tone in enumerate(tones) if tone != (1.0, 0.0, 1.0)]
    if toned:
        gray[toned] = _toned(gray[toned], _tensor([tones[row] for row in toned], gray))
    gray = torch.round(gray * 255)
    saved = [row for row, effect in enumerate(effects) if effect.quality is not None]
    if saved:
        gray[saved] = _jpeg(gray[saved], [effects[row].quality or 0 for row in saved])
    return gray / 255


def _tensor(values: object, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)


def _mixed(rgb: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted sum of linear light, encoded again (IEC 61966-2-1's curve as a power of 2.2)."""
    light = (rgb**2.2 * weights[:, :, None, None]).sum(1, keepdim=True)
    return light ** (1 / 2.2)


def _blurred(gray: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    count, reach = len(gray), math.ceil(3 * float(sigma.max()))
    reach = min(reach, gray.shape[-1] - 1)
    steps = torch.arange(-reach, reach + 1, device=gray.device, dtype=gray.dtype)
    kernel = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)  # (B, 2 reach + 1)
    wide = F.pad(gray, (reach, reach, reach, reach), mode="reflect").transpose(0, 1)
    wide = F.conv2d(wide, kernel[:, None, :, None], groups=count)
    return F.conv2d(wide, kernel[:, None, None, :], groups=count).transpose(0, 1)


def _grainy(gray: torch.Tensor, grain: torch.Tensor) -> torch.Tensor:
    """Grain is strongest at mid-grey and half as strong at black and white."""
    return (gray + grain * (0.5 + 2 * gray * (1 - gray))).clamp(0, 1)


def _toned(gray: torch.Tensor, tone: torch.Tensor) -> torch.Tensor:
    gamma, black, white = tone.view(-1, 3, 1, 1, 1).unbind(1)
    return black + (white - black) * gray.clamp(0, 1) ** gamma


def _jpeg(gray: torch.Tensor, qualities: list[int]) -> torch.Tensor:
    """A real JPEG round trip of ``(B, 1, S, S)`` whole values 0..255."""
    pictures = gray[:, 0].to(torch.uint8).cpu().numpy()
    pairs = zip(pictures, qualities, strict=True)
    saved = np.stack([_round_trip(picture, quality) for picture, quality in pairs])
    return torch.from_numpy(saved)[:, None].to(gray)


def _round_trip(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)
