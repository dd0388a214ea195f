"""Film effects: only the grey changes, each effect does what it says, draws are reproducible."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from coloria.train.film import MIXES, Effects, Film, develop

NONE = Film(share=1.0, mix=0, blur=0, grain=0, gamma=0, fading=0, jpeg=0)


@pytest.fixture
def rgb() -> torch.Tensor:
    """Two smooth coloured pictures (2, 3, 32, 32) in steps of 1/255."""
    noise = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise, size=32, mode="bilinear")
    return smooth.mul(255).round() / 255


@pytest.fixture
def gray(rgb: torch.Tensor) -> torch.Tensor:
    return rgb.mean(1, keepdim=True).mul(255).round() / 255


def one(gray: torch.Tensor, rgb: torch.Tensor, effects: Effects) -> np.ndarray:
    """The first picture with the effects, as (32, 32) numbers 0..255; the second has none."""
    result = develop(gray, rgb, [effects, None])
    assert torch.equal(result[1], gray[1])
    return result[0, 0].mul(255).numpy()


def test_all_effects_leave_the_truth_alone(gray: torch.Tensor, rgb: torch.Tensor) -> None:
    film = replace(Film(), share=1.0, mix=1, blur=1, grain=1, gamma=1, fading=1, jpeg=1)
    effects = [film.draw(np.random.default_rng(k), 32) for k in range(2)]
    before = gray.clone(), rgb.clone()
    result = develop(gray, rgb, effects)
    assert torch.equal(gray, before[0])
    assert torch.equal(rgb, before[1])
    assert not torch.equal(result, gray)
    assert result.shape == gray.shape
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert torch.equal(result, result.mul(255).round() / 255)


def test_no_effect_is_plain(gray: torch.Tensor, rgb: torch.Tensor) -> None:
    assert torch.equal(develop(gray, rgb, [Effects(), None]), gray)
    assert NONE.draw(np.random.default_rng(0), 8) == Effects()


def test_mix_weighs_linear_light(gray: torch.Tensor, rgb: torch.Tensor) -> None:
    weights = (0.04, 0.46, 0.50)
    r, g, b = rgb[0].numpy().astype(np.float64)
    linear = weights[0] * r**2.2 + weights[1] * g**2.2 + weights[2] * b**2.2
    wanted = np.rint(255 * linear ** (1 / 2.2))
    # one level for float32 next to a rounding boundary
    np.testing.assert_allclose(one(gray, rgb, Effects(mix=weights)), wanted, atol=1.01)


def test_orthochromatic_film_is_blind_to_red_and_pan_film_is_not() -> None:
    red, blue = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    red[:, 0], blue[:, 2] = 1, 1
    tones = {}
    for mix in MIXES:
        assert sum(mix.weights) == pytest.approx(1)
        effects = [Effects(mix=mix.weights)]
        grays = [develop(torch.zeros(1, 1, 8, 8), rgb, effects) for rgb in (red, blue)]
        tones[mix.name] = [float(gray.mean()) for gray in grays]
    for name in ("orthochromatic", "blue-sensitive"):
        assert tones[name][0] < 0.25 < 0.7 < tones[name][1]
    assert tones["red filter"][0] > 0.8 > 0.25 > tones["red filter"][1]


# 0.6 is the largest difference that rounding to whole levels and a kernel cut at 3 sigma leave.
@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_blur_is_gaussian(gray: torch.Tensor, rgb: torch.Tensor, sigma: float) -> None:
    wanted = gaussian_filter(gray[0, 0].numpy() * 255, sigma, mode="mirror", truncate=6)
    np.testing.assert_allclose(one(gray, rgb, Effects(blur=sigma)), wanted, atol=0.6)


def test_blurs_of_one_batch_are_independent(gray: torch.Tensor, rgb: torch.Tensor) -> None:
    effects = [Effects(blur=0.5), Effects(blur=1.0)]
    together = develop(gray, rgb, effects)
    for row in range(2):
        alone = develop(gray[row : row + 1], rgb[row : row + 1], effects[row : row + 1])
        assert torch.equal(together[row], alone[0])


def test_tone_is_gamma_then_fading(gray: torch.Tensor, rgb: torch.Tensor) -> None:
    toned = one(gray, rgb, Effects(gamma=1.3, black=0.1, white=0.9))
    wanted = 255 * (0.1 + 0.8 * gray[0, 0].numpy().astype(np.float64) ** 1.3)
    np.testing.assert_allclose(toned, wanted, atol=0.51)


def test_jpeg_is_pillows(gray: torch.Tensor, rgb: torch.Tensor) -> None:
    file = io.BytesIO()
    values = gray[0, 0].mul(255).round().to(torch.uint8).numpy()
    Image.fromarray(values).save(file, "JPEG", quality=40)
    wanted = np.asarray(Image.open(file))
    assert not np.array_equal(wanted, values)
    np.testing.assert_array_equal(np.rint(one(gray, rgb, Effects(quality=40))), wanted)


def test_grain_has_its_level_and_is_spatially_alike() -> None:
    film = replace(NONE, grain=1.0, grain_level=(0.03, 0.03), grain_size=(2.0, 2.0))
    effects = film.draw(np.random.default_rng(0), 128)
    flat = torch.full((1, 1, 128, 128), 0.5)
    grain = develop(flat, flat.expand(-1, 3, -1, -1), [effects])[0, 0].numpy() - 0.5
    assert grain.std() == pytest.approx(0.03, rel=0.03)
    assert abs(grain.mean()) < 0.003
    neighbours = np.corrcoef(grain[:, :-1].ravel(), grain[:, 1:].ravel())[0, 1]
    far = np.corrcoef(grain[:, :-8].ravel(), grain[:, 8:].ravel())[0, 1]
    assert neighbours > 0.5
    assert abs(far) < 0.05


def test_grain_is_weaker_in_black_and_white() -> None:
    effects = replace(NONE, grain=1.0).draw(np.random.default_rng(0), 64)
    spread = []
    for level in (0.12, 0.5, 0.88):
        flat = torch.full((1, 1, 64, 64), level)
        spread.append(float(develop(flat, flat.expand(-1, 3, -1, -1), [effects]).std()))
    assert max(spread[0], spread[2]) < 0.8 * spread[1]


def test_each_effect_comes_as_often_as_said() -> None:
    film = Film(share=0.5, mix=0.6, blur=0.3, grain=0.4, gamma=0.5, fading=0.4, jpeg=0.2)
    drawn = [film.draw(np.random.default_rng([7, k]), 4) for k in range(2000)]
    some = [effects for effects in drawn if effects]
    rate = len(some) / len(drawn)
    assert rate == pytest.approx(0.5, abs=0.04)  # 3.5 standard deviations
    rates = {
        "mix": [effects.mix is not None for effects in some],
        "blur": [effects.blur > 0 for effects in some],
        "grain": [effects.grain is not None for effects in some],
        "gamma": [effects.gamma != 1 for effects in some],
        "fading": [effects.white < 1 for effects in some],
        "jpeg": [effects.quality is not None for effects in some],
    }
    for name, there in rates.items():
        assert np.mean(there) == pytest.approx(getattr(film, name), abs=0.055), name


def test_draws_stay_in_their_ranges() -> None:
    film = replace(NONE, mix=1, blur=1, gamma=1, fading=1, jpeg=1)
    for k in range(300):
        effects = film.draw(np.random.default_rng(k), 4)
        assert effects is not None
        assert effects.mix is not None
        assert sum(effects.mix) == pytest.approx(1)
        assert film.blur_sigma[0] <= effects.blur <= film.blur_sigma[1]
        assert film.gamma_range[0] <= effects.gamma <= film.gamma_range[1]
        assert 0 <= effects.black <= film.black
        assert film.white <= effects.white <= 1
        assert film.quality[0] <= (effects.quality or 0) <= film.quality[1]


def test_film_leaves_a_photograph_recognisable() -> None:
    """The worst of 60 draws still resembles its picture: not destroyed, only aged."""
    base = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 60).filter(ImageFilter.BLUR)
    flat = torch.from_numpy(np.array(base)).float()[None, None] / 255
    film = Film(share=1.0)
    for k in range(60):
        aged = develop(flat, flat.expand(-1, 3, -1, -1), [film.draw(np.random.default_rng(k), 96)])
        assert np.corrcoef(aged.ravel(), flat.ravel())[0, 1] > 0.8
