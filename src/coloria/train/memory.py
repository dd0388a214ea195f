"""How much memory there is to keep decoded photographs in, and how much training needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["kept_by_training", "saved_for_backward", "spare_memory"]


def spare_memory() -> int:
    """Bytes of memory that this process may count on; 1 GiB where the system does not say.

    What is free (of the machine, or of the container's limit if that is less), shared by the
    processes that ``torchrun`` started on this machine.
    """
    said = [value for value in (_available(), _container()) if value is not None]
    return min(said, default=2**30) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _available() -> int | None:
    """MemAvailable of Linux."""
    words = _words(Path("/proc/meminfo"))
    return int(words[words.index("MemAvailable:") + 1]) * 1024 if words else None


def _container() -> int | None:
    """What is left below the limit of the control group (version 2)."""
    limit = _words(Path("/sys/fs/cgroup/memory.max"))
    used = _words(Path("/sys/fs/cgroup/memory.current"))
    return max(0, int(limit[0]) - int(used[0])) if limit and used and limit != ["max"] else None


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").split() if path.is_file() else []


def kept_by_training(net: nn.Module) -> int:
    """Bytes that stay: weights, gradients, two moments and an average."""
    return 5 * sum(p.numel() * p.element_size() for p in net.parameters())


def saved_for_backward(net: nn.Module, forward: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward pass, beside the weights of `net`."""
    import torch

    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        forward()
    weights = {p.data_ptr() for p in net.parameters()}
    return sum(size for pointer, size in sizes.items() if pointer not in weights)
