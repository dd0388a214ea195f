"""The trainer of `eccv16` and `siggraph17` end to end on toy recipes."""

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
from PIL import Image

import coloria
from coloria.config import load_recipe
from coloria.errors import ConfigError, NonFiniteLossError
from coloria.export import export
from coloria.train.checkpoint import Checkpoints
from coloria.train.chroma_recipe import ChromaRecipe, ChromaStage
from coloria.train.start import start
from coloria.weightfile import read_card

COMPACT = ["network.encoder=efficientnet_lite0", "network.pretrained=none", "network.middle=16",
           "network.factor=0.25", "stages.1.train=decoder"]  # fmt: skip
"""Turns the toy recipe of siggraph17 into one of the compact network."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bit-equality holds for one number of threads: that of the killed processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 smooth coloured pictures."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(24):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((72, 60), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02d}.jpg", quality=95)
    return folder


def run(model: str, folder: Path, photos: Path, *changes: str) -> Path:
    start(
        model, config=f"smoke/{model}", data=[photos], changes=changes, folder=folder, device="cpu"
    )
    return folder


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(path.read_text().splitlines()))


def state(folder: Path) -> dict[str, object]:
    found = Checkpoints(folder / "checkpoints").latest()
    assert found is not None
    return dict(found[1]["state"])


def last(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that is trained, at the end of a run."""
    at = state(folder)
    averages = {f"ema.{k}": v for k, v in (at["ema"] or {"average": {}})["average"].items()}
    return {**at["net"], **averages, "step": torch.tensor(at["step"])}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.fixture(scope="module")
def eccv16(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("eccv16", tmp_path_factory.mktemp("runs") / "eccv16", photos)


@pytest.fixture(scope="module")
def siggraph17(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("siggraph17", tmp_path_factory.mktemp("runs") / "siggraph17", photos)


@pytest.fixture(scope="module")
def compact(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("siggraph17", tmp_path_factory.mktemp("runs") / "compact", photos, *COMPACT)


@pytest.mark.slow
def test_eccv16_trains_on_weighted_classes(eccv16: Path) -> None:
    names = {row["name"] for row in table(eccv16 / "log.csv")}
    assert names >= {"train/classes", "val/classes", "val/ciede2000", "val/colorfulness"}
    assert "train/colours" not in names
    weights = state(eccv16)["weights"]
    assert isinstance(weights, torch.Tensor)
    assert weights.shape == (313,)
    assert weights.max() > 1.2 > 1 > weights.min()


@pytest.mark.slow
def test_the_bins_of_eccv16_stay_where_they_are(eccv16: Path) -> None:
    from coloria.models.bins import gamut_bins

    out = last(eccv16)["model_out.weight"]
    assert torch.equal(out[..., 0, 0], gamut_bins().T / 110)


@pytest.mark.slow
def test_siggraph17_trains_both_heads_and_is_validated_with_hints(siggraph17: Path) -> None:
    rows = table(siggraph17 / "log.csv")
    names = {row["name"] for row in rows}
    assert names >= {"train/classes", "train/colours", "val/ciede2000", "val/ciede2000-10-hints"}
    assert [row["stage"] for row in table(siggraph17 / "timing.csv")] == ["classes", "colours"]
    rates = [float(r["value"]) for r in rows if r["name"] == "train/lr" and r["stage"] == "colours"]
    assert rates[0] == pytest.approx(1e-3 / 25)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["eccv16", "siggraph17", "compact"])
def test_a_run_becomes_a_weight_file_that_colours(
    request: pytest.FixtureRequest, fixture: str, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(fixture)
    path = export(folder, tmp_path / "a.safetensors")
    card = read_card(path)
    assert card is not None
    assert card.provenance["figures"].keys() >= {"ciede2000", "colorfulness"}
    result = coloria.load(card.model, str(path)).colorize(np.zeros((40, 50), np.uint8))
    assert result.shape == (40, 50, 3)


@pytest.mark.slow
def test_an_encoder_that_stands_still_does_so_with_its_statistics(compact: Path) -> None:
    path = Checkpoints(compact / "checkpoints").stage("classes")
    assert path is not None
    before = torch.load(path, weights_only=True)["state"]["net"]
    after = last(compact)
    encoder = [key for key in before if key.startswith("encoder.")]
    assert encoder
    assert [key for key in encoder if not torch.equal(before[key], after[key])] == []
    assert not torch.equal(before["colours.weight_orig"], after["colours.weight_orig"])


@pytest.mark.slow
@pytest.mark.parametrize(("model", "step"), [("siggraph17", 3), ("siggraph17", 13), ("eccv16", 7)])
def test_killed_and_resumed_runs_end_bit_equal(
    request: pytest.FixtureRequest, photos: Path, tmp_path: Path, model: str, step: int
) -> None:
    """kill -9 in the first and in the second stage; then --resume."""
    finished = request.getfixturevalue(model)
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "coloria", "train", model, "--config", f"smoke/{model}",
               "--data", str(photos), "--out", str(folder), "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    wait_for_step(folder / "log.csv", step, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    start(None, resume=folder, device="cpu")
    assert_equal(last(folder), last(finished))
    seen = [(row["step"], row["name"]) for row in table(folder / "log.csv")]
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
def test_training_learns_to_follow_hints(photos: Path, tmp_path: Path) -> None:
    """With a hint on nearly everything, the colours under it are soon the hints'."""
    changes = ["stages.0.skip=true", "stages.1.epochs=16", "stages.1.lr=5e-3",
               "stages.1.hints_stop=0.02", "stages.1.shared=both", *COMPACT]  # fmt: skip
    folder = run("siggraph17", tmp_path / "long", photos, *changes)
    figures: dict[str, list[float]] = {}
    for row in table(folder / "log.csv"):
        figures.setdefault(row["name"], []).append(float(row["value"]))
    losses = figures["train/colours"]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    assert figures["val/ciede2000-10-hints"][-1] < figures["val/ciede2000"][-1]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_before_the_step(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"stage classes, epoch \d+, step \d+"):
        run("siggraph17", tmp_path / "wild", photos, "stages.0.lr=1e30", "run.checkpoint_every=1")
    assert all(torch.isfinite(v).all() for v in state(tmp_path / "wild")["net"].values())


@pytest.mark.slow
def test_two_processes_train_one_network(photos: Path, tmp_path: Path) -> None:
    """gloo averages the gradients, and the counts of the classes; the run is written once."""
    folder = tmp_path / "two"
    command = [sys.executable, "-m", "coloria", "train", "eccv16", "--config", "smoke/eccv16",
               "--data", str(photos), "--out", str(folder), "--device", "cpu", "--processes", "2",
               "--set", "stages.1.skip=true"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert int(last(folder)["step"]) == 10


def test_dry_run_shows_the_plan_and_writes_nothing(
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    start("siggraph17", config="smoke/siggraph17", data=[photos], dry_run=True)
    assert "colours" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["eccv16", "siggraph17", "siggraph17-compact", "smoke/eccv16", "smoke/siggraph17"]
)
def test_every_recipe_is_valid(name: str) -> None:
    assert load_recipe(name, ChromaRecipe).model in name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.1.name=classes", "name of its own"),
        ("model=eccv16", "eccv16 has none"),
        ("losses={classes: 0, colours: 0}", "above 0"),
        ("stages.0.size=36", "multiple of 8"),
        ("stages.0.hints_stop=0", "hints_stop"),
    ],
)
def test_mistakes_are_said(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(
            "smoke/siggraph17", ChromaRecipe, ["network.encoder=efficientnet_lite0", change]
        )


def test_rate_is_a_function_of_the_step_alone() -> None:
    """Up from a 25th in a tenth of 100 steps, then half a cosine to nearly 0."""
    stage = ChromaStage(name="a", size=32, batch=1, lr=1.0, schedule="cosine", warm_up=0.1)
    assert stage.rate(0, 100) == pytest.approx(0.04)
    assert stage.rate(5, 100) == pytest.approx(0.52)
    assert stage.rate(10, 100) == 1
    assert stage.rate(55, 100) == pytest.approx(0.5)
    assert stage.rate(99, 100) == pytest.approx(0, abs=1e-3)
    constant = ChromaStage(name="a", size=32, batch=1, lr=1.0)
    assert {constant.rate(i, 100) for i in range(100)} == {1.0}
