"""The run folder: what is in it, and what happens to it when a process is killed and goes on."""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field

from coloria.config import RunConfig, Strict, load_recipe
from coloria.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    NonFiniteLossError,
    TrainingError,
)
from coloria.train.run import Run, check_finite, default_folder, read_recipe


class Recipe(Strict):
    model: str = Field(default="artistic", description="which network")
    lr: float = Field(default=1e-3, gt=0, description="learning rate")
    run: RunConfig = Field(default=RunConfig(), description="how")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def rows(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.reader(file))


def work(run: Run[Recipe], steps: range, every: int = 5) -> None:
    """What a trainer does, without a network."""
    stage = run.timing.stage("gen-64", 64)
    with stage.running():
        for step in steps:
            stage.step(4)
            run.scalars(step, {"train/loss": 1 / step}, "gen-64")
            if step % every == 0:
                run.save(step, {"made": step})


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: [(event.step, event.value) for event in shown.Scalars(name)]
        for name in shown.Tags()["scalars"]
    }


# ------------------------------------------------------------------ beginning


def test_a_new_run_says_what_it_is(folder: Path) -> None:
    recipe = Recipe(lr=0.5)
    with Run.create(folder, recipe, command=["coloria", "train"]) as run:
        assert (run.step, run.state) == (0, None)
        work(run, range(1, 8))
    assert load_recipe(folder / "config.yaml", Recipe) == recipe
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["command"] == ["coloria", "train"]
    assert environment["packages"]["torch"] == importlib.metadata.version("torch")
    assert environment["threads"]["torch"] == torch.get_num_threads()
    assert environment["cpu"]["cores"] == os.cpu_count()
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000000005.pt"]
    with (folder / "timing.csv").open(newline="") as file:
        (timing,) = csv.DictReader(file)
    assert (timing["stage"], timing["steps"], timing["pictures"]) == ("gen-64", "7", "28")


def test_figures_are_in_the_csv_and_in_tensorboard(folder: Path) -> None:
    with Run.create(folder, Recipe()) as run:
        run.scalars(1, {"train/loss": 0.1, "val/ciede2000": 1e-30}, "gen-64", 3)
        assert rows(folder)[1:] == [  # at once, not only at the end
            ["1", "gen-64", "3", "train/loss", "0.1"],
            ["1", "gen-64", "3", "val/ciede2000", "1e-30"],
        ]
    shown = events(folder)
    assert shown["train/loss"] == [(1, pytest.approx(0.1))]
    assert shown["val/ciede2000"] == [(1, pytest.approx(1e-30))]


def test_a_folder_with_something_in_it_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("")
    with pytest.raises(TrainingError, match="is not empty; go on with that run by --resume"):
        Run.create(folder, Recipe())
    with pytest.raises(TrainingError, match=r"is not a run folder: it has no config\.yaml"):
        Run.resume(folder, Recipe)
    assert (folder / "mine.txt").exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="could not be written"):
        Run.create(tmp_path / "file", Recipe())


def test_tensorboard_is_asked_for_by_its_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install '.[train]'")):
        Run.create(folder, Recipe())
    assert not folder.exists()


def test_default_folders_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = default_folder("artistic", "smoke/artistic")
    first.mkdir(parents=True)
    second = default_folder("artistic", "smoke/artistic")
    assert re.fullmatch(r"runs/artistic-smoke-artistic-\d{8}-\d{6}", first.as_posix())
    assert second != first
    assert default_folder("zhang", "my/own.yaml").name.startswith("zhang-own-2")


# ------------------------------------------------------------------ going on


def test_a_run_goes_on_without_double_figures(folder: Path) -> None:
    with Run.create(folder, Recipe()) as run:
        work(run, range(1, 9))
    with (folder / "log.csv").open("a") as file:
        file.write("9,gen-64,0,train/lo")  # the process was killed in the middle of a row
    with Run.resume(folder, Recipe) as run:
        assert (run.step, run.state) == (5, {"made": 5})
        assert run.timing.stages["gen-64"].steps == 5
        assert [row[0] for row in rows(folder)[1:]] == ["1", "2", "3", "4", "5"]
        work(run, range(6, 11))
        assert run.timing.stages["gen-64"].pictures == 40
    assert [int(row[0]) for row in rows(folder)[1:]] == list(range(1, 11))
    assert [step for step, _ in events(folder)["train/loss"]] == list(range(1, 11))


def test_a_run_without_a_checkpoint_begins_again(folder: Path) -> None:
    with Run.create(folder, Recipe()) as run:
        work(run, range(1, 4))
    with Run.resume(folder, Recipe) as run:
        assert (run.step, run.state) == (0, None)
    assert len(rows(folder)) == 1


def test_changes_are_recorded_and_hold(folder: Path) -> None:
    with Run.create(folder, Recipe()) as run:
        work(run, range(1, 6))
    with Run.resume(folder, Recipe, ["lr=0.1", "run.seed=1"], command=["a"]) as run:
        assert run.recipe.lr == 0.1
    with Run.resume(folder, Recipe, ["lr=0.2"]) as run:
        assert (run.recipe.lr, run.recipe.run.seed) == (0.2, 1)
    with pytest.raises(ConfigError, match="lrr: unknown key, did you mean 'lr'"):
        Run.resume(folder, Recipe, ["lrr=1"])
    history = json.loads((folder / "resumes.json").read_text())
    assert [(entry["step"], entry["set"]) for entry in history] == [
        (5, ["lr=0.1", "run.seed=1"]),
        (5, ["lr=0.2"]),
    ]
    assert history[0]["environment"]["command"] == ["a"]
    assert read_recipe(folder, Recipe) == Recipe(lr=0.2, run=RunConfig(seed=1))
    assert load_recipe(folder / "config.yaml", Recipe) == Recipe()  # as it began


def test_a_damaged_history_is_an_error(folder: Path) -> None:
    Run.create(folder, Recipe()).close()
    (folder / "resumes.json").write_text('[{"set"')
    with pytest.raises(ConfigError, match=r"resumes.json is damaged"):
        Run.resume(folder, Recipe)


def test_damaged_checkpoints_stop_the_run_and_free_the_folder(folder: Path) -> None:
    with Run.create(folder, Recipe()) as run:
        path = run.save(1, {})
    path.write_bytes(b"")
    for _ in range(2):  # the second one would say "in use" if the lock had stayed
        with pytest.raises(CheckpointError, match="no checkpoint can be read"):
            Run.resume(folder, Recipe)


HOLDER = """
import sys, time
from pydantic import Field
from coloria.config import Strict
from coloria.train.run import Run
class Recipe(Strict):
    lr: float = Field(default=1e-3, description="learning rate")
run = Run.create(sys.argv[1], Recipe())
print("ready", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_until_it_is_killed(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for begin in (lambda: Run.resume(folder, Recipe), lambda: Run.create(folder, Recipe())):
        with pytest.raises(TrainingError, match=f"is in use by process {process.pid}; wait"):
            begin()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    Run.resume(folder, Recipe).close()


def test_the_first_error_is_not_hidden_by_the_second(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    run = Run.create(folder, Recipe())
    monkeypatch.setattr(run.timing, "write", full)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt
    assert "No space left on device" in caplog.text
    Run.resume(folder, Recipe).close()


# ------------------------------------------------------------------ a whole training, killed

TRAINING = """
import os, signal, sys
from pathlib import Path
import torch
from pydantic import Field
from torch import nn
from coloria.config import RunConfig, Strict
from coloria.train.checkpoint import rng_state, seed_all, set_rng_state
from coloria.train.ema import Ema
from coloria.train.run import Run

class Recipe(Strict):
    lr: float = Field(default=1e-3, description="learning rate")
    run: RunConfig = Field(default=RunConfig(), description="how")

def train(run, steps, kill_at=None):
    seed_all(run.recipe.run.seed)
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 1))
    adam = torch.optim.Adam(net.parameters(), run.recipe.lr)
    ema = Ema(net, 0.9)
    if run.state:
        net.load_state_dict(run.state["net"])
        adam.load_state_dict(run.state["adam"])
        ema.load_state_dict(run.state["ema"])
        set_rng_state(run.state["rng"])
    for step in range(run.step + 1, steps + 1):
        adam.zero_grad()
        loss = net(torch.randn(4, 8)).square().mean()
        loss.backward()
        adam.step()
        ema.update(net)
        run.scalars(step, {"loss": loss.item()}, "only")
        if step % 5 == 0:
            run.save(step, {"net": net.state_dict(), "adam": adam.state_dict(),
                            "ema": ema.state_dict(), "rng": rng_state()})
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    return [*net.state_dict().values(), *ema.average.values()]
"""


def test_a_killed_training_ends_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "training.py").write_text(TRAINING)
    killed = tmp_path / "killed"
    call = "import training as t; t.train(t.Run.create('killed', t.Recipe()), 20, kill_at=13)"
    assert subprocess.run([sys.executable, "-c", call], cwd=tmp_path).returncode == -signal.SIGKILL
    monkeypatch.syspath_prepend(tmp_path)
    training = importlib.import_module("training")
    with Run.create(tmp_path / "whole", training.Recipe()) as run:
        wanted = training.train(run, 20)
    with Run.resume(killed, training.Recipe) as run:
        assert run.step == 10
        came = training.train(run, 20)
    assert all(torch.equal(a, b) for a, b in zip(came, wanted, strict=True))
    assert rows(killed) == rows(tmp_path / "whole")


# ------------------------------------------------------------------ losses


def test_a_loss_that_is_not_finite_stops_with_place_and_part() -> None:
    check_finite({"pixel": 1.0, "feature": 2.0}, "stage gen-64, epoch 1, step 7")
    with pytest.raises(NonFiniteLossError) as caught:
        check_finite({"pixel": 0.5, "feature": float("nan"), "lab": float("-inf")}, "stage a")
    text = str(caught.value)
    assert text.startswith("stage a: feature is nan, lab is -inf (the others: pixel 0.5); stopped")
    assert "--resume" in text
