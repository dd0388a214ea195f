"""Scored checkpoints: the rule, what is kept, and what is laid out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import coloria
from coloria.config import load_recipe
from coloria.errors import CheckpointError
from coloria.train.nogan import Trainer
from coloria.train.pick import Score, Scores, best, chosen, read_scores
from coloria.train.schedule import NoGanRecipe
from coloria.weightfile import read_state

pytestmark = pytest.mark.usefixtures("one_thread")

SCORES = [
    Score(100, "gan-1", 10.0, 0.5, 0.1),
    Score(200, "gan-1", 10.4, 0.8, 0.4),
    Score(300, "gan-1", 10.2, 0.7, 0.5),
    Score(400, "gan-1", 11.9, 0.9, 0.5),
]


@pytest.mark.parametrize(
    ("colorfulness", "step"), [(0.0, 100), (0.6, 300), (0.75, 200), (0.85, 400), (1.5, 400)]
)
def test_the_truest_of_those_that_are_colourful_enough(colorfulness: float, step: int) -> None:
    assert best(SCORES, colorfulness).step == step


@pytest.fixture
def run(make_trainer: Callable[..., Trainer], tmp_path: Path) -> Path:
    """Four scores of a network that changes a little each time."""
    trainer = make_trainer()
    columns = [torch.rand(3, channels, 64, 64) for channels in (1, 3, 3)]
    for score in SCORES:
        with torch.no_grad():
            trainer.net.layers[11][0].bias.fill_(score.step / 1000)
        card = trainer.recipe.card({"steps": score.step}, "")
        Scores(tmp_path, score.step).add(score, trainer.net, card, columns)
    return tmp_path


def test_each_is_a_weight_file_and_the_table_and_the_grid_have_a_row(run: Path) -> None:
    assert read_scores(run) == SCORES
    for score in SCORES:
        path = run / "scores" / f"{score.step:09d}.safetensors"
        state, card = read_state(path)
        assert card is not None
        assert card.provenance == {"steps": score.step}
        assert state["layers.11.0.bias"].tolist() == pytest.approx([score.step / 1000] * 3)
        coloria.load("artistic", str(path))
    with Image.open(run / "scores" / "grid.png") as grid:
        assert grid.height == (2 + len(SCORES)) * (64 + 2)
        assert grid.width > 3 * 64


def test_the_network_that_is_scored_is_not_changed(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = make_trainer()
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    Scores(tmp_path, 0).add(SCORES[0], trainer.net, trainer.recipe.card({}, ""), [])
    after = trainer.net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_choice_by_rule_and_by_hand(run: Path, tmp_path: Path) -> None:
    recipe = load_recipe("smoke/artistic", NoGanRecipe, ["pick.colorfulness=0.6"])
    by_rule, by_hand = chosen(recipe, run, None), chosen(recipe, run, 400)
    assert by_rule is not None
    assert by_hand is not None
    assert by_rule == (300, run / "scores" / "000000300.safetensors")
    assert by_hand[0] == 400
    with pytest.raises(CheckpointError, match="no scored checkpoint of step 7; there are: 100, 2"):
        chosen(recipe, run, 7)
    assert chosen(recipe, tmp_path / "other", None) is None
    with pytest.raises(CheckpointError, match="there are: none"):
        chosen(recipe, tmp_path / "other", 7)


def test_what_was_scored_after_the_step_of_a_resume_is_scored_again(run: Path) -> None:
    scores = Scores(run, 250)
    assert [score.step for score in scores.scores] == [100, 200]
    assert scores.has(200)
    assert not scores.has(300)
