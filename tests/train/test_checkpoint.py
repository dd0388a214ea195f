"""Checkpoints against damage, a full disk, kill -9, and files that would run code."""

from __future__ import annotations

import logging
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coloria.errors import CheckpointError
from coloria.train.checkpoint import Checkpoints, load, rng_state, save, seed_all, set_rng_state


def state(step: int = 3) -> dict[str, Any]:
    torch.manual_seed(step)
    net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.BatchNorm1d(30))
    adam = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 20)).square().sum().backward()
    adam.step()
    return {
        "net": net.state_dict(),
        "optimizer": adam.state_dict(),
        "half": torch.randn(5).bfloat16(),
        "step": step,
        "words": ["a", None, True, 0.1, (1, 2), {"b": b"bytes"}],
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def spoil(path: Path) -> None:
    """Flip one bit in the bytes of the largest tensor."""
    with zipfile.ZipFile(path) as file:
        largest = max(file.infolist(), key=lambda info: info.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    path.write_bytes(data)


# ------------------------------------------------------------------ one file


@pytest.mark.parametrize("mmap", [False, True])
def test_what_is_saved_is_read_back(tmp_path: Path, mmap: bool) -> None:
    wanted = state()
    save(tmp_path / "a.pt", wanted)
    assert same(load(tmp_path / "a.pt", mmap), wanted)
    assert same(torch.load(tmp_path / "a.pt", weights_only=True), wanted)
    assert names(tmp_path) == ["a.pt"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {2}]}, r"state\['a'\]\[1\] is a set"),
        ({"a": {"b": np.float64(1)}}, r"state\['a'\]\['b'\] is a float64"),
        ({"a": np.zeros(2)}, "is a ndarray"),
        ({"a": torch.float32}, "is a dtype"),
    ],
)
def test_only_plain_things_are_saved(tmp_path: Path, value: Any, place: str) -> None:
    with pytest.raises(TypeError, match=place):
        save(tmp_path / "a.pt", value)
    assert names(tmp_path) == []


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"a": Evil(tmp_path / "ran")}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="objects that are not data; refused"):
        load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path / "b.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_cut_file_is_named_with_one_that_is_whole(tmp_path: Path, share: float) -> None:
    files = Checkpoints(tmp_path)
    whole, cut = files.save(1, state()), files.save(2, state())
    cut.write_bytes(cut.read_bytes()[: int(share * cut.stat().st_size)])
    with pytest.raises(CheckpointError, match=re.escape(f"{whole} is intact: use that one")):
        load(cut)


def test_a_single_changed_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "000000001.pt"
    save(path, {"tensor": torch.randn(4096)})
    spoil(path)
    torch.load(path, weights_only=True)  # PyTorch itself does not notice
    with pytest.raises(
        CheckpointError, match=r"is damaged: the bytes of .* have changed; no other"
    ):
        load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a.pt cannot be read: No such file"):
        load(tmp_path / "a.pt")


# ------------------------------------------------------------------ the checkpoints of a run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_old_steps_go_and_stages_stay(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path / "new" / "folder", keep=2)
    assert files.latest() is None
    for step in (10, 20, 30):
        files.save(step, {"step": step})
    files.save(30, {"step": 30, "stage": "a"}, stage="gen-64")
    for step in (40, 50, 60):
        files.save(step, {"step": step})
    assert names(files.folder) == ["000000030-gen-64.pt", "000000050.pt", "000000060.pt"]
    assert files.stage("gen-64") == files.folder / "000000030-gen-64.pt"
    assert files.stage("gen-128") is None
    found = files.latest()
    assert found is not None
    assert found == (files.folder / "000000060.pt", {"step": 60})


def test_the_newest_is_by_step_not_by_time(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path, keep=9)
    files.save(200, {"step": 200})
    files.save(1_000_000_000, {"step": 10**9})
    files.save(100, {"step": 100})
    files.save(10**9, {"step": 10**9, "stage": "last"}, stage="last")
    found = files.latest()
    assert found is not None
    assert found[1] == {"step": 10**9, "stage": "last"}


def test_a_damaged_newest_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        files.save(step, {"step": step, "tensor": torch.randn(4096)})
    (tmp_path / "000000003.pt").write_bytes(b"")
    spoil(tmp_path / "000000002.pt")
    with caplog.at_level(logging.WARNING):
        found = files.latest()
    assert found is not None
    assert found[1]["step"] == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "000000003.pt is damaged or cut short" in caplog.text
    spoil(tmp_path / "000000001.pt")
    with pytest.raises(CheckpointError, match=r"no checkpoint can be read: .*3.pt.*2.pt.*1.pt"):
        files.latest()


def test_a_stage_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"got '\.\./a'"):
        Checkpoints(tmp_path).save(1, {}, stage="../a")


# ------------------------------------------------------------------ the system says no

FULL = """
import resource, sys, torch
from coloria.errors import CheckpointError
from coloria.train.checkpoint import Checkpoints
files = Checkpoints(sys.argv[1])
files.save(1, {"tensor": torch.zeros(1000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    files.save(2, {"tensor": torch.zeros(1_000_000), "more": torch.zeros(10)})
except CheckpointError as error:
    print(error)
files.save(3, {"tensor": torch.ones(1000)})
"""


def test_a_file_that_cannot_grow_leaves_the_last_one(tmp_path: Path) -> None:
    """The kernel refuses to write more than 100 kB, as it does on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "000000002.pt could not be written: File too large" in done.stdout
    assert f"the last checkpoint, {tmp_path / '000000001.pt'}, is intact" in done.stdout
    assert "go on with --resume" in done.stdout
    assert done.stderr == ""
    assert names(tmp_path) == ["000000001.pt", "000000003.pt"]
    assert torch.equal(load(tmp_path / "000000001.pt")["tensor"], torch.zeros(1000))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="there is no earlier checkpoint"):
        Checkpoints(tmp_path / "file" / "checkpoints").save(1, {})


SAVING = """
import sys, torch
from coloria.train.checkpoint import Checkpoints
files = Checkpoints(sys.argv[1])
print("ready", flush=True)
for step in range(1, 1_000_000):
    files.save(step, {"step": step, "tensor": torch.full((1_000_000,), float(step))})
"""


def kill_while_saving(folder: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while not list(folder.glob("*.pt")):
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize(
    "seconds",
    [0.1, *(pytest.param(0.037 * k, marks=pytest.mark.slow) for k in range(12))],
)
def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, seconds: float) -> None:
    kill_while_saving(tmp_path, seconds)
    files = Checkpoints(tmp_path)
    found = files.latest()
    assert found is not None
    path, saved = found
    assert path == max(tmp_path.glob("*.pt"))  # none with a name is damaged
    assert int(path.stem) == saved["step"]
    assert torch.equal(saved["tensor"], torch.full((1_000_000,), float(saved["step"])))
    files.save(saved["step"] + 1, {})
    assert all(re.fullmatch(r"\d{9}\.pt", name) for name in names(tmp_path)), names(tmp_path)


# ------------------------------------------------------------------ random numbers


def draws() -> tuple[Any, ...]:
    numpy = np.random.standard_normal(3).tolist()  # noqa: NPY002
    return random.random(), random.gauss(0, 1), numpy, torch.randn(3).tolist()


def test_draws_go_on_after_a_checkpoint(tmp_path: Path) -> None:
    seed_all(7)
    draws()  # leaves a second normal number waiting in Python's and in NumPy's generator
    save(tmp_path / "a.pt", rng_state())
    wanted = draws(), draws()
    seed_all(8)
    assert draws() != wanted[0]
    set_rng_state(load(tmp_path / "a.pt"))
    assert (draws(), draws()) == wanted


def test_a_seed_fixes_all_draws() -> None:
    seed_all(2**32 - 1)
    first = draws()
    seed_all(2**32 - 1)
    assert draws() == first
