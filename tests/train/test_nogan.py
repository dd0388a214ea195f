"""The trainer end to end on a toy recipe: stages, kill and resume, failures."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import coloria
from coloria.config import load_recipe
from coloria.errors import ConfigError, DataError, NonFiniteLossError, OptionError, TrainingError
from coloria.export import export
from coloria.train.checkpoint import Checkpoints, load, save
from coloria.train.pick import best, read_scores
from coloria.train.schedule import NoGanRecipe
from coloria.train.start import start
from coloria.weightfile import read_card


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """Bit-equality holds for one number of threads: that of the killed processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder: Path, photos: Path, *changes: str, **options: object) -> Path:
    start(
        "artistic", config="smoke/artistic", data=[photos], changes=changes, folder=folder,
        device="cpu", **options,
    )  # fmt: skip
    return folder


CYCLES = ["make-1", "critic-1", "gan-1", "make-2", "critic-2", "gan-2"]


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))


def last(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that is trained, at the end of a run."""
    found = Checkpoints(folder / "checkpoints").latest()
    assert found is not None
    state = found[1]["state"]
    averages = {f"ema.{k}": v for k, v in state["ema"]["average"].items()}
    critic = {f"critic.{k}": v for k, v in (state["critic"] or {}).items()}
    return {**state["net"], **averages, **critic, "step": torch.tensor(state["step"])}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    return run(tmp_path_factory.mktemp("runs") / "whole", photos)


@pytest.mark.slow
def test_run_folder_holds_what_a_person_looks_for(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {"config.yaml", "environment.json", "log.csv", "timing.csv", "pictures"}
    rows = table(finished / "log.csv")
    figures = {row["name"] for row in rows}
    assert figures >= {"train/loss", "train/lr", "val/lab", "val/ciede2000", "val/colorfulness"}
    assert max(int(row["step"]) for row in rows) == int(last(finished)["step"])
    # One an epoch of pre-training, one of what was made for the critic.
    assert len(list((finished / "pictures").glob("*.png"))) == 4 + 2
    stages = table(finished / "timing.csv")
    assert [row["stage"] for row in stages] == ["gen-32", "gen-48", *CYCLES]
    assert [float(row["epochs"]) for row in stages] == [2, 2, *[1, 2, 1] * 2]
    assert [int(row["steps"]) for row in stages] == [10, 20, *[0, 10, 5] * 2]
    assert figures >= {"train/critic-true", "train/adversarial", "val/accuracy", "val/critic"}


@pytest.mark.slow
def test_learning_rate_is_the_published_one_cycle(finished: Path) -> None:
    """Cosine from a 25th of the peak up, then down to a 250,000th."""
    rows = table(finished / "log.csv")
    rates = [float(r["value"]) for r in rows if r["name"] == "train/lr" and r["stage"] == "gen-32"]
    assert rates[0] == pytest.approx(1e-3 / 25)
    assert max(rates) == pytest.approx(1e-3, rel=0.02)
    assert rates[-1] < 1e-4
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.slow
def test_training_learns(finished: Path, photos: Path, tmp_path: Path) -> None:
    """More epochs on the same pictures: the loss on them falls."""
    folder = run(
        tmp_path / "long",
        photos,
        "stages.0.epochs=12",
        "stages.0.train=all",
        "stages.0.lr=5e-3",
        "stages.1.skip=true",
        "cycles=0",
    )
    rows = table(folder / "log.csv")
    losses = [float(r["value"]) for r in rows if r["name"] == "train/loss"]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@pytest.mark.slow
def test_frozen_parts_stand_still_and_their_batch_norms_do_not(finished: Path) -> None:
    """Stage gen-32 trains the decoder; its encoder's kernels are those of the beginning."""
    torch.manual_seed(load_recipe("smoke/artistic", NoGanRecipe).run.seed)
    path = Checkpoints(finished / "checkpoints").stage("gen-32")
    assert path is not None
    after = load(path)["state"]["net"]
    from coloria.models.deoldify import DeOldify

    recipe = load_recipe("smoke/artistic", NoGanRecipe)
    before = DeOldify(recipe.network.shape(), recipe.network.coding()).state_dict()
    kernels = [k for k in before if k.startswith("layers.0.") and before[k].ndim == 4]
    assert all(torch.equal(before[k], after[k]) for k in kernels)
    means = [k for k in before if k.startswith("layers.0.") and k.endswith("running_mean")]
    assert not any(torch.equal(before[k], after[k]) for k in means)
    assert not torch.equal(before["layers.3.0.0.weight_orig"], after["layers.3.0.0.weight_orig"])


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 11, 17, 35, 43, 54])
def test_killed_and_resumed_runs_end_bit_equal(
    finished: Path, photos: Path, tmp_path: Path, step: int
) -> None:
    """kill -9 in the first stage, at its end, in the second, in the critic's, in the adversarial
    one, and in the critic's of the second cycle; then --resume.
    """
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "coloria", "train", "artistic", "--config", "smoke/artistic",
               "--data", str(photos), "--out", str(folder), "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    wait_for_step(folder / "log.csv", step, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    start(None, resume=folder, device="cpu")
    assert_equal(last(folder), last(finished))
    # What was recorded twice stands once.
    rows = table(folder / "log.csv")
    seen = [(row["step"], row["name"]) for row in rows]
    assert len(seen) == len(set(seen))


def wait_for_step(log: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode())
        text = log.read_text() if log.exists() else ""
        if any(line.startswith(f"{step},") for line in text.splitlines()):
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} was never reached")


@pytest.mark.slow
def test_the_schedule_of_stable_runs_to_a_weight_file(photos: Path, tmp_path: Path) -> None:
    """All stages; then the checkpoint that the rule chooses, and one that somebody picked."""
    start("stable", config="smoke/stable", data=[photos], folder=tmp_path / "run", device="cpu")
    stages = table(tmp_path / "run" / "timing.csv")
    assert [row["stage"] for row in stages] == ["gen-32", "gen-48", *CYCLES]
    scores = read_scores(tmp_path / "run")
    assert {score.stage for score in scores} == {"gan-1", "gan-2"}
    steps = {}
    for pick in (None, scores[0].step):
        path = export(tmp_path / "run", tmp_path / "a.safetensors", pick=pick)
        card = read_card(path)
        assert card is not None
        assert card.model == "stable"
        steps[pick] = card.provenance["steps"]
    assert steps == {None: best(scores, 0.0).step, scores[0].step: scores[0].step}
    picture = coloria.load("stable", str(path)).colorize(np.zeros((40, 50), np.uint8))
    assert picture.shape == (40, 50, 3)


@pytest.mark.slow
def test_a_finished_run_goes_on_with_cycles_that_are_added(photos: Path, tmp_path: Path) -> None:
    """Pre-training of before there were any, told now to go on with the critic."""
    folder = run(tmp_path / "run", photos, "stages.1.skip=true", "cycles=0")
    before = Checkpoints(folder / "checkpoints").latest()
    assert before is not None
    whole = before[1]
    del whole["state"]["critic"]  # as it was then
    save(before[0], whole)
    start(None, resume=folder, changes=["cycles=1", "cycle.1.epochs=1"], device="cpu")
    stages = table(folder / "timing.csv")
    assert [row["stage"] for row in stages] == ["gen-32", "gen-48", *CYCLES[:3]]


@pytest.mark.slow
def test_changes_on_resume_are_recorded(finished: Path, photos: Path, tmp_path: Path) -> None:
    folder = run(tmp_path / "short", photos, "stages.1.skip=true", "cycles=0")
    start(None, resume=folder, changes=["stages.1.skip=false",
          "stages.1.lr=1e-5"], device="cpu")  # fmt: skip
    assert "stages.1.lr=1e-5" in (folder / "resumes.json").read_text()
    rates = [float(row["value"]) for row in table(folder / "log.csv")
             if row["name"] == "train/lr" and row["stage"] == "gen-48"]  # fmt: skip
    assert 0 < max(rates) <= 1e-5


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_before_the_step(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        NonFiniteLossError,
        match=r"^stage gen-32, epoch \d+, batch \d+: .*(loss|pixel|lab) is (nan|inf)",
    ):
        run(tmp_path / "wild", photos, "stages.0.lr=1e30", "run.checkpoint_every=1")
    found = Checkpoints(tmp_path / "wild" / "checkpoints").latest()
    assert found is not None
    assert all(torch.isfinite(v).all() for v in found[1]["state"]["net"].values())


def test_everything_missing_is_said_at_once(tmp_path: Path) -> None:
    changes = ["losses.feature=1", f"losses.feature_network={tmp_path}/vgg.pth",
               f"network.pretrained={tmp_path}/encoder.pth"]  # fmt: skip
    with pytest.raises(TrainingError) as caught:
        start("artistic", config="smoke/artistic", data=[tmp_path / "nowhere"], changes=changes)
    for part in ("nowhere", "--data", "vgg.pth", "encoder.pth", "3 things"):
        assert part in str(caught.value)


def test_no_photographs_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError):
        start("artistic", config="smoke/artistic", data=[tmp_path])


def test_dry_run_shows_steps_and_memory_and_writes_nothing(
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    start("artistic", config="smoke/artistic", data=[photos], dry_run=True)
    text = capsys.readouterr().err
    assert "gen-32" in text
    assert "GB" in text
    assert list(tmp_path.iterdir()) == []


def test_recipe_of_another_model_is_refused(photos: Path) -> None:
    with pytest.raises(OptionError, match="trains 'artistic', not 'stable'"):
        start("stable", config="smoke/artistic", data=[photos])


def test_stages_share_no_name() -> None:
    with pytest.raises(ConfigError, match="name of its own"):
        load_recipe("smoke/artistic", NoGanRecipe, ["stages.1.name=gen-32"])


@pytest.mark.slow
def test_two_processes_train_one_network(photos: Path, tmp_path: Path) -> None:
    """gloo averages the gradients; the run is written once."""
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "coloria", "train", "artistic", "--config", "smoke/artistic",
               "--data", str(photos), "--out", str(folder), "--device", "cpu", "--processes", "2",
               "--set", "stages.1.skip=true", "--set", "cycles=1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert int(last(folder)["step"]) == 10 + 10 + 5
