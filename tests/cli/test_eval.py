"""``coloria eval`` and ``coloria compare`` as people call them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import coloria
from coloria.cli.main import cli, main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    random = np.random.default_rng(0)
    for i in range(3):
        small = random.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(place / f"{i}.png")
    return place


def test_it_works_right_after_the_installation() -> None:
    result = run("eval", "--metric", "deltaE00", "--limit", "2")
    assert result.exit_code == 0, result.output
    assert "photographs that come with the package" in result.stderr
    for row in ("grey", "tint", "oracle", "artistic"):
        assert row in result.stdout


def test_files_are_written(folder: Path, tmp_path: Path) -> None:
    names = {"--json": "a.json", "--csv": "a.csv", "--report": "a.html"}
    files = [part for flag, name in names.items() for part in (flag, str(tmp_path / name))]
    result = run("eval", "--data", str(folder), "--metric", "psnr", *files)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.json").read_text())["photographs"] == 3
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 3 * 4
    assert "Distributions" in (tmp_path / "a.html").read_text()


def test_left_out_ones_are_named_and_the_exit_code_is_1(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    result = run("eval", "--data", str(folder), "--json", "-")
    assert result.exit_code == 1
    assert "left out broken" in result.stderr
    assert json.loads(result.stdout)["photographs"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metric", "deltaE01"], "deltaE00"),
        (["--pred", "x", "--model", "artistic"], "not several"),
        (["--data", "nowhere"], "is none"),
        (["--gpus", "64"], "GPUs"),
        (["--all", "--model", "artistic"], "not both"),
        (["--all", "--weights", "released:stable"], "no model has weights"),
        (["--report", f"{__file__}/report.html"], "cannot be written"),
        (["--size", "0"], "--size"),
        (["--seed", "-1"], "--seed"),
        (["--class", "strawberry"], "takes a class"),
        (["--pred", ".", "--truth", ".", "--class", "auto"], "takes a class"),
        (["--save-images", f"{__file__}/kept"], "cannot be made"),
    ],
)
def test_wrong_use_is_told(
    arguments: list[str],
    words: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["coloria", "eval", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    assert ended.value.code == 2 or "class" not in words
    assert words in capfd.readouterr().err


def test_the_measures_are_listed() -> None:
    result = run("eval", "--list")
    assert "ciede2000:" in result.stdout
    assert "needs the extra eval" in result.stdout


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of PyTorch's."""
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    monkeypatch.delenv("COLORIA_OFFLINE", raising=False)
    return tmp_path / "hub" / "checkpoints"


def test_networks_that_are_missing_are_all_named_before_the_run(folder: Path, hub: Path) -> None:
    result = run("eval", "--data", str(folder), "--metric", "lpips", "--metric", "fid")
    assert result.exit_code == 1
    for name in ("lpips", "fid"):
        assert f"coloria eval --metric {name} --download" in result.stderr
    assert result.stdout == ""


def test_networks_are_fetched_when_asked_for(
    folder: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer itself is tested against a real server, see the tests of coloria.fetch."""
    import torch
    from torchvision.models import alexnet

    from coloria.metrics import networks
    from coloria.metrics.lpips import alexnet as remembered

    remembered.cache_clear()
    for path in folder.glob("*.png"):  # AlexNet wants 63 pixels
        Image.open(path).resize((80, 72)).save(path)
    asked = []

    def fetch(urls: list[str], target: Path, progress: object = None) -> str:
        asked.extend(urls)
        torch.save(alexnet().state_dict(), target)
        return networks.ALEXNET.begins + "0" * 56

    monkeypatch.setattr(networks, "fetch", fetch)
    words = ("eval", "--data", str(folder), "--metric", "lpips", "--download", "--json", "-")
    for _ in range(2):
        result = run(*words)
        assert result.exit_code == 0, result.output
    assert asked == [networks.ALEXNET.url]
    grey = json.loads(result.stdout)["rows"][0]["measures"]["lpips"]["all"]
    assert grey["mean"] > 0


def test_two_choices_of_weights_are_two_rows(folder: Path) -> None:
    result = run("eval", "--data", str(folder), "-w", "auto", "-w", "embedded", "--json", "-")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["name"] for row in rows[3:]] == ["artistic", "artistic (embedded)"]
    assert rows[3]["measures"] == rows[4]["measures"]


def test_colourfulness_is_told_as_a_share_of_the_originals(folder: Path) -> None:
    result = run("eval", "--data", str(folder), "--metric", "cf")
    assert "of original" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert next(line for line in lines if line[:1] == ["original"])[-1] == "100%"


def test_compare_makes_a_labelled_sheet(folder: Path, tmp_path: Path) -> None:
    photo, sheet, page = folder / "0.png", tmp_path / "sheet.png", tmp_path / "sheet.html"
    one = ("compare", str(photo), "--model", "artistic")
    assert run(*one, "--sweep", "-o", str(sheet)).exit_code == 0
    with Image.open(sheet) as image:  # the original and five sizes, three in a row
        assert image.size[0] > 3 * 64
        assert image.size[1] > 2 * 48
    assert run(*one, "-o", str(page)).exit_code == 0
    text = page.read_text()
    assert 'type="range"' in text
    assert "http" not in text
    again = run(*one, "-o", str(page))
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert run(*one, "-o", str(tmp_path / "sheet.gif")).exit_code != 0


def of_bigcolor(folder: Path, weights: Path, *arguments: str, code: int = 0) -> Result:
    words = ("eval", "--data", str(folder), "--metric", "dE00", "-m", "bigcolor")
    result = run(*words, "-w", str(weights), "--json", "-", *arguments)
    assert result.exit_code == code, result.output
    return result


def test_a_resumed_evaluation_does_not_mix_classes_and_seeds(
    folder: Path, bigcolor_weights: dict[bool, Path]
) -> None:
    def mean(*arguments: str) -> tuple[float, object]:
        found = json.loads(of_bigcolor(folder, bigcolor_weights[True], *arguments).stdout)
        return found["rows"][-1]["measures"]["ciede2000"]["all"]["mean"], found["settings"]["class"]

    kept = Path(os.environ["COLORIA_HOME"]) / "evaluations.jsonl"

    def lines() -> int:
        return len([line for line in kept.read_text().splitlines() if line])

    first = mean("--class", "strawberry")
    begun = lines()
    assert first[1] == 949
    assert mean("--class", "949") == first  # by its other name: known
    assert lines() == begun
    other, seeded = mean("--class", "7"), mean("--class", "strawberry", "--seed", "1")
    assert lines() == begun + 2 * 3
    assert len({first[0], other[0], seeded[0]}) == 3
    assert mean("--class", "strawberry", "--fresh") == first  # the same random vector again
    assert mean("--class", "strawberry", "--seed", "1", "--fresh") == seeded


def test_the_random_vector_is_that_of_the_seed(
    folder: Path, tmp_path: Path, bigcolor_weights: dict[bool, Path]
) -> None:
    weights = bigcolor_weights[False]
    of_bigcolor(folder, weights, "--seed", "3", "--save-images", str(tmp_path / "kept"))
    kept = next((tmp_path / "kept").rglob("bigcolor*/1.png"))
    bigcolor = coloria.load("bigcolor", str(weights))
    gray = np.asarray(Image.open(folder / "1.png").convert("L"))
    made = bigcolor.colorize(gray, seed=3, borders=False)
    np.testing.assert_array_equal(np.asarray(Image.open(kept)), made)
    assert (made != bigcolor.colorize(gray, seed=4, borders=False)).any()


def test_models_without_classes_do_not_mind_those_of_others(
    folder: Path, bigcolor_weights: dict[bool, Path], tiny_weights: Path
) -> None:
    from coloria.metrics.evaluate import evaluate
    from coloria.metrics.rows import ModelRow, coloring

    def rows(class_: str | None, seed: int) -> list[ModelRow]:
        files = {"artistic": tiny_weights, "bigcolor": bigcolor_weights[True]}
        own = coloring(None, class_, seed)
        return [ModelRow(name, name, str(path), options=own) for name, path in files.items()]

    one, other = rows("3", 0), rows("4", 5)
    assert [a.key == b.key for a, b in zip(one, other, strict=True)] == [True, False]
    result = evaluate(data=folder, rows=one, metrics=["dE00"], limit=1, class_="3")
    assert result.settings["class"] == 3
    refused = of_bigcolor(folder, bigcolor_weights[False], "--class", "3", code=2)
    assert "nothing that is measured here takes a class" in refused.stderr


def test_compare_shows_every_sample_and_its_class(
    folder: Path, tmp_path: Path, bigcolor_weights: dict[bool, Path]
) -> None:
    def labels(known: bool, *arguments: str) -> list[str]:
        page = tmp_path / "sheet.html"
        words = ("compare", str(folder / "0.png"), "-m", "bigcolor", "-o", str(page))
        weights = ("-w", str(bigcolor_weights[known]), "--overwrite")
        result = run(*words, *weights, *arguments)
        assert result.exit_code == 0, result.output
        return re.findall("<figcaption>(.*?)</figcaption>", page.read_text())

    assert labels(False) == ["bigcolor"]
    assert labels(False, "--samples", "3") == [f"bigcolor, s{i}" for i in (1, 2, 3)]
    assert labels(True, "--class", "Strawberry") == ["bigcolor, class 949 strawberry"]
    refused = run("compare", str(folder / "0.png"), "-m", "artistic", "--samples", "2")
    assert (refused.exit_code, "samples are for bigcolor" in refused.stderr) == (2, True)
    refused = run("compare", str(folder / "0.png"), "-m", "artistic", "--class", "2")
    assert (refused.exit_code, "takes a class" in refused.stderr) == (2, True)
