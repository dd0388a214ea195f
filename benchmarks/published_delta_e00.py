"""How a widely used function for CIEDE2000 differs from the formula, and what that does to means.

    python benchmarks/published_delta_e00.py [--model artistic] [--data FOLDER]

The function is that of the project lovro-i/CIEDE2000 (one pair of colours a call), known from its
source. It is described here by what it does otherwise than the paper, and computed on whole
pictures: 360 degrees are added to the hue wherever a' is negative, so that hues from 90 to 180
degrees become 450 to 540, and differences of hues are brought back by one turn only. Random pairs,
and photographs (the package's own, or a folder) made grey, coloured and compared with themselves.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import coloria
from coloria.color import srgb_to_lab
from coloria.metrics import delta_e00
from coloria.metrics.ciede2000 import CHROMA_7

ASSETS = Path(coloria.__file__).parent / "assets" / "eval"


def published(lab1: Tensor, lab2: Tensor) -> Tensor:
    """That function on (N, 3) of float64."""
    L, a, b = torch.stack([lab1, lab2]).unbind(-1)  # (2, N)

    def saturating(chroma: Tensor) -> Tensor:
        return (chroma**7 / (chroma**7 + CHROMA_7)).sqrt()

    a = a * (1.5 - 0.5 * saturating(torch.hypot(a, b).mean(0)))
    C = torch.hypot(a, b)
    h1, h2 = torch.atan2(b, a) + 2 * math.pi * (a < 0).double()  # the paper: where it is negative
    both = C.prod(0) != 0
    far, total = ((h2 - h1).abs() > math.pi).double(), h1 + h2
    dh = (h2 - h1 - 2 * math.pi * far * (h2 - h1).sign()) * both
    side = (total < 2 * math.pi).double() * 2 - 1
    h = torch.where(both, total / 2 + math.pi * side * far, total)
    T = (
        1
        - 0.17 * torch.cos(h - math.radians(30))
        + 0.24 * torch.cos(2 * h)
        + 0.32 * torch.cos(3 * h + math.radians(6))
        - 0.20 * torch.cos(4 * h - math.radians(63))
    )
    theta = math.radians(60) * torch.exp(-(((torch.rad2deg(h) % 360 - 275) / 25) ** 2))
    L50, C_bar = (L.mean(0) - 50) ** 2, C.mean(0)
    dL = (L[1] - L[0]) / (1 + 0.015 * L50 / (20 + L50).sqrt())
    dC = (C[1] - C[0]) / (1 + 0.045 * C_bar)
    dH = 2 * C.prod(0).sqrt() * torch.sin(dh / 2) / (1 + 0.015 * C_bar * T)
    R_T = -2 * torch.sin(theta) * saturating(C_bar)
    return (dL**2 + dC**2 + dH**2 + R_T * dC * dH).sqrt()


def line(what: str, one: Tensor, other: Tensor) -> tuple[float, float]:
    """Prints both means of one set of pairs (N, 3); returns them."""
    theirs, ours = published(one, other), delta_e00(one, other)
    differ = ((theirs - ours).abs() > 1e-6).double().mean()
    print(f"{what}: {theirs.mean():.4f} published, {ours.mean():.4f} ours; {differ:.2%} differ")
    return float(theirs.mean()), float(ours.mean())


def main() -> None:
    """Measures and prints a line a picture, and the means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="artistic")
    parser.add_argument("--data", type=Path, default=ASSETS)
    chosen = parser.parse_args()

    rng = np.random.default_rng(0)
    pairs = torch.from_numpy(rng.uniform([0, -100, -100], [100, 100, 100], (2, 1_000_000, 3)))
    line("a million random pairs", *pairs)
    model = coloria.load(chosen.model)
    means = []
    for path in sorted(p for p in chosen.data.iterdir() if p.suffix in (".jpg", ".png")):
        truth = np.asarray(Image.open(path).convert("RGB"))
        colored = model.colorize(np.asarray(Image.fromarray(truth).convert("L")), borders=False)
        labs = [
            srgb_to_lab(torch.from_numpy(p / 255.0).permute(2, 0, 1)).flatten(1).T
            for p in (colored, truth)
        ]
        means.append(line(path.name, *labs))
    theirs, ours = np.mean(means, axis=0)
    print(f"{len(means)} photographs: {theirs:.4f} published, {ours:.4f} ours")


if __name__ == "__main__":
    main()
