"""Which device and which precision a computation runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from coloria.errors import DeviceError, OptionError, OutOfMemoryError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_MEMORY_SIGNS = ("can't allocate memory", "not enough memory", "out of memory")
"""How PyTorch's allocators that have no exception of their own say that memory ran out."""


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; `auto` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        DeviceError: It is not there.
        OptionError: No such name.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise OptionError(f"device must be one of {', '.join(DEVICES)}; got {name!r}")
    present = _present()
    if kind == "auto":
        return torch.device(present[-1])
    if kind not in present:
        raise DeviceError(
            f"wanted the device {name!r}; PyTorch {torch.__version__} sees only "
            f"{', '.join(present)} here: use --device auto"
        )
    return torch.device(name)


def _present() -> list[str]:
    """The kinds of device that are there, the fastest last."""
    checks = {"cpu": True, "mps": torch.backends.mps.is_available()}
    checks["cuda"] = torch.cuda.is_available()
    return [name for name, there in checks.items() if there]


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that precision; `auto` is bfloat16 where the device multiplies it natively.

    Raises:
        OptionError: No such name.
    """
    if name not in PRECISIONS:
        raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}; got {name!r}")
    if name == "auto":
        return torch.bfloat16 if native_bfloat16(device) else torch.float32
    return _DTYPES[name]


def native_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself (AMX or AVX512-BF16, or CUDA 8.0 on)."""
    if device.type == "cuda":  # pragma: needs gpu
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
    return False  # pragma: needs gpu


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Runs the body in `dtype` where PyTorch holds it safe; float32 changes nothing."""
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        yield


@contextmanager
def memory_guard(what: str, device: torch.device, advice: str) -> Iterator[None]:
    """Turns every form of "out of memory" into :class:`OutOfMemoryError`.

    Args:
        what: What was being done.
        device: Where.
        advice: What the user can do.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        out = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not out and not any(sign in str(error) for sign in _MEMORY_SIGNS):
            raise
        raise OutOfMemoryError(f"not enough memory on {device} for {what}: {advice}") from error
