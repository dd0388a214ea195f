"""``coloria colorize`` as people call it: a real process, real files, a small untrained network."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import coloria
from coloria.cli import colorize as module
from coloria.cli import options
from coloria.cli.main import cli

COMMAND = [sys.executable, "-m", "coloria", "colorize"]
RANDOM = np.random.default_rng(1)


def gray(height=40, width=48):
    return Image.fromarray(RANDOM.integers(0, 256, (height, width), dtype=np.uint8))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two pictures, one file that is none; the working folder."""
    gray().save(tmp_path / "a.jpg")
    gray().save(tmp_path / "b.png")
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def loaded(tiny_weights):
    return coloria.load("artistic", weights=str(tiny_weights), device="cpu", precision="fp32")


@pytest.fixture
def here(tiny_weights):
    """Runs the command in this process."""

    def run(*arguments, code=0, **more):
        words = [str(a) for a in ("colorize", *arguments, "--weights", tiny_weights)]
        result = CliRunner().invoke(cli, words, prog_name="coloria", **more)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def process(tiny_weights):
    """Runs the command in a process of its own."""

    def run(*arguments, code=0, **more):
        words = [*COMMAND, *map(str, arguments), "--weights", str(tiny_weights)]
        done = subprocess.run(words, capture_output=True, timeout=120, check=False, **more)
        assert done.returncode == code, done.stderr.decode()
        return done

    return run


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_one_file(folder, process, loaded, tiny_weights):
    done = process("a.jpg", "--device", "cpu", "--precision", "fp32", "--format", "png")
    assert done.stdout == b""
    assert done.stderr.decode().splitlines() == [
        f"note: the weights of {tiny_weights}",
        "a.jpg -> a_artistic.png",
        "1 coloured, 0 skipped, 0 failed",
    ]
    right = np.asarray(loaded.colorize(folder / "a.jpg"), int)
    with Image.open("a_artistic.png") as result:
        assert np.abs(np.asarray(result, int) - right).max() <= 1


def test_a_folder_with_a_bad_file(folder, here):
    lines = here(".", "--no-borders", code=1).stderr.splitlines()
    assert lines[1] == "2 coloured, 0 skipped, 1 failed"
    assert [line.split(":")[:2] for line in lines[2:]] == [["failed", " bad.jpg"]]
    assert names(folder) == ["a.jpg", "a_artistic.jpg", "b.png", "b_artistic.png", "bad.jpg"]


def test_a_second_run_colours_no_results(folder, here):
    here("a.jpg", "b.png")
    before = names(folder)
    result = here("*.jpg", "*.png", "--skip-existing", code=1)
    assert "left out 2 that earlier runs made" in result.stderr
    assert "0 coloured, 2 skipped, 1 failed" in result.stderr
    assert names(folder) == before
    assert "3 failed" in here(".", code=1).stderr
    assert "2 coloured, 0 skipped, 1 failed" in here(".", "--overwrite", code=1).stderr


def test_the_model_is_not_loaded_for_nothing(folder):
    (folder / "a_artistic.jpg").touch()
    arguments = ["colorize", "a.jpg", "--skip-existing", "--weights", "absent.safetensors"]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-1] == "0 coloured, 1 skipped, 0 failed"


def test_missing_weights_end_the_run_and_name_the_command(folder):
    result = CliRunner().invoke(cli, ["colorize", "a.jpg", "--weights", "released"])
    assert result.exit_code == 1
    assert "coloria weights download artistic" in result.stderr
    assert names(folder) == ["a.jpg", "b.png", "bad.jpg"]


def test_an_output_folder_keeps_the_tree(folder, here):
    (folder / "x" / "y").mkdir(parents=True)
    gray().save(folder / "x" / "y" / "c.tif")
    (folder / "bad.jpg").unlink()
    here(".", "-r", "-o", "out", "--suffix", "")
    assert {p.as_posix() for p in Path("out").rglob("*.*")} == {
        *("out/a.jpg", "out/b.png", "out/x/y/c.tif")
    }


def test_json_is_one_document_on_stdout(folder, here, tiny_weights):
    done = here("a.jpg", "bad.jpg", "b.png", "-o", "out", "--json", code=1)
    first, second, third = json.loads(done.stdout)
    with Image.open(first["output"]) as result:
        assert result.size == (first["width"], first["height"])
    assert first["seconds"] > 0
    assert first["error"] is None
    assert {first["input"], first["model"], first["weights"]} == {
        *("a.jpg", "artistic", str(tiny_weights))
    }
    assert (second["status"], second["width"]) == ("failed", None)
    assert second["error"].startswith("bad.jpg: ")
    assert third["status"] == "coloured"


def test_quiet_says_only_what_failed(folder, here):
    assert here("a.jpg", "-q").stderr == ""
    result = here("b.png", "bad.jpg", "--quiet", code=1)
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["failed"]


def encoded(format):
    file = io.BytesIO()
    gray().save(file, format)
    return file.getvalue()


def test_a_picture_through_a_pipe(process):
    done = process("-", input=encoded("JPEG"))
    with Image.open(io.BytesIO(done.stdout)) as result:
        assert (result.format, result.mode, result.size) == ("JPEG", "RGB", (48, 40))
    assert b"coloured" in done.stderr
    assert b"->" not in done.stderr


@pytest.mark.parametrize(
    ("given", "arguments", "format"),
    [("GIF", [], "PNG"), ("PNG", ["--format", "webp"], "WEBP"), ("PNG", ["-o", "-"], "PNG")],
)
def test_the_format_of_a_piped_picture(here, given, arguments, format):
    result = here("-", *arguments, input=encoded(given))
    with Image.open(io.BytesIO(result.stdout_bytes)) as picture:
        assert (picture.format, picture.size) == (format, (48, 40))


def test_a_file_of_several_pages_through_a_pipe(here):
    file = io.BytesIO()
    gray().save(file, "TIFF", save_all=True, append_images=[gray(48), gray(56)])
    with Image.open(io.BytesIO(here("-", input=file.getvalue()).stdout_bytes)) as result:
        assert [result.seek(i) or result.height for i in range(3)] == [40, 48, 56]


def test_from_stdin_to_a_file(folder, here):
    data = (folder / "b.png").read_bytes()
    result = here("-", "-o", "r.jpg", "--side-by-side", "--json", input=data)
    [record] = json.loads(result.stdout)
    assert (record["input"], record["output"]) == ("<stdin>", "r.jpg")
    with Image.open("r_before-after.jpg") as both:
        assert both.size == (96, 40)


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_nothing_is_written_to_stdout_for_a_bad_picture(process, data):
    done = process("-", input=data, code=1)
    assert done.stdout == b""
    assert b"<stdin>" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-", "a.jpg"],
        ["-", "--json"],
        ["-", "--side-by-side"],
        ["-", "-o", "."],
        ["-", "-o", "r.png", "--format", "jpeg"],
        ["a.jpg", "-o", "-"],
        ["a.jpg", "b.png", "-o", "r.jpg"],
        ["a.jpg", "b.png", "-o", "out", "--suffix", "", "--format", "bmpp"],
        ["a.jpg", "--overwrite", "--skip-existing"],
        ["a.jpg", "--render-size", "64", "--render-factor", "4"],
        ["a.jpg", "--render-size", "3"],
        ["a.jpg", "--luma", "deoldify", "--warmth", "0.5"],
        ["a.jpg", "--strength", "1.5"],
        ["a.jpg", "--quality", "101"],
        ["a.jpg", "--batch-size", "0"],
        ["*.webp"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_use_exits_2_and_writes_nothing(folder, here, arguments):
    before = names(folder)
    data = (folder / "b.png").read_bytes()
    result = here(*arguments, code=2, input=data)
    assert result.stdout == ""
    assert names(folder) == before


def test_a_result_over_an_input_is_refused(folder, here):
    data = (folder / "a.jpg").read_bytes()
    here("a.jpg", "--suffix", "", "--overwrite", code=1)
    here("a.jpg", "-o", "a.jpg", "--overwrite", code=1)
    assert (folder / "a.jpg").read_bytes() == data


def test_options_reach_the_picture(folder, here, loaded):
    words = "--render-size 48 --strength 0.5 --saturation 2 --warmth 0.2 --contrast 1.2"
    here("b.png", *words.split(), "--brightness", "0.1", "--device", "cpu", "--precision", "fp32")
    right = loaded.colorize(
        folder / "b.png",
        render_size=48,
        strength=0.5,
        saturation=2,
        warmth=0.2,
        contrast=1.2,
        brightness=0.1,
    )
    with Image.open("b_artistic.png") as result:
        assert np.array_equal(np.asarray(result), np.asarray(right))


def test_the_original_join(folder, here, loaded):
    words = "--luma deoldify --render-factor 3 --device cpu --precision fp32"
    here("b.png", *words.split())
    right = loaded.colorize(folder / "b.png", luma="deoldify", render_factor=3)
    with Image.open("b_artistic.png") as result:
        assert np.array_equal(np.asarray(result), np.asarray(right))


def test_too_many_pixels(folder, here):
    result = here("b.png", "--max-pixels", "100", code=1)
    assert "--max-pixels" in result.stderr
    assert not (folder / "b_artistic.png").exists()


def test_a_warning_of_pillow_is_a_note(folder, process):
    gray().save("cut.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    lines = process("cut.jpg").stderr.decode().splitlines()
    assert any(line.startswith("note: Corrupt EXIF") for line in lines)
    assert not any("UserWarning" in line or "warnings.warn" in line for line in lines)


def test_what_does_not_fit_the_format_is_a_note(folder, here):
    gray().convert("LA").save("alpha.png")
    lines = here("alpha.png", "--format", "jpeg").stderr.splitlines()
    assert any(line.startswith("note: ") and "transparency" in line for line in lines)


def test_heic_without_the_extra_is_a_failure_of_that_file(folder, here, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(gray(64, 64).convert("RGB")).save("phone.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    result = here("phone.heic", "a.jpg", code=1)
    assert "1 coloured, 0 skipped, 1 failed" in result.stderr
    assert "pip install '.[scan]'" in result.stderr


def test_tracebacks_of_pictures(folder, tiny_weights):
    arguments = ["--traceback", "colorize", "bad.jpg", "--weights", str(tiny_weights)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "UnreadablePictureError" in result.stderr


def read_terminal(descriptor):
    """All that a terminal shows until the other side has closed it."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()


def on_terminal(tiny_weights, *arguments, **streams):
    """The exit code, and what a terminal on those streams shows."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, *arguments, "--weights", str(tiny_weights)],
        **{name: theirs if stream is pty else stream for name, stream in streams.items()},
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    with child:
        text = read_terminal(ours)
        return child.wait(60), text


def test_many_files_on_a_terminal_have_a_progress_bar(folder, tiny_weights):
    code, text = on_terminal(tiny_weights, "a.jpg", "b.png", stderr=pty, stdout=subprocess.PIPE)
    assert code == 0
    assert "2/2" in text
    assert "2 coloured" in text


def test_a_picture_is_not_written_to_a_terminal(folder, tiny_weights):
    with open("b.png", "rb") as file:  # noqa: PTH123
        code, text = on_terminal(tiny_weights, "-", stdin=file, stdout=pty, stderr=pty)
    assert code == 2
    assert "not written to a terminal" in text
    code, text = on_terminal(tiny_weights, "-", stdin=pty, stdout=subprocess.PIPE, stderr=pty)
    assert code == 2
    assert "pipe one in" in text


def test_interruption_leaves_no_half_written_file(tmp_path, tiny_weights):
    for number in range(200):
        gray(400, 400).save(tmp_path / f"{number:03}.png")
    child = subprocess.Popen(
        [*COMMAND, str(tmp_path), "--weights", str(tiny_weights)], stderr=subprocess.PIPE
    )
    with child:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("*_artistic.png")) and time.monotonic() < until:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        text = child.stderr.read().decode()
    assert "Traceback" not in text
    results = list(tmp_path.glob("*_artistic.png"))
    assert f"{len(results)} coloured, 0 skipped, 0 failed" in text
    assert 0 < len(results) < 200
    assert len(list(tmp_path.iterdir())) == 200 + len(results)
    for path in results:
        with Image.open(path) as result:
            result.load()


def test_words_are_the_ones_of_the_library():
    from coloria import colorizer, device, saving
    from coloria.color import TONE_RANGES, Tone

    assert {name: (low, high) for name, (low, high, _, _) in module.TONES.items()} == TONE_RANGES
    assert Tone(**{name: default for name, (_, _, default, _) in module.TONES.items()}) == Tone()
    assert module.LUMAS == colorizer.LUMAS
    assert (options.DEVICES, options.PRECISIONS) == (device.DEVICES, device.PRECISIONS)
    assert {saving.find_format(name) for name in module.FORMATS} == set(saving.FORMATS)


def bigcolor(weights, *arguments, code=0):
    words = ["colorize", *map(str, arguments), "-m", "bigcolor", "--weights", str(weights)]
    result = CliRunner().invoke(cli, words, prog_name="coloria")
    assert result.exit_code == code, result.output
    return result


def test_samples_are_numbered_and_no_inputs_of_the_next_run(folder, bigcolor_weights):
    free = bigcolor_weights[False]
    bigcolor(free, "a.jpg", "b.png", "--samples", "3", "--seed", "4", "--format", "png")
    names = [f"{stem}_bigcolor_s{i}.png" for stem in "ab" for i in (1, 2, 3)]
    assert sorted(path.name for path in folder.glob("*_s?.png")) == names
    assert len({Path(name).read_bytes() for name in names}) == 6
    bigcolor(free, "a.jpg", "-o", "one.png", "--seed", "5")
    assert np.array_equal(Image.open("one.png"), Image.open("a_bigcolor_s2.png"))
    again = bigcolor(free, "*.jpg", "*.png", "--samples", "3", "--skip-existing", code=1)
    assert "left out 6" in again.stderr
    bigcolor(free, "a.jpg", "-o", "two.png", "--samples", "2", "--side-by-side")
    assert {p.name for p in folder.glob("two*")} == {
        *("two_s1.png", "two_s2.png", "two_s1_before-after.png", "two_s2_before-after.png")
    }


def test_the_class_is_chosen_or_told(folder, bigcolor_weights):
    weights = bigcolor_weights[True]
    assert "class " not in bigcolor(weights, "a.jpg", "--class", "Strawberry").stderr
    [record] = json.loads(bigcolor(weights, "b.png", "--class", "949", "--json").stdout)
    assert record["label"] == {"id": 949, "name": "strawberry", "probability": None}
    told = bigcolor(weights, "a.jpg", "--class", "auto", "--samples", "2").stderr
    assert told.count("note: a.jpg: class ") == 1
    assert re.search(r"note: a\.jpg: class \d+ .+ \(\d+%\)", told)


@pytest.mark.parametrize(
    ("classes", "words", "said"),
    [
        (True, "--class strawbery", "did you mean 'strawberry'"),
        (False, "--class strawberry", "know no classes"),
        (True, "--class 1 --z-std 11", "--z-std"),
        (True, "--class 1 --samples 0", "--samples"),
    ],
)
def test_classes_and_samples_that_cannot_be(folder, bigcolor_weights, classes, words, said):
    assert said in bigcolor(bigcolor_weights[classes], "a.jpg", *words.split(), code=2).stderr
    assert not list(folder.glob("a_bigcolor*"))


@pytest.mark.parametrize("words", ["--class 1", "--samples 2", "--z-std 1"])
def test_other_models_refuse_what_bigcolor_takes(folder, here, words):
    assert "bigcolor" in here("a.jpg", *words.split(), code=2).stderr
    assert not list(folder.glob("a_artistic*"))


def test_samples_do_not_go_through_a_pipe(here):
    assert "--samples" in here("-", "--samples", "2", "-o", "x.png", input=b"", code=2).stderr


def test_without_the_classifier_the_option_is_named(folder, bigcolor_weights, monkeypatch):
    import coloria.classify

    coloria.classify._classifier.cache_clear()
    monkeypatch.setattr("coloria.train.pretrained.find_spec", lambda name: None)
    said = bigcolor(bigcolor_weights[True], "a.jpg", "--class", "auto", code=2).stderr
    assert "--class NAME" in said
    assert "pip install '.[train]'" in said
