"""The scripts in benchmarks/, on what a small run has left."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from coloria.config import dump_recipe, load_recipe
from coloria.train.schedule import NoGanRecipe
from coloria.train.timing import StageTime, Timing

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a run of the toy recipe leaves, its first stage skipped."""
    recipe = load_recipe("smoke/stable", NoGanRecipe, ["stages.0.skip=true"])
    (tmp_path / "config.yaml").write_text(dump_recipe(recipe))
    timing = Timing(tmp_path / "timing.csv")
    timing.skip("gen-32", 32)
    for stage in recipe.schedule()[1:]:
        timing.stages[stage.name] = StageTime(stage.name, stage.size, seconds=3661.0)
    timing.write()
    with (tmp_path / "log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["step", "stage", "epoch", "name", "value"])
        for step in range(50):
            log.writerow([step, "gen-48", 0, "train/loss", 1 / (1 + step)])
            log.writerow([step, "gan-1", 0, "val/ciede2000", 10 - step / 50])
    return tmp_path


def test_times_are_added_up_by_kind_and_size(run: Path) -> None:
    lines = script("training").table([run]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "generator, 32 px", "generator, 48 px", "pictures, 64 px",
                        "critic, 64 px", "both, 64 px"]  # fmt: skip
    assert cells[2] == ["stable", "?", "01:01:01", "02:02:02", "02:02:02", "02:02:02"]


def test_curves_are_drawn(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = run / "curves.png"
    monkeypatch.setattr(sys, "argv", ["training.py", str(run), "-o", str(target)])
    script("training").main()
    with Image.open(target) as picture:
        assert picture.size == (2000, 300)
        assert len(picture.convert("L").getcolors(256)) > 20
