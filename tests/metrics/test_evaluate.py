"""The evaluator against scikit-image, values known beforehand, and a killed process."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from skimage import color

import coloria
from coloria.errors import ColoriaError, OptionError, UnknownNameError, WeightsMissingError
from coloria.metrics import baselines, photographs
from coloria.metrics.evaluate import Work, evaluate, measure, shared_out
from coloria.metrics.journal import Journal
from coloria.metrics.plots import history, ticks
from coloria.metrics.report import heat_map, report
from coloria.metrics.rows import FolderRow, ModelRow


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Smooth colours."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five colour photographs and a CSV file that groups them."""
    place = tmp_path / "data"
    place.mkdir()
    lines = ["file,part"]
    for i in range(5):
        Image.fromarray(picture(i)).save(place / f"p{i}.png")
        lines.append(f"p{i}.png,{'even' if i % 2 == 0 else 'odd'}")
    (tmp_path / "data.csv").write_text("\n".join(lines))
    return place


def results_of(folder: Path, place: Path) -> Path:
    """Somebody's results: the photographs at half saturation."""
    place.mkdir()
    for path in folder.glob("*.png"):
        lab = color.rgb2lab(np.asarray(Image.open(path)))
        lab[..., 1:] /= 2
        rgb = (color.lab2rgb(lab) * 255).round().astype(np.uint8)
        Image.fromarray(rgb).save(place / path.name)
    return place


def skimage_mean(one: Path, other: Path) -> float:
    labs = (color.rgb2lab(np.asarray(Image.open(p).convert("RGB"))) for p in (one, other))
    return float(color.deltaE_ciede2000(*labs).mean())


def test_results_made_elsewhere_have_the_figures_of_scikit_image(
    folder: Path, tmp_path: Path
) -> None:
    made = results_of(folder, tmp_path / "made")
    result = evaluate(pred=made, truth=folder, metrics=["dE00"])
    want = [skimage_mean(made / f"p{i}.png", folder / f"p{i}.png") for i in range(5)]
    np.testing.assert_allclose(result.rows[-1].figures["ciede2000"], want, atol=2e-3)
    summary = result.summary(result.rows[-1], "ciede2000")
    assert summary.mean == pytest.approx(np.mean(want), abs=2e-3)
    assert summary.median == pytest.approx(np.median(want), abs=2e-3)
    assert summary.p90 == pytest.approx(np.quantile(want, 0.9), abs=2e-3)
    assert summary.low < summary.mean < summary.high


def test_baselines_are_what_they_say(folder: Path) -> None:
    truth = photographs.pixels(folder / "p1.png")
    gray = photographs.gray_of(truth)
    np.testing.assert_array_equal(gray, np.asarray(Image.fromarray(truth).convert("L")))
    light = color.rgb2lab(np.repeat(gray[..., None], 3, axis=2))[..., 0]
    made = color.rgb2lab(baselines.oracle(gray, truth))
    assert np.abs(made[..., 0] - light).max() < 0.7  # 8-bit rounding
    tint = color.rgb2lab(baselines.tinted(np.full((4, 4), 128, np.uint8), (6.0, -9.0)))
    np.testing.assert_allclose(tint[..., 1:].reshape(-1, 2).mean(axis=0), (6, -9), atol=0.6)


def test_the_best_tint_is_found() -> None:
    """Photographs in one tint: that tint it is."""
    gray = np.tile(np.linspace(60, 200, 120).astype(np.uint8), (96, 1))
    found = baselines.best_tint([baselines.tinted(gray, (8.0, -6.0))])
    np.testing.assert_allclose(found, (8, -6), atol=1)


def test_rows_that_every_table_has(folder: Path) -> None:
    result = evaluate(data=folder, limit=3, seed=1)
    names = [row.name for row in result.rows]
    assert names[0] == "grey"
    assert names[1].startswith("tint a* ")
    assert names[2:] == ["oracle", "artistic"]
    means = [result.summary(row, "ciede2000").mean for row in result.rows]
    assert means[2] < means[1] <= means[0]
    assert result.summary(result.rows[0], "colorfulness").mean == 0
    assert len(result.photographs) == 3
    again = evaluate(data=folder, limit=3, seed=1)
    assert [p.name for p in again.photographs] == [p.name for p in result.photographs]


def test_the_bundled_photographs_carry_their_credits() -> None:
    place = photographs.bundled()
    found = photographs.find(place)
    assert len(found) == 12
    credits = photographs.credits(place)
    assert {p.name for p in found} == set(credits)
    for words in credits.values():
        assert any(licence in words for licence in ("CC0", "CC BY", "Public Domain"))
        assert "http" in words


def test_colourfulness_of_the_photographs_is_there_to_compare_with(folder: Path) -> None:
    from coloria.metrics.colorfulness import colorfulness

    result = evaluate(data=folder, group_by="part", metrics=["cf", "ciede2000"])
    own = [float(colorfulness(picture(i))) for i in range(5)]
    assert result.original.figures == {"colorfulness": pytest.approx(own)}
    made = result.summary(result.rows[-1], "colorfulness", "odd")
    assert made.share == pytest.approx(made.mean / np.mean([own[1], own[3]]))
    assert result.summary(result.original, "colorfulness").share == 1
    assert result.summary(result.rows[-1], "ciede2000").share is None
    whole = json.loads(result.to_json())["original"]["colorfulness"]["all"]
    assert whole["mean"] == pytest.approx(np.mean(own))


@pytest.fixture
def extractors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Feature networks that other processes can import, too."""
    (tmp_path / "extractors_of_a_test.py").write_text(
        "import os, signal\n"
        "def mean_color(pictures): return pictures.double().mean(dim=(2, 3))\n"
        "def dies(pictures): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return import_module("extractors_of_a_test")


@pytest.mark.slow
def test_shared_out_over_processes_the_figures_are_the_same(
    folder: Path, extractors: ModuleType
) -> None:
    """What --gpus does, with processor cores in place of GPUs: every measure, and one of a set."""
    options = {"fid": {"extractor": extractors.mean_color, "name": "mean colours"}}
    work = Work(("ciede2000", "colorfulness", "delta-colorfulness", "fid"), options=options)
    row, found = ModelRow("artistic", "artistic", precision="fp32"), photographs.find(folder)
    alone, sets = measure(row, found, work)
    shared, merged = shared_out(row, found, work, ["cpu", "cpu"])
    for one, other in zip(alone, shared, strict=True):
        for name in work.pairwise:
            assert other[name] == pytest.approx(one[name], rel=1e-4)
    for name in work.of_set:
        assert merged[name].compute() == pytest.approx(sets[name].compute(), rel=1e-3)


@pytest.mark.slow
def test_a_process_that_dies_is_told(folder: Path, extractors: ModuleType) -> None:
    options = {"fid": {"extractor": extractors.dies, "name": "nothing"}}
    with pytest.raises(ColoriaError, match="ended unexpectedly"):
        shared_out(
            ModelRow("artistic", "artistic"),
            photographs.find(folder),
            Work(("fid",), options=options),
            ["cpu", "cpu"],
        )


def test_rows_of_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    made = results_of(folder, tmp_path / "grey")
    result = evaluate(pred=made, truth=folder)
    assert [row.name for row in result.rows][-1] == "grey (2)"


def test_two_files_of_one_stem_are_two_photographs(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(9)).save(folder / "p0.jpg")
    (tmp_path / "data.csv").write_text(
        "file,part\np0.jpg,odd\np0.png,even\np1,odd\np2.png,even\np3.png,odd\np4.png,even\n"
    )
    result = evaluate(data=folder, metrics=["dE00"], group_by="part", save_images=tmp_path / "k")
    assert [(p.name, p.group) for p in result.photographs][:3] == [
        ("p0.jpg", "odd"),
        ("p0.png", "even"),
        ("p1", "odd"),
    ]
    assert len(list((tmp_path / "k" / "artistic").iterdir())) == 6


def test_photographs_too_small_for_a_measure_are_left_out(folder: Path) -> None:
    Image.fromarray(picture(0)[:10]).save(folder / "p0.png")
    result = evaluate(data=folder, metrics=["ssim", "dE00"])
    assert len(result.photographs) == 4
    assert "SSIM wants at least 11 pixels" in result.left_out["p0"]


def test_photographs_without_colour_do_not_divide_by_zero(folder: Path) -> None:
    for path in list(folder.glob("*.png"))[:4]:
        Image.open(path).convert("L").save(path)
    result = evaluate(data=folder, metrics=["dE00"])
    found = result.summary(result.rows[-1], "ciede2000")
    assert found.change is not None
    assert found.change_low is None


def test_smallest_sides_are_those_of_the_measures() -> None:
    from coloria.metrics import get, lpips, pairs

    assert get("ssim").smallest == pairs.SSIM_WINDOW
    assert get("lpips").smallest == lpips.MINIMUM


def test_folders_that_are_no_good_for_results(folder: Path) -> None:
    with pytest.raises(OptionError, match="lies among the photographs"):
        evaluate(data=folder, save_images=folder / "kept")
    with pytest.raises(OptionError, match="cannot be made"):
        evaluate(data=folder, save_images=folder.with_name("data.csv") / "kept")
    assert not (folder / "kept").exists()


def test_a_table_that_is_no_text_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xff\xfe\x00,part\n")
    with pytest.raises(OptionError, match="CSV in UTF-8"):
        evaluate(data=folder, group_by="part")


def test_a_journal_that_cannot_be_kept_is_told_and_the_work_is_done(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = evaluate(data=folder, metrics=["dE00"], journal=folder / "p0.png" / "kept.jsonl")
    assert len(result.rows[-1].figures["ciede2000"]) == 5
    assert "begin anew" in caplog.text


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 23.4) == [0, 5, 10, 15, 20]
    assert ticks(0.812, 0.838, 5) == [0.815, 0.82, 0.825, 0.83, 0.835]
    assert ticks(3, 3) == [3]


def test_checkpoints_are_drawn_over_their_steps(folder: Path) -> None:
    rows = [ModelRow(f"step {n}", "artistic", step=n) for n in (100, 2000, 300)]
    result = evaluate(data=folder, rows=rows, metrics=["cf", "dE00"], limit=2)
    svg = history(result)
    assert "CIEDE2000" in svg
    assert svg.count("<circle") == 3
    assert svg.count("<polyline") == 1
    assert history(evaluate(data=folder, limit=2)) == ""


def test_groups(folder: Path) -> None:
    result = evaluate(data=folder, group_by="part", metrics=["ciede2000"])
    assert result.groups == ["all", "even", "odd"]
    grey = result.rows[0].figures["ciede2000"]
    assert result.summary(result.rows[0], "ciede2000", "odd").mean == pytest.approx(
        (grey[1] + grey[3]) / 2
    )
    with pytest.raises(OptionError, match="no column 'place'; it has: file, part"):
        evaluate(data=folder, group_by="place")


def test_what_cannot_be_measured_is_named_and_the_rest_is(folder: Path, tmp_path: Path) -> None:
    made = results_of(folder, tmp_path / "made")
    (made / "p0.png").write_bytes(b"nothing")
    Image.fromarray(picture(1, 20, 20)).save(made / "p1.png")
    (made / "p2.png").rename(made / "other.png")
    result = evaluate(pred=made, truth=folder)
    assert [p.name for p in result.photographs] == ["p3", "p4"]
    assert set(result.left_out) == {"p0", "p1", "p2", "other"}
    assert "20x20" in result.left_out["p1"]
    assert "56x40" in result.left_out["p1"]


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no picture"):
        evaluate(data=tmp_path)
    (tmp_path / "broken.png").write_bytes(b"x")
    with pytest.raises(OptionError, match="nothing can be measured"):
        evaluate(data=tmp_path)
    with pytest.raises(OptionError, match="both pred and truth"):
        evaluate(pred=tmp_path)
    with pytest.raises(UnknownNameError, match="ciede2000"):
        evaluate(metrics=["ciede200"])


def test_missing_networks_are_told_before_any_work(folder: Path, tmp_path: Path) -> None:
    calls: list[str] = []
    with pytest.raises(WeightsMissingError):
        evaluate(data=folder, metrics=["lpips"], advance=lambda *said: calls.append(said[0]))
    assert not calls


def test_figures_that_are_known_are_not_measured_again(folder: Path, tmp_path: Path) -> None:
    made = results_of(folder, tmp_path / "made")
    journal = tmp_path / "kept.jsonl"
    first = evaluate(pred=made, truth=folder, journal=journal)
    lines = len(journal.read_text().splitlines())
    with journal.open("a") as file:
        file.write('{"key": "cut o')  # a crash in the middle of a line
    second = evaluate(pred=made, truth=folder, journal=journal)
    assert len(journal.read_text().splitlines()) == lines + 1
    assert second.rows[-1].figures == first.rows[-1].figures
    Image.fromarray(picture(77)).save(made / "p3.png")  # another content: measured anew
    third = evaluate(pred=made, truth=folder, journal=journal)
    before, now = (r.rows[-1].figures["ciede2000"] for r in (first, third))
    same = [a == b for a, b in zip(before, now, strict=True)]
    assert same == [True, True, True, False, True]


@pytest.mark.slow
def test_a_killed_evaluation_goes_on(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir()
    for i in range(60):
        Image.fromarray(picture(i, 200, 300)).save(place / f"p{i}.png")
    home = tmp_path / "home"
    command = [sys.executable, "-m", "coloria", "eval", "--data", str(place), "--json", "-"]
    environment = {**os.environ, "COLORIA_HOME": str(home)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    journal = home / "evaluations.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        journal.exists() and len(Journal(journal).known) > 5
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = dict(Journal(journal).known)
    assert 5 < len(kept) < 240
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["photographs"] == 60
    after = Journal(journal).known
    assert len(after) == 240
    assert {key: after[key] for key in kept} == kept


def test_every_result_is_kept_when_asked_for(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    result = evaluate(data=folder, save_images=place, limit=2)
    page = (place / "index.html").read_text()
    for row in result.rows:
        for photograph in result.photographs:
            found = list(place.rglob(f"{photograph.name}.png"))
            assert len(found) == len(result.rows)
            assert row.name.split()[0] in page


def test_csv_json_and_pandas_say_the_same(folder: Path) -> None:
    result = evaluate(data=folder, limit=2, metrics=["ciede2000", "delta-colorfulness"])
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert len(rows) == 2 * 4
    frame = result.to_pandas()
    np.testing.assert_allclose(frame["ciede2000"], [float(row["ciede2000"]) for row in rows])
    whole = json.loads(result.to_json())
    assert whole["rows"][3]["measures"]["ciede2000"]["all"]["mean"] == pytest.approx(
        frame[frame["row"] == "artistic"]["ciede2000"].mean()
    )
    assert whole["rows"][0]["of_set"]["delta-colorfulness"] > 0
    assert "<table>" in result._repr_html_()


def test_file_names_are_only_text_in_the_report(folder: Path, tmp_path: Path) -> None:
    (folder / "p0.png").rename(folder / "<img src=x onerror=alert(1)>.png")
    row = ModelRow("artistic", "artistic")
    result = evaluate(data=folder, rows=[row])
    target = tmp_path / "report.html"
    report(result, [row], target)
    page = target.read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "http" not in page  # nothing is fetched
    assert page.count("data:image/jpeg") > 8


def test_the_heat_map_is_dark_where_nothing_differs() -> None:
    one = picture(3)
    other = one.copy()
    other[:, 28:] = 255 - other[:, 28:]
    heat = heat_map(other, one)
    assert heat[:, :28].max() <= 4
    assert heat[:, 28:].max() > 200


def test_public_name() -> None:
    assert coloria.evaluate is evaluate
    assert FolderRow("x").is_baseline is False
