"""Picture grids, and records on a disk that takes no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coloria.train.log import Log, picture_grid


def test_a_grid_has_a_row_for_each_sample_and_a_column_for_each_kind() -> None:
    grey = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 6)
    color = torch.zeros(2, 3, 8, 6)
    color[0, 0], color[1, 2] = 1, 2  # red; blue, beyond the range
    grid = picture_grid([grey, color])
    assert (grid.shape, grid.dtype) == ((18, 14, 3), np.uint8)
    assert (grid[:8, :6] == 0).all()
    assert (grid[10:, :6] == 255).all()
    assert (grid[:8, 8:] == (255, 0, 0)).all()
    assert (grid[10:, 8:] == (0, 0, 255)).all()
    assert (grid[8:10] == 255).all()
    assert (grid[:, 6:8] == 255).all()


def test_columns_are_brought_to_one_size() -> None:
    small, large = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 16, 8), 0.5)
    assert picture_grid([large, small]).shape == (16, 18, 3)
    assert np.unique(picture_grid([large, small])[:, :8]).tolist() == [128]


def test_values_that_are_no_numbers_are_black() -> None:
    assert (picture_grid([torch.full((1, 3, 2, 2), float("nan"))]) == 0).all()


def test_a_grid_is_a_png_and_in_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    columns = [torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)]
    log = Log(tmp_path)
    path = log.grid(7, "val", columns)
    log.close()
    assert path == tmp_path / "pictures" / "000000007-val.png"
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), picture_grid(columns))
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Images("val")
    assert [(image.step, image.width, image.height) for image in shown] == [(7, 18, 18)]


FULL = """
import resource, sys
from pathlib import Path
from coloria.errors import TrainingError
from coloria.train.log import Log
log = Log(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
try:
    for step in range(10_000):
        log.scalars(step, {"short": 0.5}, sys.argv[2], 0)
except TrainingError as error:
    print(error)
try:
    log.close()
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize(("stage", "file"), [("s", "tensorboard"), ("stage" * 10, "log.csv")])
def test_a_full_disk_is_said_in_words(tmp_path: Path, stage: str, file: str) -> None:
    """The kernel refuses to let a file grow beyond 50 kB, as it does on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), stage],
        capture_output=True,
        text=True,
        check=True,
    )
    first = done.stdout.splitlines()[0]
    assert first == (
        f"{tmp_path / file} could not be written: File too large; the last checkpoint is intact: "
        "make room and go on with --resume"
    )
    assert done.stderr == ""
