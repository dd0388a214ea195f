"""CIEDE2000 of ours, colour-science and scikit-image, side by side in one run.

    python benchmarks/delta_e00.py [--side 1024] [--threads 1 2] [--seconds 6]

Two random pictures (SIDE, SIDE, 3) of Lab values. Per megapixel: the best of the runs that fit the
time, and the peak of the memory beyond the inputs, as a multiple of the inputs, of a process of its
own (Linux). Then how far float32 is from float64, and the physical limit on this machine, from
costs measured in the same run:

- memory: reading six values a pixel and writing one, at the bandwidth of a plain copy;
- functions: one power of 2 and ten reciprocal roots a pixel, as the formula without angles has
  them, at the speed that PyTorch has for them in the cache;
- arithmetic: the calls that our blocks make, at the speed of a sum of two rows in the cache. Below
  that comes only who joins several calls in one pass, which takes a compiler.

Run it on an idle machine, with as many cores as threads.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import colour
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.color import deltaE_ciede2000
from torch.utils._python_dispatch import TorchDispatchMode

from coloria.metrics import delta_e00
from coloria.metrics.ciede2000_blocks import BLOCK_BYTES

Lab = NDArray[Any]
FORMULAS: dict[str, Callable[[Lab, Lab], Lab]] = {
    "ours": delta_e00,
    "ours, planar": lambda one, other: delta_e00(one, other, channel_axis=0),
    "scikit-image": deltaE_ciede2000,
    "colour-science": lambda one, other: colour.delta_E(one, other, method="CIE 2000"),
}
MEGA = 1e6


def pictures(side: int, dtype: str, planar: bool = False) -> tuple[Lab, Lab]:
    """Two pictures of colours all over Lab."""
    rng = np.random.default_rng(0)
    one, other = rng.uniform([0, -100, -100], [100, 100, 100], (2, side, side, 3)).astype(dtype)
    if planar:
        one, other = (np.ascontiguousarray(np.moveaxis(lab, -1, 0)) for lab in (one, other))
    return one, other


def best(call: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of several calls."""
    call()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while fastest == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


# ------------------------------------------------------------------ peak memory, in a child


def kilobytes(field: str) -> int:
    """One field of what Linux says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def peak(name: str, side: int, dtype: str, threads: int) -> float:
    """Memory beyond the inputs at the worst moment, over the inputs."""
    torch.set_num_threads(threads)
    one, other = pictures(side, dtype, name.endswith("planar"))
    FORMULAS[name](one[:3, :3], other[:3, :3])  # what a first call loads
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = kilobytes("VmRSS")
    FORMULAS[name](one, other)
    return (kilobytes("VmHWM") - before) * 1024 / (one.nbytes + other.nbytes)


def peak_of_child(name: str, side: int, dtype: str, threads: int) -> str:
    """The same, measured in a new process; "?" where that cannot be."""
    if not Path("/proc/self/clear_refs").exists():
        return "?"
    arguments = ["--peak", name, "--side", str(side), "--dtype", dtype, "--threads", str(threads)]
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"{float(done.stdout):.2f}"


# ------------------------------------------------------------------ the limit


class Calls(TorchDispatchMode):
    """Counts what PyTorch is called for on whole rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name() and isinstance(result, torch.Tensor):
            self.rows += result.numel()
        return result


def limits(side: int, seconds: float) -> dict[str, float]:
    """Seconds a megapixel in float32 on one thread, by what would have to be waited for."""
    torch.set_num_threads(1)
    picture = torch.zeros(side, side, 6)
    copied = torch.empty_like(picture)
    copy = best(lambda: copied.copy_(picture), seconds) / (2 * picture.nbytes)  # s a byte
    row = torch.rand(BLOCK_BYTES // 4) + 0.5
    out = torch.empty_like(row)

    def cost(call: Callable[..., object], *values: torch.Tensor) -> float:
        return best(lambda: call(*values, out=out), seconds / 4) / row.numel()

    functions = cost(torch.exp2, row) + 10 * cost(torch.rsqrt, row)
    with Calls() as calls, torch.no_grad():
        delta_e00(torch.zeros(3, side, side), torch.ones(3, side, side), channel_axis=0)
    arithmetic = calls.rows / side**2 * cost(torch.add, row, row)
    return {
        "memory traffic (6 values read, 1 written)": 7 * 4 * copy * MEGA,
        "transcendental functions and roots": functions * MEGA,
        f"{calls.rows / side**2:.0f} values computed a pixel": arithmetic * MEGA,
    }


# ------------------------------------------------------------------ the tables


def contenders(threads: list[int]) -> list[tuple[str, str, int]]:
    """Name, dtype and threads of each row; the libraries have one thread."""
    dtypes = ("float32", "float64")
    ours = [(n, d, t) for d in dtypes for n in ("ours", "ours, planar") for t in threads]
    return ours + [(n, d, 1) for d in dtypes for n in ("scikit-image", "colour-science")]


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peak:
        print(peak(chosen.peak, chosen.side, chosen.dtype, chosen.threads[0]))
        return

    console = Console()
    console.print(
        f"{date.today()}, {processor()}, {len(os.sched_getaffinity(0))} cores to use; torch "
        f"{torch.__version__}, numpy {np.__version__}, {chosen.side} x {chosen.side} pixels"
    )
    rows = contenders(chosen.threads)
    times = {}
    for name, dtype, threads in rows:
        torch.set_num_threads(threads)
        one, other = pictures(chosen.side, dtype, name.endswith("planar"))
        call = FORMULAS[name]
        taken = best(lambda call=call, one=one, other=other: call(one, other), chosen.seconds)  # type: ignore[misc]
        times[name, dtype, threads] = taken / chosen.side**2 * MEGA
    table = Table("CIEDE2000", "type", "threads", "ms/Mpx", "times as fast", "peak memory")
    for name, dtype, threads in rows:
        faster = min(times["scikit-image", dtype, 1], times["colour-science", dtype, 1])
        taken = times[name, dtype, threads]
        memory = peak_of_child(name, chosen.side, dtype, threads)
        table.add_row(
            name, dtype, str(threads), f"{taken * 1e3:.1f}", f"{faster / taken:.1f}", memory
        )
    console.print(table)
    console.print("times as fast: as the faster of the two libraries in the same type")
    console.print("peak memory: beyond the inputs, in multiples of the inputs; planar: (3, H, W)")

    one, other = pictures(chosen.side, "float32")
    exact = delta_e00(one.astype(np.float64), other.astype(np.float64))
    error = np.abs(delta_e00(one, other) - exact)
    console.print(
        f"float32 to float64 on the same values: 99.99th percentile "
        f"{np.quantile(error, 0.9999):.1e}, largest {error.max():.1e}\n"
    )

    table = Table("limit, float32, one thread", "ms/Mpx", "ours takes, as a multiple")
    ours = min(times[n, "float32", chosen.threads[0]] for n in ("ours", "ours, planar"))
    for what, taken in limits(chosen.side, chosen.seconds / 3).items():
        table.add_row(what, f"{taken * 1e3:.1f}", f"{ours / taken:.1f}")
    console.print(table)


def processor() -> str:
    """Its name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
