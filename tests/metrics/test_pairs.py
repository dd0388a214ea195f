"""The figures of one picture against values worked out by hand, scikit-image and colour-science."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import torch
from skimage import color
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from coloria.color import lab_to_srgb
from coloria.errors import OptionError, UnknownNameError
from coloria.metrics import delta_e
from coloria.metrics.pairs import (
    ab_mse,
    auc,
    cie76,
    cie94,
    ciede2000,
    cmc,
    delta_colorfulness,
    psnr,
    ssim,
)
from coloria.metrics.sets import DeltaColorfulness

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
PREDICTION = (TRUTH + RNG.integers(-30, 31, TRUTH.shape)).clip(0, 255).astype(np.uint8)


def flat(a: float, b: float) -> np.ndarray:
    """A picture of one colour of lightness 60, as near as 8 bits come."""
    lab = torch.tensor([60.0, a, b]).view(3, 1, 1).expand(3, 16, 16)
    return (lab_to_srgb(lab) * 255).round().byte().permute(1, 2, 0).numpy()


def test_ciede2000_is_the_mean_over_the_pixels() -> None:
    want = color.deltaE_ciede2000(color.rgb2lab(PREDICTION), color.rgb2lab(TRUTH)).mean()
    assert ciede2000(PREDICTION, TRUTH) == pytest.approx(want, abs=1e-4)


def test_psnr() -> None:
    """One level off everywhere: 20 log10(255) = 48.1308 dB."""
    one_off = np.where(TRUTH == 255, 254, TRUTH + 1).astype(np.uint8)
    assert psnr(one_off, TRUTH) == pytest.approx(48.1308, abs=5e-5)
    assert psnr(PREDICTION, TRUTH) == pytest.approx(
        peak_signal_noise_ratio(TRUTH, PREDICTION, data_range=255), rel=1e-12
    )
    assert psnr(TRUTH, TRUTH) == np.inf


@pytest.mark.parametrize("shape", [(40, 50), (11, 30), (64, 11)])
def test_ssim_is_scikit_images_with_wangs_settings(shape: tuple[int, int]) -> None:
    truth = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    blurred = (truth.astype(int) + np.roll(truth, 1, 0)) // 2
    prediction = blurred.astype(np.uint8)
    want = structural_similarity(
        truth,
        prediction,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1,
        data_range=255,
    )
    assert ssim(prediction, truth) == pytest.approx(want, abs=1e-9)


def test_auc_and_ab_mse_of_a_known_distance() -> None:
    """Distances of 75 and of 3, 4, 5 (to the 8 bits of the pictures)."""
    assert auc(TRUTH, TRUTH) == 100
    assert auc(flat(37.5, 0), flat(-37.5, 0)) == pytest.approx(50, abs=0.3)
    assert ab_mse(flat(3, 4), flat(0, 0)) == pytest.approx((9 + 16) / 2, rel=0.1)


def test_auc_and_ab_mse_are_the_definition() -> None:
    one, other = (color.rgb2lab(picture)[..., 1:] for picture in (PREDICTION, TRUTH))
    distance = np.hypot(*np.moveaxis(one - other, -1, 0))
    thresholds = np.linspace(0, 150, 150_001)
    shares = np.searchsorted(np.sort(distance.ravel()), thresholds, side="right") / distance.size
    want = 100 * np.trapezoid(shares, thresholds) / 150
    assert auc(PREDICTION, TRUTH) == pytest.approx(want, abs=1e-3)
    assert ab_mse(PREDICTION, TRUTH) == pytest.approx(((one - other) ** 2).mean(), rel=1e-4)


def test_the_two_delta_colorfulnesses() -> None:
    """Red against grey and grey against red: 85.53 each, and nothing between the means."""
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    gray = np.full_like(red, 90)
    of_the_set = DeltaColorfulness()
    of_the_set.update(red, gray)
    assert of_the_set.compute() == pytest.approx(85.53, abs=0.005)
    of_the_set.update(gray, red)
    assert of_the_set.compute() == 0
    assert delta_colorfulness(gray, red) == pytest.approx(85.53, abs=0.005)


@pytest.mark.parametrize(
    ("measure", "method", "options"),
    [
        (cie76, "CIE 1976", {}),
        (cie94, "CIE 1994", {"textiles": False}),
        (cmc, "CMC", {"l": 2, "c": 1}),
    ],
)
def test_older_differences_take_the_truth_for_the_standard(measure, method, options) -> None:
    prediction, truth = color.rgb2lab(PREDICTION), color.rgb2lab(TRUTH)
    want = colour.delta_E(truth, prediction, method=method, **options).mean()
    assert measure(PREDICTION, TRUTH) == pytest.approx(want, rel=1e-5)


# Independent of colour-science: scikit-image.
@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("cie76", color.deltaE_cie76),
        ("cie94", color.deltaE_ciede94),
        ("cmc", lambda one, other: color.deltaE_cmc(one, other, kL=2, kC=1)),
        ("ciede2000", color.deltaE_ciede2000),
    ],
)
def test_delta_e_is_scikit_images(method, reference) -> None:
    one, other = RNG.uniform([0, -100, -100], [100, 100, 100], (2, 500, 3))
    got = delta_e(one, other, method)
    np.testing.assert_allclose(got, reference(one, other), atol=1e-9)
    tensors = (torch.from_numpy(lab.T.copy()) for lab in (one, other))
    again = delta_e(*tensors, method, channel_axis=0)
    assert isinstance(again, torch.Tensor)
    np.testing.assert_allclose(again.numpy(), got, atol=1e-9)


def test_delta_e_of_an_unknown_method() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cie94'"):
        delta_e(np.zeros(3), np.zeros(3), "cie95")  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", [ciede2000, psnr, ssim, auc, ab_mse, cie76])
def test_refuses_what_cannot_be_compared(measure) -> None:
    with pytest.raises(OptionError, match="50x40 and 40x50"):
        measure(TRUTH, TRUTH.transpose(1, 0, 2))
    with pytest.raises(OptionError, match="uint8"):
        measure(TRUTH.astype(np.float32), TRUTH)


def test_ssim_wants_its_window() -> None:
    with pytest.raises(OptionError, match="at least 11 pixels"):
        ssim(TRUTH[:10], TRUTH[:10])
