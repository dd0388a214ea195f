"""The figures of one picture, by the definitions of the field.

Every function takes uint8 sRGB arrays (H, W, 3), the prediction first; sums are float64.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coloria.color import srgb_to_lab
from coloria.errors import OptionError
from coloria.metrics.ciede2000 import delta_e00
from coloria.metrics.colorfulness import colorfulness
from coloria.metrics.older import Method, delta_e
from coloria.metrics.sets import Pixels

AUC_LIMIT = 150.0
"""Largest a*b* distance of AuC."""
SSIM_WINDOW = 11
"""Side of Wang's Gaussian window, in pixels."""


def lab_of(picture: Pixels) -> Tensor:
    """Lab (3, H, W) of sRGB, float32, D65."""
    rgb = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return srgb_to_lab(rgb.float() / 255)


def same_size(prediction: Pixels, truth: Pixels) -> None:
    """Refuses two pictures that cannot be compared pixel by pixel.

    Raises:
        OptionError: The sizes differ, or one is not (H, W, 3) of uint8.
    """
    for picture in (prediction, truth):
        if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
            raise OptionError(
                f"wanted sRGB pixels (H, W, 3) of uint8, got {picture.shape} of {picture.dtype}"
            )
    if prediction.shape != truth.shape:
        raise OptionError(
            "two pictures of one size are compared; these are "
            f"{prediction.shape[1]}x{prediction.shape[0]} and {truth.shape[1]}x{truth.shape[0]}"
        )


def difference_map(prediction: Pixels, truth: Pixels) -> Tensor:
    """CIEDE2000 of every pixel, (H, W) float32."""
    same_size(prediction, truth)
    with torch.no_grad():
        return delta_e00(lab_of(prediction), lab_of(truth), channel_axis=0)


def ciede2000(prediction: Pixels, truth: Pixels) -> float:
    """CIEDE2000, mean over the pixels; lower is better, 1 is about just noticeable."""
    return float(difference_map(prediction, truth).double().mean())


def _older(prediction: Pixels, truth: Pixels, method: Method) -> float:
    same_size(prediction, truth)
    return float(delta_e(lab_of(truth), lab_of(prediction), method, channel_axis=0).mean())


def cie76(prediction: Pixels, truth: Pixels) -> float:
    """CIE76, the distance in Lab, mean over the pixels; lower is better."""
    return _older(prediction, truth, "cie76")


def cie94(prediction: Pixels, truth: Pixels) -> float:
    """CIE94 for graphic arts, mean over the pixels; lower is better. The truth is the standard."""
    return _older(prediction, truth, "cie94")


def cmc(prediction: Pixels, truth: Pixels) -> float:
    """CMC(2:1), mean over the pixels; lower is better. The truth is the standard."""
    return _older(prediction, truth, "cmc")


def signed_colorfulness(prediction: Pixels) -> float:
    """Hasler and Süsstrunk's M3; see :mod:`coloria.metrics.colorfulness`."""
    return float(colorfulness(prediction))


def absolute_colorfulness(prediction: Pixels) -> float:
    """M3 with absolute opponents; see :mod:`coloria.metrics.colorfulness`."""
    return float(colorfulness(prediction, "absolute"))


def delta_colorfulness(prediction: Pixels, truth: Pixels) -> float:
    """|M3 of the prediction - M3 of the truth|; lower is better."""
    return abs(float(colorfulness(prediction)) - float(colorfulness(truth)))


def psnr(prediction: Pixels, truth: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, ``20 log10(255 / sqrt(MSE))``; higher is better.

    The mean squared error is over all R, G and B values. Infinite for equal pictures; one level
    off everywhere is 48.1308 dB.
    """
    same_size(prediction, truth)
    error = np.square(prediction.astype(np.float64) - truth).mean()
    return float(20 * np.log10(255) - 10 * np.log10(error)) if error else np.inf


def ssim(prediction: Pixels, truth: Pixels) -> float:
    """Structural similarity, mean over pixels and R, G, B; higher is better, at most 1, no unit.

    Wang, Bovik, Sheikh & Simoncelli 2004, doi:10.1109/TIP.2003.819861, with their settings: a
    Gaussian window of 11 x 11 and sigma 1.5, K1 0.01, K2 0.03, covariances of the population,
    borders of half a window left out. By torchmetrics, in float64.

    Raises:
        OptionError: The sizes differ, or a side is shorter than the window.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    same_size(prediction, truth)
    if min(truth.shape[:2]) < SSIM_WINDOW:
        raise OptionError(
            f"SSIM wants at least {SSIM_WINDOW} pixels on each side, got "
            f"{truth.shape[1]}x{truth.shape[0]}"
        )
    one, other = (
        torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].double()
        for p in (prediction, truth)
    )
    # torchmetrics' own mean takes in the borders, where it mirrors the picture: Wang's does not.
    _, everywhere = structural_similarity_index_measure(
        one,
        other,
        sigma=1.5,
        kernel_size=SSIM_WINDOW,
        data_range=255.0,
        k1=0.01,
        k2=0.03,
        return_full_image=True,
    )
    border = slice(SSIM_WINDOW // 2, -(SSIM_WINDOW // 2))
    return float(everywhere[..., border, border].mean())


def auc(prediction: Pixels, truth: Pixels) -> float:
    """Area under the cumulative error curve in percent; higher is better, equal pictures have 100.

    The share of pixels whose distance in the a*b* plane is at most t, integrated over t in
    [0, 150] and divided by 150, which is ``1 - mean(min(distance, 150)) / 150``; a distance of 75
    everywhere is 50. Each pixel counts alike (AuC "non-rebalanced"). Zhang, Isola & Efros 2016,
    section 3.1, arXiv:1603.08511. Published code sums at whole numbers, and differs slightly.
    """
    same_size(prediction, truth)
    a, b = (lab_of(prediction)[1:] - lab_of(truth)[1:]).double()
    distance = torch.hypot(a, b).clamp(max=AUC_LIMIT)
    return float(100 * (1 - distance.mean() / AUC_LIMIT))


def ab_mse(prediction: Pixels, truth: Pixels) -> float:
    """Mean squared difference over the a* and b* of all pixels, in Lab units; lower is better.

    The mean is over both channels: half the mean squared distance in the a*b* plane.
    """
    same_size(prediction, truth)
    return float((lab_of(prediction)[1:] - lab_of(truth)[1:]).double().square().mean())
