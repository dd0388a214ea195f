"""What a run ran on: written beside its results, so that they can be judged and repeated."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import coloria

__all__ = ["cpu_flags", "describe", "git_commit"]

_PACKAGES = (
    *("coloria-colorizer", "torch", "torchvision", "timm", "kornia", "fastai", "keras"),
    *("tensorflow", "numpy", "scipy", "pillow", "safetensors", "pydantic", "tensorboard"),
)
_FLAGS = {"avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "bf16", "asimd"}
"""Instruction sets that decide how fast a processor multiplies."""


def describe(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Machine, versions and command line, as plain values for JSON.

    Args:
        command: the command line; by default that of this process.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv if command is None else command),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": {"name": _cpu_name(), "cores": os.cpu_count(), "flags": sorted(cpu_flags())},
        "threads": {"torch": torch.get_num_threads(), "interop": torch.get_num_interop_threads()},
        "gpus": _gpus(),
        "cuda": torch.version.cuda,
        "commit": git_commit(),
        "keras_backend": os.environ.get("KERAS_BACKEND"),
        "packages": _versions(),
    }


def cpu_flags() -> frozenset[str]:
    """Which of the instruction sets that matter the processor has; empty where unknown."""
    return frozenset(_FLAGS.intersection((_cpuinfo("flags") or _cpuinfo("Features")).split()))


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    """The first value of a key in Linux's list of processors; empty on other systems."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    for line in path.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _gpus() -> list[dict[str, Any]]:
    found = []
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        found.append({"name": gpu.name, "memory_gb": round(gpu.total_memory / 1e9, 1)})
    return found


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """The commit of the checkout the package runs from, ``+`` at its end if files differ.

    None for an installed package, without git, and before the first commit.
    """
    root = Path(coloria.__file__).resolve().parents[2]
    if not ((root / ".git").exists() and (root / "pyproject.toml").is_file()):
        return None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
