"""What the tests of the trainer share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coloria.config import load_recipe
from coloria.train.nogan import Trainer
from coloria.train.schedule import NoGanRecipe


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Bit-equality holds for one number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 smooth coloured pictures."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(24):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((72, 60), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02d}.jpg", quality=95)
    return folder


@pytest.fixture
def make_trainer(photos: Path) -> Callable[..., Trainer]:
    """Makes the trainer of the toy recipe with changes."""

    def make(*changes: str, data: Path = photos) -> Trainer:
        recipe = load_recipe("smoke/artistic", NoGanRecipe, [f"data.train={data}", *changes])
        return Trainer(recipe, "cpu")

    return make
