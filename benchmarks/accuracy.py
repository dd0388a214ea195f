"""How true and how colourful the results are, on a folder of colour photographs.

    python benchmarks/accuracy.py DATA [--model artistic] [--weights auto] [--render-size N]

Each photograph is made grey by Pillow's `convert("L")`, coloured, and compared with itself:
CIEDE2000 by scikit-image (mean over pixels, then over photographs; lower is better) and
colourfulness (Hasler & Suesstrunk's M3, signed). Rows: the grey picture, the best constant tint
of the whole folder, the oracle (true a*, b* on the lightness of the grey), and the model. Columns:
the parts of the folder, by the letters that file names begin with, and all together. A model is
better than nothing only where it beats the constant tint.
"""

from __future__ import annotations

import argparse
import platform
import re
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import color

import coloria
from coloria.color import fit_gamut
from coloria.metrics.colorfulness import colorfulness

Pixels = NDArray[np.uint8]


def on_lightness(gray: Pixels, ab: NDArray[np.float64]) -> Pixels:
    """a*, b* (H, W, 2) on the lightness of a grey picture (H, W), as 8-bit sRGB in gamut."""
    light = color.rgb2lab(np.repeat(gray[..., None], 3, axis=2))[..., :1]
    lab = torch.from_numpy(np.concatenate([light, ab], axis=2)).permute(2, 0, 1)
    return (fit_gamut(lab.float()) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def constant(gray: Pixels, tint: tuple[float, float]) -> Pixels:
    """The grey picture in one tint."""
    return on_lightness(gray, np.broadcast_to(np.array(tint), (*gray.shape, 2)))


def difference(one: Pixels, other: Pixels) -> float:
    """Mean CIEDE2000 of two pictures."""
    return float(color.deltaE_ciede2000(color.rgb2lab(one), color.rgb2lab(other)).mean())


def best_tint(truths: list[Pixels]) -> tuple[float, float]:
    """The (a*, b*) that is nearest to all photographs, on every 12th pixel, by descent on a
    grid.
    """
    small = [picture[::12, ::12] for picture in truths]
    grays = [np.asarray(Image.fromarray(p).convert("L"))[::12, ::12] for p in truths]

    def cost(tint: tuple[float, float]) -> float:
        pairs = zip(grays, small, strict=True)
        return float(np.mean([difference(constant(g, tint), t) for g, t in pairs]))

    best, lowest, step = (0.0, 0.0), cost((0.0, 0.0)), 4.0
    while step >= 1:
        around = [(best[0] + i * step, best[1] + j * step) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        value, tint = min((cost(tint), tint) for tint in around)
        if value < lowest:
            best, lowest = tint, value
        else:
            step /= 2
    return best


def part_of(path: Path) -> str:
    """The part of the folder a photograph belongs to."""
    found = re.match(r"[a-zA-Z]+", path.stem)
    return found.group(0) if found else ""


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="artistic")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--render-size", type=int)
    parser.add_argument("--saturation", type=float, default=1.0)
    parser.add_argument("--save", type=Path, help="keep the coloured pictures in this folder")
    parser.add_argument("--model-only", action="store_true", help="leave out tint and oracle")
    arguments = parser.parse_args()

    paths = sorted(p for p in arguments.data.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    truths = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    model = coloria.load(arguments.model, arguments.weights)
    tint = None if arguments.model_only else best_tint(truths)
    rows: dict[str, list[tuple[float, float]]] = {}
    began, seconds = time.perf_counter(), 0.0
    for path, truth in zip(paths, truths, strict=True):
        gray = np.asarray(Image.fromarray(truth).convert("L"))
        began = time.perf_counter()
        colored = model.colorize(
            gray, render_size=arguments.render_size, saturation=arguments.saturation, borders=False
        )
        seconds += time.perf_counter() - began
        results = {"grey": np.repeat(gray[..., None], 3, axis=2)}
        if tint:
            results[f"tint a {tint[0]:g} b {tint[1]:g}"] = constant(gray, tint)
            results["oracle"] = on_lightness(gray, color.rgb2lab(truth)[..., 1:])
        results[arguments.model] = colored
        results["original"] = truth
        for name, result in results.items():
            figures = difference(result, truth), float(colorfulness(result))
            rows.setdefault(name, []).append(figures)
        if arguments.save:
            arguments.save.mkdir(parents=True, exist_ok=True)
            Image.fromarray(colored).save(arguments.save / f"{path.stem}.png")

    names = [part_of(path) for path in paths]
    parts = {part: [n == part for n in names] for part in dict.fromkeys(names)}
    parts["kodim + coco"] = [n in ("kodim", "coco") for n in names]
    parts["all"] = [True] * len(names)
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, {model.dtype}"
    )
    print(f"{arguments.model}: {model.found.note}; {seconds / len(paths):.2f} s a picture")
    for index, title in enumerate(("CIEDE2000", "colourfulness")):
        print(f"\n| {title} | " + " | ".join(f"{p} ({sum(m)})" for p, m in parts.items()) + " |")
        print("|---|" + "---:|" * len(parts))
        for name, values in rows.items():
            column = np.array(values)[:, index]
            means = [
                column[np.array(mask)].mean() if any(mask) else np.nan for mask in parts.values()
            ]
            reference = [
                np.array(rows["grey" if index == 0 else "original"])[:, index][
                    np.array(mask)
                ].mean()
                if any(mask)
                else np.nan
                for mask in parts.values()
            ]
            cells = [
                f"{m:.2f} ({m / r - 1:+.1%})" if index == 0 else f"{m:.1f} ({m / r:.2f})"
                for m, r in zip(means, reference, strict=True)
            ]
            print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
