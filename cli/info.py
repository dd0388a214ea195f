"""``coloria info``: what a report of a problem should hold."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

import coloria
from coloria.models.registry import MODELS

if TYPE_CHECKING:
    import torch

__all__ = ["info"]

DISTRIBUTION = "coloria-colorizer"
"""What pip calls the package."""

PACKAGES = ("torch", "torchvision", "timm", "kornia", "numpy", "pillow", "safetensors", "click")
"""Whose versions matter most."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def info(as_json: bool) -> None:
    """Show versions, devices, what 'auto' picks and why, the cache, and the extras."""
    facts = gather()
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def gather() -> dict[str, Any]:
    """All that the command prints, as plain data."""
    return {
        "coloria": coloria.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        **_hardware(),
        "cache": _cache(),
        "embedded": _embedded(),
        "extras": _extras(),
    }


def version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hardware() -> dict[str, Any]:
    import torch

    from coloria.device import pick_device, pick_precision

    where = pick_device("auto")
    dtype = pick_precision("auto", where)
    return {
        "devices": _devices(),
        "auto_device": str(where),
        "auto_device_why": _why_device(where),
        "auto_precision": str(dtype).removeprefix("torch."),
        "auto_precision_why": _why_precision(where, dtype),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
    }


def _devices() -> list[str]:
    import torch

    found = ["cpu"]
    if torch.backends.mps.is_available():  # pragma: needs gpu
        found.append("mps")
    if torch.cuda.is_available():  # pragma: needs gpu
        names = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
        found += [f"cuda:{i} ({name})" for i, name in enumerate(names)]
    return found


def _why_device(where: torch.device) -> str:
    return {
        "cuda": "PyTorch sees a CUDA device",
        "mps": "PyTorch sees Apple's MPS and no CUDA device",
        "cpu": "PyTorch sees neither a CUDA device nor Apple's MPS",
    }[where.type]


def _why_precision(where: torch.device, dtype: torch.dtype) -> str:
    import torch

    native = dtype == torch.bfloat16
    if where.type == "cpu":
        able = torch.cpu.get_capabilities()
        has = [
            n for key, n in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")) if able.get(key)
        ]
        return f"this CPU has {' and '.join(has) or 'neither AMX nor AVX512-BF16'}"
    verb = "multiplies" if native else "does not multiply"  # pragma: needs gpu
    return f"this device {verb} bfloat16 natively"  # pragma: needs gpu


def _cache() -> dict[str, Any]:
    from coloria import weights
    from coloria.released import RELEASED

    files = [
        {"name": e.name, "state": weights.state(e.name), "path": str(weights.path_of(e.name))}
        for e in RELEASED
        if weights.state(e.name) != "absent"
    ]
    return {"folder": str(weights.folder()), "offline": weights.offline(), "files": files}


def _embedded() -> list[dict[str, Any]]:
    from coloria import weights

    paths = {name: weights.embedded(name) for name in MODELS}
    return [
        {"model": name, "path": str(path), "bytes": path.stat().st_size}
        for name, path in paths.items()
        if path
    ]


def _extras() -> dict[str, dict[str, str | None]]:
    """For each extra, the installed version (or None) of each package it asks for."""
    extras: dict[str, dict[str, str | None]] = {}
    for line in _requirements():
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"]([\w-]+)", line)
        if name and extra and name[0] != DISTRIBUTION:
            extras.setdefault(extra[1], {})[name[0]] = version(name[0])
    return extras


def _requirements() -> list[str]:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def _lines(facts: dict[str, Any]) -> list[str]:
    """The facts as `name: value` lines."""
    cache = facts["cache"]
    offline = " (COLORIA_OFFLINE is set: nothing is fetched)" if cache["offline"] else ""
    return [
        f"coloria:    {facts['coloria']}",
        f"python:     {facts['python']} ({facts['executable']})",
        f"platform:   {facts['platform']}",
        "packages:   " + ", ".join(f"{n} {v or 'missing'}" for n, v in facts["packages"].items()),
        f"devices:    {', '.join(facts['devices'])}",
        f"device:     auto picks {facts['auto_device']}: {facts['auto_device_why']}",
        f"precision:  auto picks {facts['auto_precision']}: {facts['auto_precision_why']}",
        f"threads:    {facts['threads']} of {facts['cpus']} CPUs (OMP_NUM_THREADS sets them)",
        f"cache:      {cache['folder']}{offline}",
        *[f"            {f['name']}: {f['state']}" for f in cache["files"]],
        *(["            no released weights in it"] if not cache["files"] else []),
        f"embedded:   {', '.join(map(_embedded_line, facts['embedded'])) or 'no weights'}",
        *[f"extra:      {_extra_line(*item)}" for item in facts["extras"].items()],
    ]


def _embedded_line(entry: dict[str, Any]) -> str:
    return f"{entry['model']} ({entry['bytes'] / 1e6:.1f} MB)"


def _extra_line(name: str, packages: dict[str, str | None]) -> str:
    missing = [package for package, found in packages.items() if found is None]
    if not missing:
        return f"{name}: installed"
    return f"{name}: {', '.join(missing)} missing; from a checkout: pip install '.[{name}]'"
