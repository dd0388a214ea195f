"""The adversarial stage: what fastai's own trainer gets wrong for this recipe, point by point."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.train.adversarial import AdversarialLoss, _decay, make_gan
from coloria.train.learner import Callback, CancelValidException
from coloria.train.losses import LossWeights, PictureLoss
from coloria.train.nogan import Trainer
from coloria.train.sight import Sight
from coloria.train.stages import GanStage

pytestmark = pytest.mark.usefixtures("one_thread")

STAGE = {
    "kind": "gan", "name": "gan", "size": 64, "batch": 4, "lr": 1e-3, "threshold": 10.0,
    "weight_decay": 0.5,
}  # fmt: skip
"""Strong weight decay, so that what is moved by mistake is seen to move; the threshold lets the
networks take turns."""


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(before: dict[str, Tensor], module: nn.Module) -> list[str]:
    now = module.state_dict()
    return [name for name in before if not torch.equal(before[name], now[name])]


class Probe(Callback):  # type: ignore[misc]
    """Writes down what happens in each batch."""

    order = 60

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.turns: list[tuple[str, float]] = []
        self.idle_moved: list[str] = []
        self.learning_moved: list[int] = []
        self.modes: list[tuple[str, bool, bool]] = []
        self.idle_gradients = 0
        self.evaluated = False

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """The one that learns, and the idle one."""
        pair = (self.trainer.net, self.trainer.critic)
        return pair if self.learn.gan_trainer.learning == "generator" else pair[::-1]

    def before_batch(self) -> None:
        learning, idle = self.nets()
        self.before = copy_of(learning), copy_of(idle)
        some = {m.training for m in learning.modules()}
        self.modes.append(
            (
                self.learn.gan_trainer.learning,
                some == {True},
                any(m.training for m in idle.modules()),
            )
        )

    def after_backward(self) -> None:
        self.idle_gradients += sum(p.grad is not None for p in self.nets()[1].parameters())

    def after_step(self) -> None:
        learning, idle = self.nets()
        self.learning_moved.append(len(moved(self.before[0], learning)))
        self.idle_moved += moved(self.before[1], idle)
        self.turns.append((self.learn.gan_trainer.learning, float(self.learn.loss.detach())))

    def before_validate(self) -> None:
        self.evaluated = not any(m.training for m in self.learn.model.modules())
        raise CancelValidException


def train(trainer: Trainer, epochs: int = 1, probe: Any = None, **changes: Any) -> tuple[Any, Any]:
    """Runs the stage and gives back the learner and what was written down."""
    stage = GanStage(**{**STAGE, **changes})
    loaders = trainer.loaders(*trainer.batches(9, stage))
    probe = probe or Probe(trainer)
    learner = make_gan(trainer, stage, loaders, trainer.loss, probe)
    rates = [stage.lr] * 3 + [stage.lr * stage.critic_lr]
    learner.fit(epochs, lr=rates)
    return learner, probe


@pytest.fixture
def share() -> dict[str, float]:
    return {"share": 1.0}


def test_what_is_idle_does_not_move_at_all(
    make_trainer: Callable[..., Trainer], share: dict[str, float]
) -> None:
    """Neither weights, nor statistics, nor power iterations, in turns of both networks."""
    _, probe = train(make_trainer(), **share)
    names = [name for name, _ in probe.turns]
    assert names == ["critic", "generator", "critic", "generator", "critic"]
    assert probe.idle_moved == []
    assert probe.idle_gradients == 0
    assert min(probe.learning_moved) > 10


def test_modes_from_the_first_batch_on_and_after_a_validation(
    make_trainer: Callable[..., Trainer], share: dict[str, float]
) -> None:
    _, probe = train(make_trainer(), epochs=2, **share)
    assert probe.evaluated
    assert len(probe.modes) == 10
    for name, learning, idle in probe.modes:
        assert learning, name
        assert not idle, name


def test_turns_go_on_over_the_end_of_an_epoch(
    make_trainer: Callable[..., Trainer], share: dict[str, float]
) -> None:
    _, probe = train(make_trainer(), epochs=2, **share)
    assert [name for name, _ in probe.turns] == ["critic", "generator"] * 5


@pytest.mark.parametrize("train_bn", [True, False])
def test_encoder_kernels_stand_still_through_all_turns(
    make_trainer: Callable[..., Trainer], share: dict[str, float], train_bn: bool
) -> None:
    trainer = make_trainer()
    early, late, _ = trainer.net.layer_groups()
    norms = {id(m) for m in trainer.net.modules() if isinstance(m, nn.BatchNorm2d)}
    before = copy_of(trainer.net)
    train(trainer, **share, train_bn=train_bn)
    changed = [name for name in moved(before, trainer.net) if name.startswith("layers.0.")]
    kernels = [name for name in changed if before[name].ndim == 4]
    assert kernels == []
    statistics = [name for name in before if name.startswith("layers.0.") and "running" in name]
    assert (set(statistics) <= set(changed)) is train_bn
    assert bool(changed) is train_bn
    assert norms & {id(m) for m in [*early, *late]}
    assert "layers.3.0.0.weight_orig" in moved(before, trainer.net)


def test_the_critic_hands_over_only_below_the_threshold(
    make_trainer: Callable[..., Trainer], share: dict[str, float]
) -> None:
    """fastai's own switcher, an instance; the raw loss of that very batch counts."""
    trainer = make_trainer("critic.width=4")
    _, probe = train(trainer, epochs=3, **share, threshold=0.693)
    turns = probe.turns
    assert len(turns) == 15  # each batch serves one network
    for (name, loss), (following, _) in pairwise(turns):
        wanted = "generator" if name == "critic" and loss < 0.693 else "critic"
        assert following == wanted
    assert {name for name, _ in turns} == {"critic", "generator"}
    assert turns[0][0] == "critic"
    _, never = train(make_trainer(), **share, threshold=1e-6)
    assert {name for name, _ in never.turns} == {"critic"}


def test_sums_of_batches_make_one_step_of_one_network(
    make_trainer: Callable[..., Trainer], share: dict[str, float]
) -> None:
    class Steps(Probe):
        def after_batch(self) -> None:
            stepped = not self.learn.accumulate.pending
            self.turns.append((self.learn.gan_trainer.learning, float(stepped)))

        def after_step(self) -> None:
            """Reached by whole steps only."""

    trainer = make_trainer()
    _, probe = train(trainer, **share, accumulate=2, probe=Steps(trainer), batch=4)
    # The turn is read after the switch: a batch that ends a step shows who is next.
    assert probe.turns[:4] == [("critic", 0), ("generator", 1), ("generator", 0), ("critic", 1)]


def test_losses_are_the_published_ones() -> None:
    """Half the sum of both cross-entropies; a times the critic's verdict plus b times the rest."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = nn.Conv2d(3, 3, 1)
            self.critic = nn.Sequential(nn.Conv2d(3, 1, 4, 4), nn.Flatten())

    torch.manual_seed(0)
    pair = Pair()
    trainer_coding = PictureLoss(_coding(), LossWeights(1.0, 0.0))
    stage = GanStage(**{**STAGE, "adversarial": 0.5, "picture": 3.0})
    loss = AdversarialLoss(pair, trainer_coding, stage, Sight(False, False), torch.enable_grad)
    gray, target = torch.rand(2, 2, 3, 8, 8).clamp(0.1, 0.9).unbind(0)
    with torch.no_grad():  # small weights keep the result in [0, 1], where nothing is clipped
        pair.generator.weight.mul_(0.1)
        pair.generator.bias.fill_(0.5)
    logits = pair.critic(loss.seen(target, target))
    made = pair.critic(loss.seen(pair.generator(gray), target))
    ones, zeros = torch.ones_like(logits), torch.zeros_like(made)
    bce = F.binary_cross_entropy_with_logits
    wanted = (bce(logits, ones) + bce(made, zeros)) / 2
    torch.testing.assert_close(loss.critic(logits, gray, target), wanted)
    pred = pair.generator(gray)
    wanted = 0.5 * bce(made, ones) + 3.0 * F.l1_loss(pred, target)
    torch.testing.assert_close(loss.generator(pred, target), wanted)
    loss.generator(pred, target).backward()
    assert pair.generator.weight.grad is not None
    assert pair.generator.weight.grad.abs().max() > 0


def _coding() -> Any:
    from coloria.models.deoldify import Coding

    return Coding((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_rates_betas_and_decay_of_both_networks(
    make_trainer: Callable[..., Trainer], share: dict[str, float]
) -> None:
    learner, _ = train(make_trainer(), **share)
    for group in learner.opt.hypers:
        assert (group["mom"], group["sqr_mom"], group["wd"]) == (0.0, 0.9, 0.5)
    rates = [group["lr"] for group in learner.opt.hypers]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-3])
    # Weight decay is on everything, also on BatchNorms and biases.
    assert all(state.get("do_wd", True) for state in learner.opt.state.values())


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_both_networks_run_in_the_precision_of_the_recipe(
    make_trainer: Callable[..., Trainer], name: str, dtype: torch.dtype
) -> None:
    trainer = make_trainer(f"run.precision={name}")
    seen: dict[str, set[torch.dtype]] = {"generator": set(), "critic": set()}
    assert trainer.critic is not None
    # Lists of layers: those of the encoder are timm's.
    for key, layer in (("generator", trainer.net.layers[11]), ("critic", trainer.critic[0])):
        layer.register_forward_hook(lambda _, __, out, key=key: seen[key].add(out.dtype))
    _, probe = train(trainer, share=0.5)
    assert seen == {"generator": {dtype}, "critic": {dtype}}
    assert all(torch.isfinite(torch.tensor(loss)) for _, loss in probe.turns)


def test_the_average_has_the_decay_of_the_stage_and_gives_it_back(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer()
    assert trainer.ema is not None
    with _decay(trainer, GanStage(**STAGE, ema=0.5)):
        assert trainer.ema.decay == 0.5
    assert trainer.ema.decay == 0.9


WORKER = """
import sys, torch
torch.set_num_threads(1)
from coloria.config import load_recipe
from coloria.train import distributed as d
from coloria.train.adversarial import make_gan
from coloria.train.learner import Callback, CancelValidException
from coloria.train.nogan import Trainer
from coloria.train.schedule import NoGanRecipe
from coloria.train.stages import GanStage

class Probe(Callback):
    order = 25  # gradients are averaged at 30
    def __init__(self):
        self.own, self.mean, self.turns, self.losses, self.means = [], [], [], [], []
    def grads(self):
        return [p.grad.clone() for p in self.learn.model.parameters()
                if p.requires_grad and p.grad is not None]
    def after_loss(self): self.losses.append(float(self.learn.loss.detach()))
    def before_step(self): self.own.append(self.grads())
    def after_step(self):
        self.mean.append(self.grads())
        self.turns.append(self.learn.gan_trainer.learning)
    def after_batch(self): self.means.append(float(self.learn.loss))
    def before_validate(self): raise CancelValidException

with d.process_group("cpu"):
    recipe = load_recipe("smoke/artistic", NoGanRecipe, ["data.train=" + sys.argv[1]])
    trainer = Trainer(recipe, "cpu")
    stage = GanStage(kind="gan", name="gan", size=64, batch=8, share=0.8, lr=1e-3, threshold=10.0)
    probe = Probe()
    gan = make_gan(trainer, stage, trainer.loaders(*trainer.batches(9, stage)), trainer.loss, probe)
    gan.fit(1, lr=[1e-3, 1e-3, 1e-3, 5e-3])
    torch.save({"own": probe.own, "mean": probe.mean, "turns": probe.turns,
                "losses": probe.losses, "means": probe.means,
                "params": [p.detach() for p in gan.model.parameters()]},
               f"{sys.argv[2]}/{d.rank()}.pt")
"""


@pytest.mark.slow
def test_two_processes_average_the_gradients_of_the_network_that_learns(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    everyone = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(photos), str(tmp_path)],
            env={**os.environ, **everyone, "OMP_NUM_THREADS": "1", "RANK": n, "LOCAL_RANK": n},
        )
        for n in "01"
    ]
    try:
        assert [process.wait(240) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    first, second = (torch.load(tmp_path / f"{n}.pt") for n in "01")
    assert first["turns"] == second["turns"] == ["critic", "generator"]
    for one, other, mean in zip(first["own"], second["own"], first["mean"], strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
        torch.testing.assert_close([(a + b) / 2 for a, b in zip(one, other, strict=True)], mean)
    assert all(torch.equal(a, b) for a, b in zip(first["params"], second["params"], strict=True))
    # The turn depends on the mean of the losses, which is the same everywhere.
    assert first["losses"] != second["losses"]
    means = [(a + b) / 2 for a, b in zip(first["losses"], second["losses"], strict=True)]
    assert first["means"] == second["means"] == pytest.approx(means)
