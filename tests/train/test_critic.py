"""The critic alone: what it is shown, and that it cannot cheat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from coloria.errors import ConfigError
from coloria.train.augment import luma as pillow_luma
from coloria.train.critic import Drawn, Judged, draw
from coloria.train.loader import Batches
from coloria.train.nogan import Trainer
from coloria.train.sight import Sight, Verdict, luma

pytestmark = pytest.mark.usefixtures("one_thread")

GREY = ["data.min_colorfulness=0", "data.val=2", "cycle.0.batch=3"]


class Perfect(nn.Module):
    """A generator whose result is the truth, where the truth is grey."""

    def __init__(self, coding: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(coding.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(coding.std).view(3, 1, 1))

    def encode(self, picture: Tensor) -> Tensor:
        return (picture - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """20 grey photographs of many sizes; the odd ones are copies of the even ones."""
    folder = tmp_path / "greys"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        small = Image.fromarray(rng.integers(0, 256, (7, 9), dtype=np.uint8))
        picture = small.resize((70 + 9 * index, 66 + 5 * index), Image.Resampling.BICUBIC)
        for copy in "ab":
            picture.convert("RGB").save(folder / f"{index:02d}{copy}.png")
    return folder


def drawn_by_a_perfect_generator(trainer: Trainer, share: float = 0.5) -> Drawn:
    trainer.net = Perfect(trainer.recipe.network.coding())  # type: ignore[assignment]
    trainer.ema = None
    index = next(i for i, s in enumerate(trainer.recipe.schedule()) if s.kind == "generate")
    return draw(trainer, index, trainer.train_photos, share)


@pytest.mark.parametrize("sees", ["picture", "colours"])
@pytest.mark.parametrize("half", ["true", "false"])
def test_one_picture_comes_out_of_both_ways_bit_for_bit(
    make_trainer: Callable[..., Trainer], greys: Path, sees: str, half: str
) -> None:
    """Each photograph is there twice, side by side: one copy goes through the generator, which
    gives it back as it is, the other one is taken as true.
    """
    changes = [*GREY, f"critic.sees={sees}", f"network.half={half}", f"data.val={greys}"]
    drawn = drawn_by_a_perfect_generator(make_trainer(*changes, data=greys))
    assert (len(drawn), drawn.generated) == (20, 10)
    assert np.array_equal(drawn.pixels[:10], drawn.pixels[10:])
    assert drawn.pixels.std(axis=(1, 2, 3)).min() > 5


def test_generated_and_true_pictures_are_of_different_photographs(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    for level in range(12):
        Image.new("RGB", (64, 64), (20 * level,) * 3).save(tmp_path / f"{level:02d}.png")
    trainer = make_trainer(*GREY, data=tmp_path)
    drawn = drawn_by_a_perfect_generator(trainer)
    levels = drawn.pixels[:, 0, 0, 0].tolist()
    assert len(set(levels)) == len(levels) == 10
    kept = {trainer.val_photos.read(i)[0, 0, 0] for i in range(2)}
    assert not kept & set(levels)
    fewer = drawn_by_a_perfect_generator(trainer, 0.2)
    assert (len(fewer), fewer.generated) == (4, 2)


def test_what_the_critic_sees_has_8_bits_and_lets_the_gradient_through() -> None:
    torch.manual_seed(0)
    picture = (torch.rand(2, 3, 8, 8) * 1.4 - 0.2).requires_grad_()
    truth = torch.rand(2, 3, 8, 8)
    seen = Sight(colours=False, half=False)(picture, truth)
    steps = seen.detach() * 255
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen.detach(), picture.detach().clamp(0, 1), rtol=0, atol=0.5 / 255)
    seen.sum().backward()
    assert torch.equal(picture.grad, torch.ones_like(picture))  # type: ignore[arg-type]


@pytest.mark.parametrize("half", [True, False])
def test_only_colour_is_left_to_judge(half: bool) -> None:
    torch.manual_seed(0)
    truth = torch.rand(2, 3, 16, 16) * 0.4 + 0.3
    picture = truth.flip(0)
    sight = Sight(colours=True, half=half)
    seen = sight(picture, truth)
    torch.testing.assert_close(luma(seen), luma(truth), rtol=0, atol=2 / 255)
    brighter = sight(picture + 0.2 * torch.rand(2, 1, 16, 16), truth)
    torch.testing.assert_close(brighter, seen, rtol=0, atol=1.01 / 255)
    other = sight(picture * torch.tensor([1.2, 1.0, 0.8]).view(3, 1, 1), truth)
    assert (other - seen).abs().mean() > 0.02


def test_luma_is_that_of_pillow() -> None:
    torch.manual_seed(0)
    rgb = torch.randint(0, 256, (1, 3, 32, 32)).float()
    torch.testing.assert_close(luma(rgb).round(), pillow_luma(rgb), rtol=0, atol=1)


def test_loss_is_over_all_logits() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.3]])
    true = torch.tensor([1.0, 0.0])
    verdict = Verdict()
    wanted = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(verdict(logits, true), wanted)
    assert float(verdict.parts["accuracy"]) == 0.25


def test_labels_follow_the_pictures_through_the_shuffle() -> None:
    generated = [np.full((64, 64, 3), 10, np.uint8)] * 5
    true = [np.full((64, 64, 3), 200, np.uint8)] * 7
    drawn = Drawn(generated, true, 0)
    from coloria.train.augment import Augment

    batches = Batches(drawn, size=64, batch=4, augment=Augment(lighting=0), drop_last=True)
    seen = [(x, t) for x, t in Judged(batches, lambda rgb: rgb, drawn.generated)]
    assert sum(len(t) for _, t in seen) == 12
    for pictures, labels in seen:
        assert torch.equal((pictures.mean((1, 2, 3)) > 0.5).float(), labels)
    assert sum(float(t.sum()) for _, t in seen) == 7


def test_a_critic_wants_fresh_pictures(make_trainer: Callable[..., Trainer]) -> None:
    """Not those of a generator that has been trained since."""
    with pytest.raises(ConfigError, match="stage critic-1: pictures for the critic must be made"):
        make_trainer("cycle.0.skip=true")
    with pytest.raises(ConfigError, match=r"cycle\.1\.size: wanted 64 or more, got 48"):
        make_trainer("cycle.1.size=48")


@pytest.mark.slow
def test_a_critic_learns_what_can_be_learnt(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """Pictures of a generator that leaves everything grey, against true ones."""
    from coloria.train.start import start

    trainer = make_trainer()
    photos = str(trainer.train_photos.sources[0])
    changes = ["stages.0.skip=true", "stages.1.skip=true", "cycles=1", "cycle.2.skip=true",
               "critic.dropout=0", "critic.width=16", "cycle.1.epochs=30", "cycle.1.lr=4e-3",
               "data.val=8", "run.pictures=0"]  # fmt: skip
    start("artistic", config="smoke/artistic", data=[Path(photos)], changes=changes,
          folder=tmp_path / "run", device="cpu")  # fmt: skip
    rows = [row.split(",") for row in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    accuracy = [float(row[4]) for row in rows if row[3] == "val/accuracy"]
    assert accuracy[-1] > 0.9
