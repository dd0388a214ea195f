"""A weight file out of a run, and out of somebody else's checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill
from PIL import Image

import coloria
from coloria.errors import CheckpointError, OptionError, WeightsMismatchError, WeightsMissingError
from coloria.export import export
from coloria.models import deoldify, registry
from coloria.train.run import changes_of, read_recipe, run_training
from coloria.train.start import start
from coloria.weightfile import read_card, read_state


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(12):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((48, 48)).save(folder / f"{index}.png")
    where = tmp_path_factory.mktemp("runs") / "run"
    changes = ["stages.1.skip=true", "stages.0.epochs=1", "run.checkpoint_every=1", "cycles=0"]
    start("artistic", config="smoke/artistic", data=[folder], folder=where, changes=changes)
    return where


@pytest.mark.slow
def test_a_run_becomes_a_weight_file_that_colours(run: Path, tmp_path: Path) -> None:
    path = export(run, tmp_path / "a.safetensors", data="twelve noise pictures", terms="free")
    card = read_card(path)
    assert card is not None
    assert (card.model, card.default_size, card.terms) == ("artistic", 32, "free")
    assert card.provenance["data"] == "twelve noise pictures"
    assert card.provenance["recipe"]["data"]["train"] is None
    assert str(run.parent) not in card.to_json()
    assert card.provenance["figures"].keys() >= {"ciede2000", "ciede2000-grey", "colorfulness"}
    state, _ = read_state(path)
    assert not any(key.endswith(("_orig", "_u", "_g")) for key in state)
    result = coloria.load("artistic", str(path)).colorize(np.zeros((40, 50), np.uint8))
    assert result.shape == (40, 50, 3)


@pytest.mark.slow
def test_what_is_exported_is_the_average_that_was_validated(run: Path, tmp_path: Path) -> None:
    from coloria.train.checkpoint import Checkpoints

    found = Checkpoints(run / "checkpoints").latest()
    assert found is not None
    average = found[1]["state"]["ema"]["average"]["layers.11.0.bias"]
    state, _ = read_state(export(run, tmp_path / "a.safetensors"))
    assert torch.equal(state["layers.11.0.bias"], average)


@pytest.mark.slow
def test_changes_on_the_way_are_on_the_card_without_places(run: Path, tmp_path: Path) -> None:
    photographs = read_recipe(run, run_training(run).schema()).data.train
    start(None, resume=run, changes=["losses.beta=5", f"data.train={photographs}"])
    card = read_card(export(run, tmp_path / "a.safetensors"))
    assert card is not None
    told = card.provenance["changed on the way"][-1]
    assert told == {"step": changes_of(run)[-1]["step"], "set": ["losses.beta=5", "data.train"]}


@pytest.mark.slow
def test_a_stage_that_was_not_done_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gen-48"):
        export(run, tmp_path / "a.safetensors", stage="gen-48")


def test_a_released_layout_becomes_ours(tmp_path: Path) -> None:
    """On the full network: only its keys tell which one it is."""
    net = deoldify.build("artistic").eval()
    torch.save({"model": net.state_dict(), "opt": {}}, tmp_path / "gen.pth")
    path = export(tmp_path / "gen.pth", tmp_path / "ours.safetensors")
    card = read_card(path)
    assert card is not None
    assert (card.model, card.terms) == ("artistic", "MIT")
    state, _ = read_state(path)
    deoldify.load("artistic", state, card.config, card.preprocessing)


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    net = deoldify.build("artistic", registry.get("artistic").tiny)
    torch.save(fill(net.state_dict(), "x"), tmp_path / "a.pth")
    with pytest.raises(WeightsMismatchError):
        export(tmp_path / "a.pth", tmp_path / "b.safetensors", model="stable")
    assert not (tmp_path / "b.safetensors").exists()


def test_wrong_targets_and_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"must end in \.safetensors"):
        export(tmp_path, tmp_path / "a.onnx")
    with pytest.raises(WeightsMissingError, match="neither"):
        export(tmp_path / "nothing", tmp_path / "a.safetensors")
