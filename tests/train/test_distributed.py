"""Two real processes over gloo, against one with the joint batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from coloria.errors import DeviceError, TrainingError
from coloria.train import distributed

WORKER = """
import sys, torch
from torch import nn
from coloria.train import distributed as d

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()

with d.process_group("cpu"):
    rank = d.rank()
    inputs = torch.load(sys.argv[1] + "/inputs.pt")[rank::2]
    net = network()
    idle = nn.Linear(2, 2)              # no process has a gradient
    lone = nn.Parameter(torch.ones(2))  # only process 1 has one
    if rank == 1:
        lone.grad = torch.tensor([2.0, 4.0])
    still = nn.Parameter(torch.ones(1), requires_grad=False)
    net(inputs).square().mean().backward()
    d.average_gradients([*net.parameters(), *idle.parameters(), lone, still])
    sums = torch.tensor([1.0, 10.0 ** 16], dtype=torch.float64) * (rank + 1)
    total = d.all_reduce_sums(sums)
    d.barrier()
    torch.save({
        "grads": [p.grad for p in net.parameters()],
        "idle": [p.grad for p in idle.parameters()],
        "lone": lone.grad,
        "sums": sums,
        "total": total,
        "place": [d.rank(), d.local_rank(), d.world_size(), d.is_main()],
    }, f"{sys.argv[1]}/{rank}.pt")
"""


def by_torchrun(command: list[str]) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launcher, *command], check=True, capture_output=True, timeout=120)


def by_hand(command: list[str]) -> None:
    """Two processes with the variables that torchrun sets; it itself takes long to start."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    everyone = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **everyone, "OMP_NUM_THREADS": "1", "RANK": n, "LOCAL_RANK": n},
        )
        for n in "01"
    ]
    try:
        assert [process.wait(120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(
    scope="module",
    params=[by_hand, pytest.param(by_torchrun, marks=pytest.mark.slow)],
    ids=["by hand", "by torchrun"],
)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    torch.manual_seed(1)
    torch.save(torch.randn(8, 6, dtype=torch.float64), folder / "inputs.pt")
    (folder / "worker.py").write_text(WORKER)
    request.param([str(folder / "worker.py"), str(folder)])
    return folder


def test_gradients_are_those_of_the_joint_batch(results: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    net(torch.load(results / "inputs.pt")).square().mean().backward()
    wanted = [p.grad for p in net.parameters()]
    for rank in (0, 1):
        result = torch.load(results / f"{rank}.pt")
        torch.testing.assert_close(result["grads"], wanted)


def test_gradients_that_some_have_and_that_none_has(results: Path) -> None:
    for rank in (0, 1):
        result = torch.load(results / f"{rank}.pt")
        assert result["lone"].tolist() == [1.0, 2.0]
        assert result["idle"] == [None, None]


def test_sums_are_the_same_everywhere_and_keep_float64(results: Path) -> None:
    for rank in (0, 1):
        result = torch.load(results / f"{rank}.pt")
        assert result["total"].tolist() == [3.0, 3e16]
        assert result["sums"].tolist() == [1.0 * (rank + 1), 1e16 * (rank + 1)]


def test_every_process_knows_its_place(results: Path) -> None:
    places = [torch.load(results / f"{rank}.pt")["place"] for rank in (0, 1)]
    assert places == [[0, 0, 2, True], [1, 1, 2, False]]


# ------------------------------------------------------------------ alone, and wrong use


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("alone")
def test_alone_nothing_changes() -> None:
    param = nn.Parameter(torch.ones(2))
    param.grad = torch.tensor([1.0, 2.0])
    sums = torch.tensor([1.0], dtype=torch.float64)
    with distributed.process_group():
        distributed.average_gradients([param])
        distributed.barrier()
        assert distributed.all_reduce_sums(sums).tolist() == [1.0]
        assert distributed.all_reduce_sums(sums) is not sums
        place = distributed.rank(), distributed.local_rank(), distributed.world_size()
    assert param.grad.tolist() == [1.0, 2.0]
    assert place == (0, 0, 1)
    assert distributed.is_main()


def test_sums_in_float32_are_refused() -> None:
    with pytest.raises(TypeError, match=r"float64, got torch\.float32"):
        distributed.all_reduce_sums(torch.ones(1))


def test_a_place_that_is_no_number(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("RANK", "first")
    with pytest.raises(TrainingError, match="RANK must be a number, got 'first'"):
        distributed.rank()


@pytest.mark.parametrize("address", [None, "127.0.0.1"])
def test_others_that_cannot_be_reached(alone: pytest.MonkeyPatch, address: str | None) -> None:
    alone.setenv("WORLD_SIZE", "2")
    alone.setenv("RANK", "1")
    if address:  # nobody listens on port 9
        alone.setenv("MASTER_ADDR", address)
        alone.setenv("MASTER_PORT", "9")
    with (
        pytest.raises(TrainingError, match="process 1 of 2 cannot reach the others"),
        distributed.process_group(minutes=0.01),
    ):
        pass


@pytest.mark.skipif(torch.cuda.device_count() > 63, reason="has the GPU that must be missing")
def test_more_processes_than_gpus(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("WORLD_SIZE", "64")
    alone.setenv("LOCAL_RANK", "63")
    with (
        pytest.raises(DeviceError, match=r"needs the GPU number 63.*--device cpu"),
        distributed.process_group("cuda"),
    ):
        pass
