"""One training step of `bigcolor`: against the original's, and in two processes against one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from coloria.config import load_recipe
from coloria.train import bigcolor
from coloria.train.bigcolor import Trainer
from coloria.train.bigcolor_recipe import BigColorRecipe
from coloria.train.loader import Batch
from fill import fill, generator, image

GOLDEN = Path(__file__).parents[1] / "golden" / "bigcolor_step.npz"

CLASSES = (3, 949)

LOSSES = {"loss_d": "discriminator", "loss_loss_g": "adversarial", "loss_mse": "mse",
          "loss_lpips": "perceptual", "loss_total": "loss"}  # fmt: skip
"""Losses in the golden file, and what they are called here."""

GRAYSCALE = (0.2989, 0.587, 0.114)
"""torchvision's weights, by which the original makes its grey."""

ORIGINAL = ["network.width=8", "network.n_classes=1000", "network.dropout=0",
            "discriminator.width=8", "discriminator.enhance=1.2",
            "losses={mse: 1.0, perceptual: 0.2, adversarial: 0.03, per_batch: true}",
            "stages.2.lr=1e-4", "stages.2.lr_d=3e-5"]  # fmt: skip
"""The toy recipe with the values of the step that was recorded."""


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG16 whose weights follow from their keys."""
    with torch.device("meta"):
        layers = torchvision.models.vgg16(weights=None).features[:21]
    keys = {f"features.{key}": value for key, value in layers.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(fill(keys, "dev"), path)
    return path


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs in sub-folders that are called after their classes."""
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for number in range(12):
        kind = folder / str(CLASSES[number % 2])
        kind.mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        small.resize((72, 60), Image.Resampling.BICUBIC).save(kind / f"{number}.png")
    return folder


def make(photos: Path, vgg: Path, *changes: str) -> Trainer:
    own = [f"data.train={photos}", *ORIGINAL, f"losses.feature_network={vgg}", *changes]
    return Trainer(load_recipe("smoke/bigcolor", BigColorRecipe, own), "cpu")


@pytest.fixture(scope="module")
def step(classes: Path, vgg: Path) -> dict[str, float]:
    """Largest differences from the recorded step: of losses by their size, of the rest by its
    largest value.
    """
    trainer = make(classes, vgg)
    judge = trainer.discriminator
    assert judge is not None
    nets: dict[str, nn.Module] = {"EG": trainer.net, "D": judge}
    for net in nets.values():
        net.load_state_dict(fill(net.state_dict(), "dev"))
    x = image((2, 3, 256, 256), "dev", "step")
    gray = (x * torch.tensor(GRAYSCALE).view(3, 1, 1)).sum(1, keepdim=True)
    z = torch.from_numpy(generator("dev", "input/z").standard_normal((2, 119)) * 0.8).float()
    batch = Batch(gray, x, np.arange(2), tuple(f"{kind}/a.png" for kind in CLASSES))
    trainer._ids = dict(zip(batch.names, CLASSES, strict=True))
    stage = trainer.stages[2]
    trainer._mode(stage)
    steppers = trainer._steppers(stage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigcolor, "noise", lambda seeds, length: z)
        figures = trainer._step(batch, stage, 0, steppers, stage.lr)
    return differences(nets, figures)


def differences(nets: dict[str, nn.Module], figures: dict[str, float]) -> dict[str, float]:
    """From the recorded step, by name: losses relative to their size, gradients to their largest
    value, weights to the learning rate.
    """
    found = {}
    with np.load(GOLDEN) as golden:
        for name, key in LOSSES.items():
            found[name] = abs(figures[f"train/{key}"] / float(golden[name]) - 1)
        for key in (key for key in golden.files if "/" in key):
            kind, _, rest = key.partition("_")
            net, _, name = rest.partition("/")
            mine = nets[net].get_parameter(name)
            got = mine.grad if kind == "grad" else mine.detach()
            assert got is not None
            got = got[list(CLASSES)] if name == "G.shared.weight" else got
            wanted = torch.from_numpy(golden[key])
            found[key] = float((got - wanted).abs().max() / wanted.abs().max())
    return found


def test_losses_are_the_originals(step: dict[str, float]) -> None:
    assert max(step[name] for name in LOSSES) <= 1e-4


def test_gradients_are_the_originals(step: dict[str, float]) -> None:
    assert max(value for key, value in step.items() if key.startswith("grad_")) <= 1e-3
