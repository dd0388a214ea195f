"""What every registered model promises, on a small shape of it with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill
from skimage import color as oracle
from skimage import data as pictures

import coloria
from coloria.colorizer import Colorizer
from coloria.errors import UnknownNameError, WeightsError
from coloria.models import registry
from coloria.models.deoldify import IMAGENET
from coloria.models.registry import MODELS, Model
from coloria.released import generators
from coloria.weightfile import Card, write_state


@pytest.fixture(scope="module", params=list(MODELS))
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]


@pytest.fixture(scope="module")
def weights(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family = model.family()
    tensors = fill(family.tensors(family.build(model.name, model.tiny)), "contract")
    coding = {"mean": IMAGENET.mean, "std": IMAGENET.std}
    card = Card(model.name, model.tiny, coding, default_size=64, terms="none")
    path = tmp_path_factory.mktemp("weights") / f"{model.name}.safetensors"
    write_state(path, tensors, card)
    return path


@pytest.fixture(scope="module")
def colorizer(model: Model, weights: Path) -> Colorizer:
    return coloria.load(model.name, str(weights), device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return pictures.astronaut()[::4, ::3]


def test_it_colours_a_photograph_and_keeps_its_lightness(
    colorizer: Colorizer, photo: np.ndarray
) -> None:
    gray = np.asarray(oracle.rgb2gray(photo) * 255).astype(np.uint8)
    result = colorizer.colorize(gray, borders=False)
    assert result.shape == (*gray.shape, 3)
    lab = oracle.rgb2lab(result)
    light = oracle.rgb2lab(np.repeat(gray[..., None], 3, axis=2))[..., 0]
    assert np.abs(lab[..., 0] - light).max() < 0.8
    assert np.hypot(lab[..., 1], lab[..., 2]).mean() > 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (33, 47), (128, 128)])
def test_any_size_comes_back_in_its_size(colorizer: Colorizer, shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert colorizer.colorize(gray).shape == (*shape, 3)


def test_it_gives_the_same_twice(colorizer: Colorizer, photo: np.ndarray) -> None:
    assert (colorizer.colorize(photo) == colorizer.colorize(photo)).all()


def test_the_picture_given_is_not_changed(colorizer: Colorizer, photo: np.ndarray) -> None:
    before = photo.copy()
    colorizer.colorize(photo)
    assert (photo == before).all()


def test_a_render_factor_runs_on_a_square(colorizer: Colorizer, photo: np.ndarray) -> None:
    assert colorizer.colorize(photo, render_factor=3).shape == photo.shape


def test_bfloat16_is_near_float32(model: Model, weights: Path, photo: np.ndarray) -> None:
    """Chroma differs by a few units at most; lightness does not."""
    both = [coloria.load(model.name, str(weights), "cpu", p) for p in ("fp32", "bf16")]
    one, other = (oracle.rgb2lab(c.colorize(photo)) for c in both)
    assert np.abs(one - other).mean() < 1.5


def test_the_card_says_which_model_it_is_of(model: Model, weights: Path) -> None:
    for other in MODELS:
        if other != model.name:
            with pytest.raises(WeightsError, match=model.name):
                coloria.load(other, str(weights))


def test_names_and_aliases_lead_to_it(model: Model) -> None:
    for name in (model.name, *model.aliases, model.name.upper()):
        assert registry.get(name) is model


def test_table_states_the_true_number_of_parameters(model: Model) -> None:
    with torch.device("meta"):
        net = model.family().build(model.name)
    assert sum(p.numel() for p in net.parameters()) == model.architecture.parameters


def test_its_released_weights_are_in_the_table(model: Model) -> None:
    assert {entry.license for entry in generators(model.name)} == {model.licence} - {""}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="artistic"):
        registry.get("artistik colours")
