"""The trainer of `bigcolor` end to end on the toy recipe, and its parts."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import coloria
from coloria.config import load_recipe
from coloria.errors import ConfigError, DataError, TrainingError
from coloria.export import export
from coloria.models.bigcolor import BigColor, tensors
from coloria.train.bigcolor import Trainer, noise
from coloria.train.bigcolor_recipe import BigColorRecipe, BigColorStage
from coloria.train.checkpoint import Checkpoints
from coloria.train.hinge import discriminator_loss, enhanced, generator_loss
from coloria.train.labels import class_ids
from coloria.train.plateau import Plateau
from coloria.train.start import start
from coloria.weightfile import read_card, read_state


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bit-equality holds for one number of threads: that of the killed processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sorted_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs in two sub-folders, one a class."""
    folder = tmp_path_factory.mktemp("classes")
    for number, path in enumerate(sorted(photos.iterdir())):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        shutil.copy(path, folder / "ab"[number % 2])
    return folder


def run(folder: Path, photos: Path, *changes: str) -> Path:
    start("bigcolor", config="smoke/bigcolor", data=[photos], changes=changes, folder=folder,
          device="cpu")  # fmt: skip
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "toy", photos)


def test_it_trains_colours_and_then_both_networks(finished: Path) -> None:
    seen = {(row["stage"], row["name"]) for row in rows(finished)}
    assert {name for stage, name in seen if stage == "gan"} >= {
        "train/adversarial", "train/discriminator", "train/mse", "train/lab", "val/ciede2000",
        "val/colorfulness"}  # fmt: skip
    assert ("colour", "train/discriminator") not in seen


def test_every_epoch_leaves_a_checkpoint_of_everything(finished: Path) -> None:
    checkpoints = Checkpoints(finished / "checkpoints")
    assert [checkpoints.stage(name) is not None for name in ("colour-1", "colour", "gan-1")] == [
        True, True, True]  # fmt: skip
    state = torch.load(checkpoints.stage("gan-1"), weights_only=True)["state"]
    assert state["steppers"].keys() == {"net", "discriminator"}
    assert state["epoch"] == 1
    assert {"net", "discriminator", "ema", "plateau", "rng"} <= state.keys()


def test_grids_show_both_kinds_of_photographs(finished: Path) -> None:
    names = {path.name.split("-", 1)[1] for path in (finished / "pictures").iterdir()}
    assert names >= {"colour.png", "colour-train.png", "colour-val.png", "gan-train.png"}


def test_a_run_becomes_a_weight_file_that_colours(finished: Path, tmp_path: Path) -> None:
    path = export(finished, tmp_path / "a.safetensors")
    card = read_card(path)
    assert card is not None
    assert card.provenance["figures"].keys() >= {"ciede2000", "colorfulness"}
    result = coloria.load("bigcolor", str(path)).colorize(np.zeros((40, 50), np.uint8))
    assert result.shape == (40, 50, 3)


def started(photos: Path, source: Path) -> BigColor:
    changes = [f"data.train={photos}", f"start.colorizer={source}"]
    return Trainer(load_recipe("smoke/bigcolor", BigColorRecipe, changes), "cpu").net


def test_training_starts_from_a_run_folder(finished: Path, photos: Path) -> None:
    found = Checkpoints(finished / "checkpoints").latest()
    assert found is not None
    average, got = found[1]["state"]["ema"]["average"], started(photos, finished).state_dict()
    assert got.keys() == average.keys()
    assert [key for key in got if not torch.equal(got[key], average[key])] == []


def test_training_starts_from_an_exported_file(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    """Its kernels come back smaller by what the power iteration of training had missed."""
    path = export(finished, tmp_path / "a.safetensors")
    got, wanted = tensors(started(photos, path)), read_state(path)[0]
    assert got.keys() == wanted.keys()
    far = {k: float((got[k] - v).abs().max() / v.abs().max()) for k, v in wanted.items()}
    assert max(far.values()) < 0.05, far


def test_sub_folders_are_classes(sorted_photos: Path, tmp_path: Path) -> None:
    changes = ["network.n_classes=2", "stages.0.skip=true", "stages.2.epochs=1"]
    folder = run(tmp_path / "classes", sorted_photos, *changes)
    found = Checkpoints(folder / "checkpoints").latest()
    assert found is not None
    assert found[1]["state"]["net"]["G.shared.weight"].shape == (2, 128)


def test_classes_that_are_not_wanted_are_left_out(sorted_photos: Path) -> None:
    changes = [f"data.train={sorted_photos}", "network.n_classes=2", "classes.only=[1]"]
    trainer = Trainer(load_recipe("smoke/bigcolor", BigColorRecipe, changes), "cpu")
    assert {Path(name).parent.name for name in trainer.train_photos.names} == {"b"}


@pytest.mark.parametrize("name", ["bigcolor", "bigcolor-compact", "bigcolor-report"])
def test_every_recipe_is_valid(name: str) -> None:
    assert load_recipe(name, BigColorRecipe).model == "bigcolor"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.0.name=gan", "name of its own"),
        ("network.num_layer=3", "dim_f 16 enters the generator at block 2, not 3"),
        ("stages.0.size=40", "multiple of 16"),
        ("stages.0.train=nothing", "train_d must be true"),
        ("losses={mse: 0, perceptual: 0, lab: 0}", "at least one loss"),
        ("classes.only=[4]", "there are 0 classes"),
        ("start={colorizer: a, generator: b}", "set start.generator to none"),
    ],
)
def test_mistakes_are_said(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("smoke/bigcolor", BigColorRecipe, [change])


def test_released_weights_that_are_missing_are_asked_for(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORIA_HOME", str(tmp_path))
    with pytest.raises(TrainingError) as caught:
        start("bigcolor", config="bigcolor", data=[photos], dry_run=True)
    text = str(caught.value)
    assert "coloria weights download biggan-g-ema-256" in text
    assert "--set start.generator=none" in text
    assert "--set start.discriminator=none" in text


# ------------------------------------------------------------------ the parts


def test_hinge_losses_are_those_of_the_formulas() -> None:
    true, made = torch.tensor([[2.0], [0.5]]), torch.tensor([[-3.0], [0.0]])
    assert discriminator_loss(true, made).item() == pytest.approx((0.25 + 0.5) / 2)
    assert generator_loss(made).item() == pytest.approx(1.5)


def test_enhancement_moves_away_from_grey_and_stays_in_range() -> None:
    rgb = torch.tensor([0.6, 0.5, 0.4]).view(1, 3, 1, 1)
    gray = 0.299 * 0.6 + 0.587 * 0.5 + 0.114 * 0.4
    want = [gray + (value - gray) * 1.5 for value in (0.6, 0.5, 0.4)]
    torch.testing.assert_close(enhanced(rgb, 1.5).flatten(), torch.tensor(want))
    assert enhanced(torch.rand(1, 3, 4, 4), 9.0).aminmax() == (0.0, 1.0)


def test_the_losses_aim_at_livelier_pictures_where_that_is_asked_for(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [f"data.train={photos}", "losses.enhance=2"]
    trainer = Trainer(load_recipe("smoke/bigcolor", BigColorRecipe, changes), "cpu")
    stage = trainer.stages[0]
    batch = next(iter(trainer.batches(stage)[0].epoch(0)))
    monkeypatch.setattr(trainer, "_made", lambda batch, seed: enhanced(batch.rgb, 2))
    assert trainer._step(batch, stage, 0, {}, 1.0)["train/lab"] == 0
    monkeypatch.setattr(trainer, "_made", lambda batch, seed: batch.rgb)
    assert trainer._step(batch, stage, 0, {}, 1.0)["train/lab"] > 0


def test_the_random_vector_belongs_to_its_sample() -> None:
    one, other = noise([[1, 2], [1, 3]], 5000), noise([[1, 3]], 5000)
    assert torch.equal(one[1:], other)
    assert one.std().item() == pytest.approx(0.8, abs=0.02)


def test_classes_follow_the_names_of_sub_folders() -> None:
    assert class_ids(["x/n2/a.jpg", "x/n1/b.jpg", "x/n2/c.jpg"], 2) == [1, 0, 1]
    assert class_ids(["x/7/a.jpg", "x/3/b.jpg"], 10) == [7, 3]
    with pytest.raises(DataError, match=r"wanted photographs in 1000 sub-folders.*n_classes=0"):
        class_ids(["x/a.jpg", "y/b.jpg"], 1000)


def test_rates_fall_after_epochs_in_vain() -> None:
    plateau, factors = Plateau(), []
    for figure in (5.0, 4.0, 4.5, 4.2, 4.1, 3.0):
        plateau.epoch(figure, decay=0.5, patience=2)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [("mult", [1, 0.9, 0.81, 0.729]), ("linear", [1, 0.75, 0.5, 0.25]), ("plateau", [1, 1, 1, 1])],
)
def test_rates_of_the_epochs(schedule: str, wanted: list[float]) -> None:
    stage = BigColorStage(name="a", epochs=4, lr=1.0, schedule=schedule)
    assert [stage.rate(10 * epoch, 40) for epoch in range(4)] == pytest.approx(wanted)
    assert stage.rate(9, 40) == 1
