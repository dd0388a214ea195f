"""How good a generator is on the photographs kept aside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coloria.color import fit_gamut, lightness, srgb_to_lab
from coloria.device import autocast
from coloria.metrics.ciede2000 import delta_e00
from coloria.metrics.colorfulness import colorfulness
from coloria.models.deoldify import DeOldify
from coloria.train.loader import Batch, Batches
from coloria.train.losses import PictureLoss

Judge = Callable[[Batch], tuple[Tensor, dict[str, float]]]
"""Colours a batch: sRGB (B, 3, H, W) inside the gamut, and more figures of it."""


@torch.no_grad()
def validate(
    net: DeOldify,
    loss: PictureLoss,
    batches: Batches,
    dtype: torch.dtype,
    pictures: int,
    more: Callable[[Tensor, Batch], dict[str, float]] | None = None,
) -> tuple[dict[str, float], list[Tensor]]:
    """Figures of a generator over all validation photographs, and pictures of the first ones.

    Args:
        net: The generator.
        loss: Its loss; the parts are reported.
        batches: The photographs.
        dtype: Of the network's arithmetic.
        pictures: How many pictures to give back.
        more: Further figures of a batch, from the normalised output and the batch.

    Returns:
        As :func:`measure`, and the means of the parts of the loss.
    """
    net.eval()

    def judge(batch: Batch) -> tuple[Tensor, dict[str, float]]:
        with autocast(batch.gray.device, dtype):
            pred = net(net.encode(batch.gray))
        loss(pred.float(), net.encode(batch.rgb))
        parts = {f"val/{name}": float(part) for name, part in loss.parts.items()}
        parts |= more(pred.float(), batch) if more else {}
        return joined(batch.gray, pred.float() * net.std + net.mean), parts

    return measure(judge, batches, pictures)


@torch.no_grad()
def measure(judge: Judge, batches: Batches, pictures: int) -> tuple[dict[str, float], list[Tensor]]:
    """Figures over all validation photographs, and pictures of the first ones.

    Args:
        judge: Colours a batch.
        batches: The photographs.
        pictures: How many pictures to give back.

    Returns:
        Means of what `judge` gives, of CIEDE2000 (lower is better; also that of the grey
        picture), and of colourfulness as a share of the truth's; and columns of pictures: grey,
        result, truth.
    """
    sums: dict[str, float] = {}
    columns: list[list[Tensor]] = []
    count = 0
    for batch in batches.epoch(0):
        colored, figures = judge(batch)
        for name, value in (figures | _figures(batch.gray, colored, batch.rgb)).items():
            sums[name] = sums.get(name, 0.0) + value * len(colored)
        count += len(colored)
        if sum(len(row[0]) for row in columns) < pictures:
            columns.append([batch.gray, colored, batch.rgb])
    means = {name: value / count for name, value in sums.items()}
    means["val/colorfulness"] /= means.pop("val/truth")
    return means, [torch.cat(rows)[:pictures] for rows in zip(*columns, strict=True)]


def joined(gray: Tensor, rgb: Tensor) -> Tensor:
    """Predicted chroma on the lightness of the grey (B, 1, H, W): sRGB (B, 3, H, W) in gamut."""
    lab = torch.cat([lightness(gray), srgb_to_lab(rgb.clamp(0, 1))[:, 1:]], dim=1)
    return torch.stack([fit_gamut(one) for one in lab])


def _figures(gray: Tensor, colored: Tensor, truth: Tensor) -> dict[str, float]:
    lab = srgb_to_lab(truth)
    plain = srgb_to_lab(gray.expand(-1, 3, -1, -1))
    return {
        "val/ciede2000": float(delta_e00(srgb_to_lab(colored), lab, channel_axis=-3).mean()),
        "val/ciede2000-grey": float(delta_e00(plain, lab, channel_axis=-3).mean()),
        "val/colorfulness": _colorfulness(colored),
        "val/truth": _colorfulness(truth),
    }


def _colorfulness(rgb: Tensor) -> float:
    pixels = (rgb * 255).round().permute(0, 2, 3, 1).cpu().numpy()
    return float(sum(float(colorfulness(one)) for one in pixels)) / len(pixels)
