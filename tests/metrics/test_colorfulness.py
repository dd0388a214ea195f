"""M3 of Hasler and Süsstrunk against values worked out by hand and an independent formula."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from coloria.metrics.colorfulness import Form, colorfulness

RED, GREEN, GRAY = (255, 0, 0), (0, 255, 0), (90, 90, 90)


def halves(first: tuple[int, int, int], second: tuple[int, int, int]) -> np.ndarray:
    return np.array([[first] * 4, [second] * 4], dtype=np.uint8)


# Solid colours have no spread: 0.3 * sqrt(255^2 + 127.5^2) = 85.53. Half red, half green: rg is
# +-255 (spread 255, mean 0), yb is 127.5 everywhere: 255 + 0.3 * 127.5 = 293.25; with |rg| the
# spread vanishes and the value is that of solid red.
@pytest.mark.parametrize(
    ("picture", "form", "value"),
    [
        (halves(GRAY, GRAY), "signed", 0.0),
        (halves(GRAY, GRAY), "absolute", 0.0),
        (halves(RED, RED), "signed", 85.53),
        (halves(RED, RED), "absolute", 85.53),
        (halves(RED, GREEN), "signed", 293.25),
        (halves(RED, GREEN), "absolute", 85.53),
    ],
)
def test_known_values(picture: np.ndarray, form: Form, value: float) -> None:
    assert colorfulness(picture, form) == pytest.approx(value, abs=0.005)


# Uniform noise: expected values 138.79 and 113.44; 200 000 pixels leave about 0.2 of scatter.
@pytest.mark.parametrize(("form", "value"), [("signed", 138.79), ("absolute", 113.44)])
def test_uniform_noise(form: Form, value: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    assert colorfulness(noise, form) == pytest.approx(value, abs=0.6)


def slow(picture: np.ndarray) -> float:
    """The paper's formula pixel by pixel, by the statistics module."""
    pixels = [tuple(map(int, pixel)) for pixel in picture.reshape(-1, 3)]
    rg = [r - g for r, g, _ in pixels]
    yb = [(r + g) / 2 - b for r, g, b in pixels]
    spread = statistics.pstdev(rg) ** 2 + statistics.pstdev(yb) ** 2
    shift = statistics.fmean(rg) ** 2 + statistics.fmean(yb) ** 2
    return spread**0.5 + 0.3 * shift**0.5


def test_equals_the_formula_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (3, 7, 5, 3), dtype=np.uint8)
    pictures[1] //= 4
    values = colorfulness(pictures)
    assert values.shape == (3,)
    assert values == pytest.approx([slow(picture) for picture in pictures], rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 4), (3, 8, 8), (0, 4, 3)])
def test_refuses_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., H, W, 3\)"):
        colorfulness(np.zeros(shape))


def test_refuses_an_unknown_form() -> None:
    with pytest.raises(ValueError, match="'squared'"):
        colorfulness(np.zeros((2, 2, 3)), "squared")  # type: ignore[arg-type]
