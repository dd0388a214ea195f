"""Several processes, started by torchrun: who am I, and the few sums they share.

Every function also works in a single process, where it does nothing. torchrun tells each process
its place by the environment variables ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from coloria.errors import DeviceError, TrainingError

__all__ = [
    "all_reduce_sums",
    "average_gradients",
    "barrier",
    "is_main",
    "local_rank",
    "process_group",
    "rank",
    "world_size",
]


def rank() -> int:
    """The number of this process among all; 0 if it is the only one."""
    return _from_environment("RANK", 0)


def local_rank() -> int:
    """The number of this process on its machine: the number of its GPU."""
    return _from_environment("LOCAL_RANK", 0)


def world_size() -> int:
    """How many processes there are; 1 without torchrun."""
    return _from_environment("WORLD_SIZE", 1)


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise TrainingError(f"the environment variable {name} must be a number, got {text!r}")
    return int(text)


@contextmanager
def process_group(device: str = "cpu", minutes: float = 30.0) -> Iterator[None]:
    """Join the processes that torchrun started, and leave them at the end of the block.

    Does nothing without torchrun. gloo carries the sums of CPUs, nccl those of GPUs; with GPUs,
    this process gets the one of its local rank.

    Args:
        device: ``cpu`` or ``cuda``.
        minutes: how long to wait for the others before giving up.

    Raises:
        DeviceError: ``cuda`` with fewer devices than processes on this machine.
        TrainingError: the others cannot be reached.
    """
    if "MASTER_ADDR" not in os.environ and world_size() == 1:
        yield
        return
    if device == "cuda":
        _take_gpu()
    try:
        dist.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            rank=rank(),
            world_size=world_size(),
            timeout=timedelta(minutes=minutes),
        )
    except (RuntimeError, ValueError) as error:  # torch's DistError is a RuntimeError
        raise TrainingError(
            f"process {rank()} of {world_size()} cannot reach the others: "
            f"{str(error).splitlines()[0]}; start all of them with torchrun"
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def _take_gpu() -> None:
    if local_rank() >= torch.cuda.device_count():
        raise DeviceError(
            f"process {rank()} needs the GPU number {local_rank()}, and there are "
            f"{torch.cuda.device_count()}; start no more processes than GPUs, "
            "or use --device cpu --processes N"
        )
    torch.cuda.set_device(local_rank())


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def average_gradients(params: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over all processes, in place.

    A process that has no gradient for a parameter counts as zero; a gradient that no process has
    stays None. All processes must give the same parameters in the same order.

    Args:
        params: parameters of one network; those that need no gradient are left out.
    """
    if not _joined():
        return
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for param in params:
        if param.requires_grad:
            groups.setdefault((param.dtype, param.device), []).append(param)
    for group in groups.values():
        _average_group(group)


def _average_group(params: list[Tensor]) -> None:
    """One sum for all: which gradients there are, then the gradients themselves."""
    there = torch.tensor([p.grad is not None for p in params])
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    flat = torch.cat([there.to(parts[0]), *[part.reshape(-1) for part in parts]])
    dist.all_reduce(flat)
    counts, *means = flat.split_with_sizes([len(params), *[p.numel() for p in params]])
    for param, count, total in zip(params, counts.tolist(), means, strict=True):
        if count:
            mean = (total / dist.get_world_size()).view_as(param)
            if param.grad is None:
                param.grad = mean.clone()
            else:
                param.grad.copy_(mean)


def all_reduce_sums(sums: Tensor) -> Tensor:
    """Add up a tensor of sums over all processes.

    Args:
        sums: float64, any shape, the same in all processes.

    Returns:
        The totals, the same in every process, on the device of ``sums``; ``sums`` is unchanged.
    """
    if sums.dtype != torch.float64:
        raise TypeError(f"sums are kept in float64, got {sums.dtype}")
    if not _joined():
        return sums.clone()
    on_gpu = dist.get_backend() == "nccl"
    total = sums.to("cuda", copy=True) if on_gpu else sums.cpu().clone()
    dist.all_reduce(total)
    return total.to(sums.device)


def barrier() -> None:
    """Wait until every process is here."""
    if _joined():
        dist.barrier()
