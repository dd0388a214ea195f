"""`coloria train bigcolor` in two processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from coloria.train.checkpoint import Checkpoints

KILL_AT = 7
"""In the second of two epochs of five steps; the checkpoint is that of step 6."""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "coloria", "train", *words, "--device", "cpu", "--processes", "2"]


def new(folder: Path, photos: Path) -> list[str]:
    changes = ["stages.0.skip=true", "stages.1.skip=true"]
    sets = [word for change in changes for word in ("--set", change)]
    return command("bigcolor", "--config", "smoke/bigcolor", "--data", str(photos), "--out",
                   str(folder), *sets)  # fmt: skip


def finish(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, timeout=900, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that is trained, at the end of a run."""
    found = Checkpoints(folder / "checkpoints").latest()
    assert found is not None
    state = found[1]["state"]
    assert state["step"] == 10
    parts = {"net": state["net"], "d": state["discriminator"], "ema": state["ema"]["average"]}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}


def ranks(folder: Path) -> dict[bytes, int]:
    """The ids of the processes that train there, by their ranks."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:  # somebody else's, or it has ended
            continue
        if str(folder).encode() in words:
            rank = [v.partition(b"=")[2] for v in variables if v.startswith(b"RANK=")]
            found |= dict.fromkeys(rank, int(place.name))
    return found


def wait_for_step(log: Path, launcher: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if launcher.poll() is not None:
            raise AssertionError(launcher.communicate()[1].decode())
        text = log.read_text() if log.exists() else ""
        if any(line.startswith(f"{KILL_AT},") for line in text.splitlines()):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {KILL_AT} was never reached")


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_goes_on_bit_equal(
    photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    launcher = subprocess.Popen(new(folder, photos), env=ENVIRONMENT, stderr=subprocess.PIPE)
    wait_for_step(folder / "log.csv", launcher)
    training = ranks(folder)
    assert training.keys() == {b"0", b"1"}
    os.kill(training[b"1"], signal.SIGKILL)
    said = launcher.communicate(timeout=300)[1].decode()
    assert launcher.returncode != 0
    assert "rank      : 1 (local_rank: 1)" in said
    assert "Signal 9 (SIGKILL)" in said
    assert ranks(folder) == {}

    finish(command("--resume", str(folder)))
    finish(new(tmp_path / "whole", photos))
    resumed, whole = weights(folder), weights(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    assert [key for key in whole if not torch.equal(resumed[key], whole[key])] == []
