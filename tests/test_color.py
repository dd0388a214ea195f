"""Colour conversions against scikit-image, and what gamut and tone promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color as oracle

from coloria.color import (
    TONE_RANGES,
    Tone,
    fit_gamut,
    lab_to_srgb,
    lightness,
    rgb_to_yuv_u8,
    srgb_to_lab,
    transfer_chroma_u8,
    yuv_to_rgb_u8,
)
from coloria.errors import OptionError

# Largest difference to float64: a few units in the last place of L* = 100.
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_lab_is_scikit_images(dtype: torch.dtype) -> None:
    rgb = np.random.default_rng(0).random((3, 40, 50))
    ours = srgb_to_lab(torch.from_numpy(rgb).to(dtype)).numpy()
    want = np.moveaxis(oracle.rgb2lab(np.moveaxis(rgb, 0, -1)), -1, 0)
    np.testing.assert_allclose(ours, want, atol=TOLERANCE[dtype])


def test_srgb_is_scikit_images() -> None:
    rgb = np.random.default_rng(1).random((3, 40, 50))
    lab = np.moveaxis(oracle.rgb2lab(np.moveaxis(rgb, 0, -1)), -1, 0)
    np.testing.assert_allclose(lab_to_srgb(torch.from_numpy(lab)).numpy(), rgb, atol=1e-5)


def test_every_grey_level_survives_the_way_through_lab() -> None:
    gray = torch.arange(256.0).view(1, 1, 256) / 255
    lab = torch.cat([lightness(gray), torch.zeros(2, 1, 256)])
    back = (fit_gamut(lab) * 255).round()
    assert (back == torch.arange(256.0)).all()


@settings(max_examples=40, deadline=None)
@given(
    light=st.floats(0, 100),
    a=st.floats(-160, 160),
    b=st.floats(-160, 160),
)
def test_gamut_keeps_lightness_and_hue(light: float, a: float, b: float) -> None:
    lab = torch.tensor([light, a, b]).view(3, 1, 1)
    rgb = fit_gamut(lab.clone())
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    L, a2, b2 = oracle.rgb2lab(rgb.view(3).numpy().astype(np.float64))
    assert pytest.approx(light, abs=0.2) == L
    # The same direction in the (a*, b*) plane, within the grey axis' own rounding.
    assert abs(a2 * b - b2 * a) <= 0.3 * np.hypot(a, b) + 1e-3
    assert np.hypot(a2, b2) <= np.hypot(a, b) + 0.3


def test_gamut_leaves_colours_inside_alone() -> None:
    rgb = torch.rand(3, 30, 30) * 0.98 + 0.01
    torch.testing.assert_close(fit_gamut(srgb_to_lab(rgb)), rgb, atol=1e-4, rtol=0)


def test_gamut_gives_the_most_colourful_that_fits() -> None:
    """A little more chroma would be outside."""
    lab = torch.tensor([60.0, 110.0, -20.0]).view(3, 1, 1)
    fitted = srgb_to_lab(fit_gamut(lab))
    more = fitted.clone()
    more[1:] *= 1.01
    assert ((lab_to_srgb(more) < 0) | (lab_to_srgb(more) > 1)).any()


def test_yuv_is_within_one_level_of_the_real_formula() -> None:
    """OpenCV documents Y = 0.299 R + 0.587 G + 0.114 B, U = 0.492 (B - Y) + 128 and
    V = 0.877 (R - Y) + 128."""
    rgb = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    want = np.stack([y, 0.492 * (b - y) + 128, 0.877 * (r - y) + 128], -1).clip(0, 255)
    assert np.abs(rgb_to_yuv_u8(rgb) - want).max() <= 1


def test_chroma_transfer_keeps_the_luma_of_a_grey_picture() -> None:
    rng = np.random.default_rng(3)
    gray = np.repeat(rng.integers(60, 190, (32, 32, 1), dtype=np.uint8), 3, axis=2)
    tint = np.full((32, 32, 3), (130, 120, 110), np.uint8)
    result = transfer_chroma_u8(gray, tint)
    luma = rgb_to_yuv_u8(result)[..., 0].astype(int)
    assert np.abs(luma - gray[..., 0]).max() <= 1
    assert (result[..., 0] > result[..., 2]).all()  # reddish, not bluish: no BGR mix-up


def test_neutral_chroma_transfer_is_the_identity() -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    neutral = np.full_like(gray, 128)
    assert (transfer_chroma_u8(gray, neutral) == gray).all()
    assert (yuv_to_rgb_u8(rgb_to_yuv_u8(gray)) == gray).all()


@pytest.mark.parametrize("name", list(TONE_RANGES))
def test_tones_outside_their_range_are_refused(name: str) -> None:
    low, high = TONE_RANGES[name]
    for value in (low - 0.01, high + 0.01, float("nan")):
        with pytest.raises(OptionError, match=f"{name} must lie in"):
            Tone(**{name: value})


def test_brightness_keeps_black_and_white() -> None:
    light = torch.tensor([0.0, 50.0, 100.0])
    for brightness in (-1.0, 1.0):
        changed = Tone(brightness=brightness).lightness(light)
        assert changed[[0, 2]].tolist() == [0.0, 100.0]
        assert (changed[1] > 50) == (brightness > 0)


def test_default_tone_changes_nothing() -> None:
    light, ab = torch.rand(1, 4, 4) * 100, torch.randn(2, 4, 4)
    assert torch.equal(Tone().lightness(light), light)
    assert torch.equal(Tone().chroma(ab, light), ab)


def test_warmth_adds_yellow_in_the_middle_only() -> None:
    light = torch.tensor([[[0.0, 50.0, 100.0]]])
    ab = Tone(warmth=1).chroma(torch.zeros(2, 1, 3), light)
    assert ab[:, 0, 1].tolist() == [4.0, 14.0]
    assert ab[:, 0, [0, 2]].abs().max() == 0
