"""Recipes: the published figures, cycles, what is refused, and what a generator starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from coloria.config import dump_recipe, list_recipes, load_recipe
from coloria.errors import ConfigError, TrainingError, WeightsMismatchError
from coloria.models import deoldify
from coloria.models.fold import fold_weight_norms
from coloria.models.layers import SpectralConv2d
from coloria.train.checkpoint import save
from coloria.train.learner import one_cycle
from coloria.train.nogan import Trainer
from coloria.train.plan import plan
from coloria.train.schedule import NoGanRecipe
from coloria.train.stages import CriticStage, GanStage, GenerateStage, PretrainStage
from coloria.train.start import default_recipe
from coloria.train.trainers import training_of
from coloria.weightfile import Card, write_state

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", [recipe.name for recipe in list_recipes()])
def test_every_recipe_is_valid_and_survives_its_own_record(name: str, tmp_path: Path) -> None:
    schema = training_of(name).schema()
    recipe = load_recipe(name, schema)
    assert default_recipe(recipe.model).startswith(recipe.model)
    (tmp_path / "config.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "config.yaml", schema) == recipe
    if isinstance(recipe, NoGanRecipe):
        kinds = [stage.kind for stage in recipe.schedule()]
        assert kinds[-3:] == ["generate", "critic", "gan"]


# The report's table of both models, then what its listings and upstream's notebooks have in common.
TABLE = {"artistic": (1.5, 22, 11, 9, 2.0), "stable": (2.0, 20, 8, 5, 1.5)}


@pytest.mark.parametrize("model", TABLE)
def test_the_full_recipes_are_the_published_ones(model: str) -> None:
    recipe = load_recipe(default_recipe(model), NoGanRecipe)
    factor, batch128, batch192, batch_gan, weight = TABLE[model]
    assert recipe.network.shape() == deoldify.RELEASED[model]
    assert recipe.network.factor == factor
    assert (recipe.losses.pixel, recipe.losses.feature, recipe.losses.lab) == (1, 1, 0)
    assert recipe.data.limit == 100_000
    pretrain = [s for s in recipe.schedule() if isinstance(s, PretrainStage)]
    assert [(s.size, s.batch, s.share, s.lr, s.pct_start, s.train) for s in pretrain] == [
        (64, 88, 1.0, 1e-3, 0.8, "decoder"),
        (64, 88, 1.0, (3e-7, 3e-4), 1e-8, "all"),
        (128, batch128, 1.0, (1e-7, 1e-4), 1e-8, "all"),
        (192, batch192, 0.5, (5e-8, 5e-5), 1e-8, "all"),
    ]
    critics = [s for s in recipe.schedule() if isinstance(s, CriticStage)]
    assert [(s.size, s.batch, s.epochs, s.lr) for s in critics] == [
        (128, 64, 6, 1e-3),
        *[(192, 16, 4, 1e-4)] * 5,
    ]
    made = [s for s in recipe.schedule() if isinstance(s, GenerateStage)]
    assert {(s.size, s.share) for s in made} == {(192, 0.085)}
    gans = [s for s in recipe.schedule() if isinstance(s, GanStage)]
    assert len(gans) == 5
    for gan in gans:
        assert (gan.size, gan.batch, gan.share, gan.epochs) == (192, batch_gan, 0.03, 1)
        assert (gan.lr, gan.critic_lr, gan.threshold) == (2e-5, 5.0, 0.65)
        assert (gan.betas, gan.weight_decay) == ((0.0, 0.9), 1e-3)
        assert (gan.adversarial, gan.picture, gan.train_bn) == (1.0, weight, True)
    assert (recipe.critic.width, recipe.critic.dropout, recipe.critic.sees) == (
        256,
        0.15,
        "picture",
    )


def test_the_one_cycle_ends_where_upstream_ends_it() -> None:
    """fastai 1 divides the peak by 250,000, fastai 2 by 100,000."""
    recipe = load_recipe("artistic", NoGanRecipe)
    stage = next(s for s in recipe.stages if isinstance(s, CriticStage))
    rates = one_cycle(recipe.optimizer, stage).scheds["lr"]
    assert [float(rates(at)[0]) for at in (0.0, 0.3, 1.0)] == pytest.approx(
        [1e-3 / 25, 1e-3, 1e-3 / 250_000]
    )


def test_cycles_repeat_and_can_be_changed_in_one_place() -> None:
    recipe = load_recipe("smoke/artistic", NoGanRecipe, ["cycles=3", "cycle.2.lr=0.5"])
    gans = [s for s in recipe.schedule() if isinstance(s, GanStage)]
    assert [(s.name, s.lr) for s in gans] == [("gan-1", 0.5), ("gan-2", 0.5), ("gan-3", 0.5)]
    assert load_recipe("smoke/artistic", NoGanRecipe, ["cycles=0"]).has_critic() is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stages.1.name=gen-32", "name of its own"),
        ("stages.0.name=gan-2", "name of its own"),
        ("cycle.0.skip=true", "must be made first"),
        ("cycle.2.batch=3", None),
        ("cycle.2.accumulate=3", "batch 4 must be a multiple of accumulate 3"),
        ("cycle.1.kind=critics", r"cycle\.1: wanted kind one of .*did you mean 'critic'"),
        ("cycle.2.treshold=1", "did you mean 'threshold'"),
    ],
)
def test_mistakes_are_named(change: str, message: str | None) -> None:
    if message is None:
        load_recipe("smoke/artistic", NoGanRecipe, [change])
        return
    with pytest.raises(ConfigError, match=message):
        load_recipe("smoke/artistic", NoGanRecipe, [change])


def test_a_stage_without_a_kind_is_pre_training() -> None:
    assert isinstance(load_recipe("smoke/artistic", NoGanRecipe).stages[0], PretrainStage)


def test_plan_counts_what_each_kind_of_stage_does(make_trainer: Callable[..., Trainer]) -> None:
    rows = plan(make_trainer("stages.0.skip=true"))
    assert [(row.stage, row.steps, row.pictures) for row in rows[:5]] == [
        ("gen-32", 0, 0),
        ("gen-48", 10, 40),
        ("make-1", 0, 20),
        ("critic-1", 10, 40),
        ("gan-1", 5, 20),
    ]
    memory = {row.stage: row.memory for row in rows}
    assert memory["make-1"] is None
    assert memory["gan-1"] > memory["critic-1"] > 0  # type: ignore[operator]


# ------------------------------------------------------------------ what a generator starts from


def test_a_generator_starts_from_the_average_of_a_checkpoint(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    first = make_trainer("run.seed=1")
    assert first.ema is not None
    first.ema.average["layers.11.0.bias"].fill_(0.25)
    run = tmp_path / "run"
    save(run / "checkpoints" / "000000003.pt", {"step": 3, "state": first.state(1)})
    for path in (run, run / "checkpoints" / "000000003.pt"):
        second = make_trainer(f"start={path}", "run.seed=2")
        for name, value in second.net.state_dict().items():
            assert torch.equal(value, first.ema.average[name]), name


def test_a_generator_starts_from_a_weight_file(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """Its norms are folded; unfolded again, the network does the same but for float16, where the
    power iterations had come to their ends.
    """
    first = make_trainer("run.seed=1").net
    for module in first.modules():
        if isinstance(module, SpectralConv2d):
            for _ in range(300):
                module.train().weight()
    x = torch.randn(1, 3, 64, 64)
    before = first.eval()(x)
    state = fold_weight_norms(first).state_dict()
    write_state(tmp_path / "a.safetensors", state, Card(model="artistic"))
    second = make_trainer(f"start={tmp_path / 'a.safetensors'}", "run.seed=2").net.eval()
    torch.testing.assert_close(second(x), before, rtol=1e-2, atol=1e-2)


def test_a_start_of_another_shape_or_from_nowhere_is_refused(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    first = make_trainer()
    save(tmp_path / "000000003.pt", {"step": 3, "state": first.state(1)})
    with pytest.raises(WeightsMismatchError, match="do not fit"):
        make_trainer(f"start={tmp_path / '000000003.pt'}", "network.factor=0.5")
    with pytest.raises(TrainingError, match=r"start: .*nowhere is neither"):
        make_trainer(f"start={tmp_path / 'nowhere'}")
