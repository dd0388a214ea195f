"""The trainer of `zhang` end to end on a toy recipe, on both backends, and its parts."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import coloria
from coloria.config import load_recipe
from coloria.errors import ConfigError, DataError, DeviceError, NonFiniteLossError, TrainingError
from coloria.keras_backend import keras
from coloria.models import zhang
from coloria.train import keras_device, keras_losses, keras_unet, losses, trainers
from coloria.train.checkpoint import Checkpoints
from coloria.train.data import Photos
from coloria.train.keras_data import Feed
from coloria.train.keras_recipe import KerasRecipe
from coloria.train.loader import Batches
from coloria.train.start import start
from coloria.weightfile import read_card, read_state

ELSEWHERE = Path(__file__).with_name("keras_elsewhere.py")


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
    folder = tmp_path_factory.mktemp("zhang") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(24):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((72, 60), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02d}.jpg", quality=95)
    return folder


def run(folder: Path, photos: Path, *changes: str) -> Path:
    start(
        "zhang", config="smoke/zhang", data=[photos], changes=changes, folder=folder, device="cpu"
    )
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's log."""
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def last(folder: Path) -> dict[str, Any]:
    found = Checkpoints(folder / "checkpoints").latest()
    assert found is not None
    return dict(found[1]["state"])


def assert_equal(one: Path, other: Path) -> None:
    """Two runs have ended with the same weights, to the bit."""
    a, b = last(one), last(other)
    assert a["step"] == b["step"]
    assert a["net"].keys() == b["net"].keys()
    assert [k for k in a["net"] if not torch.equal(a["net"][k], b["net"][k])] == []


@pytest.fixture(scope="module")
def finished(photos: Path) -> Path:
    """A run that nobody interrupted, with all its checkpoints."""
    return run(photos.parent / "whole", photos, "run.keep=100")


# ------------------------------------------------------------------ a whole run


@pytest.mark.slow
def test_run_folder_holds_what_a_person_looks_for(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {"config.yaml", "environment.json", "timing.csv", "pictures", "tensorboard"}
    assert not any(name.startswith(".") for name in names)
    assert json.loads((finished / "environment.json").read_text())["keras_backend"] == "torch"
    rows = table(finished)
    assert {row["name"] for row in rows} >= {
        "train/loss", "train/lr", "train/mae", "train/keras_accuracy",
        "val/mae", "val/keras_accuracy", "val/ciede2000", "val/colorfulness",
    }  # fmt: skip
    assert [row["stage"] for row in rows if row["name"] == "val/mae"] == [
        "fit-32", "fit-32", "fit-64"
    ]  # fmt: skip
    rates = [float(r["value"]) for r in rows if r["name"] == "train/lr"]
    assert rates[:8] == pytest.approx([1e-3] * 8)
    assert rates[8:] == pytest.approx([4e-5, 1e-3, 7.5e-4, 2.5e-4])  # warm, then half a cosine
    moved = last(finished)["net"]["up5_conv/bias"]
    assert moved.abs().max() > 1e-3  # that they are used, too


@pytest.mark.slow
def test_what_it_wrote_is_a_weight_file_that_colours(finished: Path) -> None:
    card = read_card(finished / "zhang.safetensors")
    assert card is not None
    assert (card.model, card.config, card.default_size) == ("zhang", {"width": 0.0625}, 32)
    assert card.provenance["figures"].keys() >= {"mae", "keras_accuracy", "ciede2000"}
    state, _ = read_state(finished / "zhang.safetensors")
    trained = last(finished)["net"]
    assert all(torch.allclose(state[k], trained[k], rtol=1e-3, atol=1e-6) for k in trained)
    colorizer = coloria.load("cnn", str(finished / "zhang.safetensors"))
    assert colorizer.colorize(np.zeros((40, 50), np.uint8)).shape == (40, 50, 3)


@pytest.mark.slow
def test_keras_files_load_in_plain_keras(finished: Path, tmp_path: Path) -> None:
    """In a process that has never heard of this package: same answers, ready to evaluate."""
    pictures = np.random.default_rng(0).random((2, 32, 64, 3), np.float32)
    np.save(tmp_path / "pictures.npy", pictures)
    for name in ("zhang.keras", "zhang.h5"):
        shutil.copy(finished / name, tmp_path)
    found = elsewhere("plain", tmp_path, "torch")
    assert found["coloria"] is False
    model = zhang.network(zhang.ZhangConfig(0.0625), dropout=0.2)
    zhang.assign(model, last(finished)["net"])
    want = model.predict(pictures, verbose=0)
    for name in ("zhang.keras", "zhang.h5"):
        assert np.abs(np.array(found[name]) - want).max() < 1e-5


def elsewhere(task: str, folder: Path, backend: str) -> dict[str, Any]:
    """The last line that a task of :mod:`keras_elsewhere` prints."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(ELSEWHERE), task, str(folder)],
        capture_output=True, text=True, timeout=900, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_tensorflow_trains_resumes_and_colours_alike(finished: Path, photos: Path) -> None:
    """The same weights give the same colours on both backends; and a run on TensorFlow goes on
    where it was interrupted and may use several devices.
    """
    pytest.importorskip("tensorflow")
    folder = photos.parent
    shutil.copy(finished / "zhang.safetensors", folder)
    gray = np.random.default_rng(0).random((2, 1, 64, 96), np.float32)
    np.save(folder / "gray.npy", gray)
    assert elsewhere("tensorflow", folder, "tensorflow") == {"replicas": 2}

    state, card = read_state(folder / "zhang.safetensors")
    assert card is not None
    want = zhang.load("zhang", state, card.config).colorize(torch.from_numpy(gray)).numpy()
    assert np.abs(np.load(folder / "tensorflow.npy") - want).max() < 1e-5
    assert last(folder / "tf")["step"] == last(folder / "tf-half")["step"] == 12
    for one, other in zip(rows_of(folder / "tf"), rows_of(folder / "tf-half"), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert last(folder / "tf-two")["step"] == 8
    assert {p.name for p in (folder / "tf-two").iterdir()} >= {"zhang.keras", "zhang.h5"}


def rows_of(folder: Path) -> list[float]:
    return [float(row["value"]) for row in table(folder) if row["name"].startswith("val/")]


# ------------------------------------------------------------------ interrupted


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 4, 6, 8, 10])
def test_it_goes_on_from_every_checkpoint(finished: Path, tmp_path: Path, step: int) -> None:
    """In the middle of an epoch, at its end before the validation, and in the second stage."""
    folder = shutil.copytree(finished, tmp_path / "half")
    for path in (folder / "checkpoints").iterdir():
        if int(path.name[:9]) > step or (step == 8 and "fit-32" in path.name):
            path.unlink()
    start(None, resume=folder, device="cpu")
    assert_equal(folder, finished)
    seen = [(row["step"], row["name"]) for row in table(folder) if row["name"] == "train/loss"]
    assert len(seen) == len(set(seen)) == 12


@pytest.mark.slow
def test_a_killed_run_ends_bit_equal(finished: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "coloria", "train", "zhang", "--config", "smoke/zhang",
               "--data", str(photos), "--out", str(folder), "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not list(folder.glob("checkpoints/000000006.pt")):
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "zhang.keras").exists()
    start(None, resume=folder, device="cpu")
    assert_equal(folder, finished)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_it(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"^stage fit-32, epoch \d+, step \d+: .* nan"):
        run(tmp_path / "wild", photos, "stages.0.lr=1e30", "run.checkpoint_every=1")
    assert all(torch.isfinite(value).all() for value in last(tmp_path / "wild")["net"].values())


@pytest.mark.slow
def test_patience_ends_a_stage_with_its_best_weights(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, seen = iter([5.0, 4.0, 4.5, 4.0, 3.0]), []

    def scripted(*_: object) -> tuple[dict[str, float], list[torch.Tensor]]:
        return {"val/ciede2000": next(values)}, []

    decide = keras_unet._Steps._go_on

    def noted(self: Any, value: float) -> bool:
        seen.append(zhang.variables(self.model))
        return decide(self, value)

    monkeypatch.setattr(keras_unet, "measure", scripted)
    monkeypatch.setattr(keras_unet._Steps, "_go_on", noted)
    folder = run(tmp_path / "early", photos, "patience=2", "stages.0.epochs=9",
                 "stages.1.skip=true", "run.pictures=0")  # fmt: skip
    assert len(seen) == 4
    net = last(folder)["net"]
    assert all(torch.equal(net[name], seen[1][name]) for name in net)
    assert not all(torch.equal(net[name], seen[3][name]) for name in net)


# ------------------------------------------------------------------ before the start


def test_everything_missing_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_device, "backend", lambda: "jax")
    with pytest.raises(TrainingError) as caught:
        start("zhang", config="smoke/zhang", data=[tmp_path / "nowhere"])
    for part in ("nowhere", "--data", "KERAS_BACKEND=jax", "2 things"):
        assert part in str(caught.value)


def test_several_gpus_need_tensorflow() -> None:
    with pytest.raises(TrainingError, match="KERAS_BACKEND=tensorflow"):
        keras_device.place("cpu", 2, "auto")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError):
        keras_device.place("cuda", 0, "auto")


def test_the_split_is_by_index(photos: Path) -> None:
    trainer = keras_unet.Trainer(recipe(photos, "split=20"), "cpu")
    names = [Path(n).name for n in (*trainer.train_photos.names, *trainer.val_photos.names)]
    assert (len(trainer.train_photos), len(trainer.val_photos)) == (20, 4)
    assert names == [f"{index:02d}.jpg" for index in range(24)]


def test_a_split_that_leaves_nothing_says_how_many_there_are(photos: Path) -> None:
    with pytest.raises(DataError, match=r"first 38950 .* there are 24 .*--set split=0\.95"):
        keras_unet.Trainer(recipe(photos, "split=38950"), "cpu")


def recipe(photos: Path, *changes: str) -> KerasRecipe:
    return load_recipe("smoke/zhang", KerasRecipe, [f"data.train={photos}", *changes])


def test_plan_counts_steps_and_memory(photos: Path) -> None:
    one, two = keras_unet.Trainer(recipe(photos), "cpu").plan()
    assert (one.steps, one.pictures, two.steps) == (8, 32, 4)
    assert (two.memory or 0) > (one.memory or 0) > 0


@pytest.mark.parametrize("name", ["zhang", "zhang-report", "zhang-compact", "smoke/zhang"])
def test_every_recipe_is_valid(name: str) -> None:
    assert load_recipe(name, KerasRecipe).model == "zhang"
    assert trainers.default_recipe("cnn") == "zhang-compact"


def test_the_full_recipes_are_those_of_the_report() -> None:
    full, done = (load_recipe(n, KerasRecipe) for n in ("zhang", "zhang-report"))
    rows = [(s.size, s.batch, s.epochs, s.lr) for r in (full, done) for s in r.stages]
    assert rows == [(160, 60, 50, 1e-3), (128, 30, 60, 1e-3)]
    for one in (full, done):
        assert (one.split, one.losses.mae, one.losses.lab) == (38950, 1.0, 0.0)
        assert (one.network.width, one.network.dropout, one.data.film.share) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("losses={mae: 0, lab: 0}", "at least one"),
        ("run.ema=0.9", "no average"),
        ("stages.1.name=fit-32", "name of its own"),
        ("stages.0.size=48", "32"),
    ],
)
def test_mistakes_in_a_recipe_are_said(change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe("smoke/zhang", KerasRecipe, [change])


# ------------------------------------------------------------------ parts


def test_chroma_loss_is_that_of_the_other_trainers() -> None:
    """Value and gradient, in Keras' operations and in PyTorch's."""
    generator = torch.Generator().manual_seed(0)
    got, truth = torch.rand(2, 2, 3, 16, 16, generator=generator)
    got = 1.4 * got - 0.2
    one, other = (got.clone().requires_grad_() for _ in range(2))
    want = losses.chroma_loss(one, truth, beta=10, emphasis=0.7, pool=1)
    last_axis = [x.permute(0, 2, 3, 1) for x in (truth, other)]
    found = keras_losses.chroma_loss(*last_axis, beta=10, emphasis=0.7)
    assert found.item() == pytest.approx(want.item(), rel=1e-5)
    want.backward()
    found.backward()
    assert one.grad is not None
    assert other.grad is not None
    assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-7)


def test_keras_accuracy_is_what_keras_calls_accuracy() -> None:
    """By asking Keras itself what "accuracy" means for such targets."""
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 2, 8, 8, 3), np.float32)
    model = keras().Sequential([keras().layers.Conv2D(3, 1)])
    model.compile(loss="mae", metrics=["accuracy"])
    theirs = model.evaluate(x, y, return_dict=True, verbose=0)["accuracy"]
    got = model.predict(x, verbose=0)
    assert theirs == pytest.approx((got.argmax(-1) == y.argmax(-1)).mean())
    ours = keras_losses.metrics()[1]
    ours.update_state(y, got)
    assert float(ours.result()) == pytest.approx(theirs)


def test_a_feed_passes_over_the_rest_of_an_epoch_and_ends_its_threads(photos: Path) -> None:
    batches = Batches(Photos.find([photos], min_colorfulness=0), size=32, batch=5, drop_last=True)
    feed = Feed(batches, start=1, epoch=2)
    pairs = list(feed.dataset())
    assert len(pairs) == len(feed) == 3
    for (gray, rgb), batch in zip(pairs, batches.epoch(2, 1), strict=True):
        assert torch.equal(rgb.permute(0, 3, 1, 2), batch.rgb)
        assert torch.equal(gray[..., 0], batch.gray[:, 0])
        assert gray.shape == (5, 32, 32, 3)


@pytest.mark.slow
def test_a_photograph_that_vanishes_is_named(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    changed = [f"data.train={folder}", "data.cache_gb=0"]
    trainer = keras_unet.Trainer(load_recipe("smoke/zhang", KerasRecipe, changed), "cpu")
    (folder / "03.jpg").unlink()
    stage = trainer.recipe.stages[0]
    trainer._compile(stage, None)
    feed = Feed(trainer.batches(stage)[0])
    with closing(feed), pytest.raises(DataError, match=r"03\.jpg"):
        trainer.model.fit(feed.dataset(), shuffle=False, verbose=0)
    assert feed.error
