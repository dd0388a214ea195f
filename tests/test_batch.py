"""Planning and running: real folders, real pictures, a real (small, untrained) network."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coloria
from coloria import batch, saving
from coloria.batch import Settings, run
from coloria.errors import (
    OptionError,
    OutOfMemoryError,
    OutputExistsError,
    OutputIsInputError,
    PictureTooLargeError,
    PictureWriteError,
    UnreadablePictureError,
)
from coloria.jobs import Job, output_name, plan

RANDOM = np.random.default_rng(0)


def gray(height=40, width=48, dtype=np.uint8):
    top = np.iinfo(dtype).max
    return RANDOM.integers(0, top, (height, width), dtype=dtype, endpoint=True)


def picture(path, height=40, width=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray(height, width)).save(path)
    return path


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of empty files with picture names, which is all that planning looks at."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        monkeypatch.chdir(tmp_path)

    return make


def planned(*inputs, output=None, suffix="_artistic", **options):
    jobs = plan(inputs, output, suffix=suffix, **options).jobs
    return {job.source.as_posix(): job.output.as_posix() for job in jobs}


class TestPlan:
    def test_beside_the_picture(self, tree):
        tree("a.jpg", "sub/b.PNG")
        assert planned("a.jpg", "sub/b.PNG") == {
            "a.jpg": "a_artistic.jpg",
            "sub/b.PNG": "sub/b_artistic.PNG",
        }

    def test_a_folder_gives_its_pictures_by_name(self, tree):
        tree("f/b.jpg", "f/a.tif", "f/notes.txt", "f/.hidden.jpg", "f/sub/c.jpg", "f/.git/d.jpg")
        assert list(planned("f")) == ["f/a.tif", "f/b.jpg"]
        assert list(planned("f", recursive=True)) == ["f/a.tif", "f/b.jpg", "f/sub/c.jpg"]

    def test_an_output_folder_keeps_the_tree(self, tree):
        tree("f/a.jpg", "f/x/a.jpg", "f/x/y/a.jpg")
        assert list(planned("f", output="out", recursive=True).values()) == [
            "out/a_artistic.jpg",
            "out/x/a_artistic.jpg",
            "out/x/y/a_artistic.jpg",
        ]

    def test_an_output_folder_within_is_no_input(self, tree):
        tree("f/a.jpg", "f/out/a_artistic.jpg", "f/out/b.jpg")
        assert list(planned("f", output="f/out", recursive=True)) == ["f/a.jpg"]

    @pytest.mark.parametrize("absolute", [False, True])
    def test_patterns_are_expanded(self, tree, tmp_path, absolute):
        tree("f/a.jpg", "f/b.png", "f/x/c.jpg", "f/.d.jpg", "f/e.txt")
        start = f"{tmp_path.as_posix()}/" if absolute else ""
        assert list(planned(f"{start}f/*.jpg")) == [f"{start}f/a.jpg"]
        assert planned(f"{start}f/**/*", output="out") == {
            f"{start}f/a.jpg": "out/a_artistic.jpg",
            f"{start}f/b.png": "out/b_artistic.png",
            f"{start}f/x/c.jpg": "out/x/c_artistic.jpg",
        }

    def test_a_file_whose_name_looks_like_a_pattern(self, tree):
        tree("a[1].jpg")
        assert planned("a[1].jpg") == {"a[1].jpg": "a[1]_artistic.jpg"}

    def test_a_link_to_itself_is_left_to_the_reader(self, tree, tmp_path):
        tree("album/a.jpg")
        (tmp_path / "album/self.jpg").symlink_to("self.jpg")
        (tmp_path / "album/inside").symlink_to("inside")
        assert planned("album", recursive=True) == {
            "album/a.jpg": "album/a_artistic.jpg",
            "album/self.jpg": "album/self_artistic.jpg",
        }

    def test_a_folder_that_may_not_be_read_is_said(self, tree, tmp_path, monkeypatch):
        """Root may read all, so the answer of the system is replaced."""
        tree("album/a.jpg", "album/locked/b.jpg")
        scandir = os.scandir

        def refusing(path):
            if os.fspath(path).endswith("locked"):
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
        with pytest.raises(OptionError, match="locked: Permission denied; nothing was coloured"):
            planned("album", recursive=True)

    def test_home_is_expanded(self, tree, tmp_path, monkeypatch):
        tree("a.jpg")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert planned("~/*.jpg") == {f"{tmp_path}/a.jpg": f"{tmp_path}/a_artistic.jpg"}

    def test_a_file_named_twice_is_coloured_once(self, tree):
        tree("f/a.jpg", "f/b.jpg")
        Path("f/link.jpg").symlink_to("a.jpg")
        assert list(planned("f/a.jpg", "f", "f/*.jpg")) == ["f/a.jpg", "f/b.jpg"]

    @pytest.mark.parametrize("inputs", [["f"], ["f/*"], ["f/a.jpg", "f/a_artistic.jpg"]])
    def test_results_beside_their_originals_are_left_out(self, tree, inputs):
        tree("f/a.jpg", "f/a_artistic.jpg", "f/a_stable.png", "f/a_artistic_before-after.jpg")
        found = plan(inputs, suffix="_artistic")
        assert [job.source.name for job in found.jobs] == ["a.jpg"]
        assert found.left_out == [
            path
            for path in sorted(Path("f").iterdir())
            if path.name != "a.jpg" and (len(inputs) == 1 or path.name == "a_artistic.jpg")
        ]

    def test_a_picture_that_only_looks_like_a_result(self, tree):
        tree("f/horse_stable.jpg", "f/_artistic.jpg", "f/b.jpg")
        assert len(planned("f")) == 3
        tree("f/horse.png")
        assert "f/horse_stable.jpg" not in planned("f")

    def test_results_with_a_suffix_of_ones_own_are_left_out(self, tree):
        tree("f/a.jpg", "f/a-color.jpg")
        assert planned("f", suffix="-color") == {"f/a.jpg": "f/a-color.jpg"}
        assert len(planned("f")) == 2

    def test_two_results_of_one_name_are_refused(self, tree):
        tree("a.jpg", "a.png", "x/a.jpg")
        assert len(planned("a.jpg", "a.png")) == 2
        with pytest.raises(OptionError, match=r"a\.jpg and a\.png would both become a_artistic"):
            planned("a.jpg", "a.png", format="webp")
        with pytest.raises(OptionError, match="would both become"):
            planned("a.jpg", "x/a.jpg", output="out")

    def test_a_before_after_picture_is_a_result_too(self, tree):
        tree("a.jpg", "a_before-after.jpg")
        [first, second] = plan(["a.jpg", "a_before-after.jpg"], suffix="_x").jobs
        assert {first.output, second.output} == {Path("a_x.jpg"), Path("a_before-after_x.jpg")}
        jobs = plan(["a.jpg"], suffix="_x", side_by_side=True).jobs
        assert jobs[0].targets == [Path("a_x.jpg"), Path("a_x_before-after.jpg")]

    def test_a_result_never_replaces_an_input(self, tree):
        tree("a.jpg", "b.jpg")
        with pytest.raises(OutputIsInputError, match=r"replace the input a\.jpg"):
            planned("a.jpg", suffix="")
        with pytest.raises(OutputIsInputError, match=r"replace the input b\.jpg"):
            planned("b.jpg", suffix="")
        Path("same").symlink_to(".")
        with pytest.raises(OutputIsInputError):
            planned("a.jpg", output="same", suffix="")
        assert planned("a.jpg", output="other", suffix="") == {"a.jpg": "other/a.jpg"}

    def test_an_output_file_is_for_one_picture(self, tree):
        tree("f/a.jpg", "f/b.jpg")
        assert planned("f/a.jpg", output="r.png") == {"f/a.jpg": "r.png"}
        with pytest.raises(OptionError, match="wanted a folder for 2 pictures"):
            planned("f", output="r.png")
        with pytest.raises(OptionError, match=r"'\.jp', did you mean 'jpg'"):
            planned("f/a.jpg", output="r.jp")
        with pytest.raises(OptionError, match=r"asked for is png.*r\.jpg"):
            planned("f/a.jpg", output="r.jpg", format="png")
        assert planned("f/a.jpg", output="r.jpg", format="jpeg") == {"f/a.jpg": "r.jpg"}

    def test_a_folder_may_be_called_like_a_file(self, tree):
        tree("a.jpg", "v1.5/x.txt")
        assert planned("a.jpg", output="v1.5") == {"a.jpg": "v1.5/a_artistic.jpg"}

    @pytest.mark.parametrize("text", ["empty", "*.jpg", "empty/**/*.png"])
    def test_nothing_found_is_said(self, tree, text):
        tree("empty/notes.txt")
        with pytest.raises(OptionError, match="there are none in"):
            planned(text)

    @pytest.mark.parametrize(
        ("source", "format", "result"),
        [
            ("a.JPG", None, "a_x.JPG"),
            ("a.gif", None, "a_x.png"),
            ("a.heic", None, "a_x.heic"),
            ("a", None, "a_x.png"),
            ("a.scan", None, "a_x.png"),
            ("a.b.tif", None, "a.b_x.tif"),
            ("a.gif", "jpeg", "a_x.jpg"),
            ("a.jpg", "TIF", "a_x.tif"),
            ("a.png", "gif", "a_x.gif"),
        ],
    )
    def test_names_of_results(self, source, format, result):
        assert output_name(Path(source), "_x", format) == result


@pytest.fixture(scope="module")
def colorizer(tiny_weights):
    return coloria.load("artistic", weights=str(tiny_weights), device="cpu", precision="fp32")


def outcomes(jobs, colorizer, **settings):
    return list(run(jobs, lambda: colorizer, Settings(**settings)))


def untouched():
    raise AssertionError("the model was loaded")


class TestRun:
    def test_a_picture_is_coloured_as_the_library_does_it(self, tmp_path, colorizer):
        source = picture(tmp_path / "a.png")
        [job] = plan([source], suffix="_x").jobs
        [seen] = outcomes([job], colorizer, tone={"saturation": 2.0}, render_size=48)
        assert (seen.status, seen.error) == ("coloured", None)
        assert (seen.width, seen.height) == (48, 40)
        assert seen.model == "artistic"
        assert seen.weights == str(colorizer.found.path)
        assert seen.seconds > 0
        right = colorizer.colorize(source, saturation=2.0, render_size=48)
        with Image.open(tmp_path / "a_x.png") as written:
            assert np.array_equal(np.asarray(written), np.asarray(right))

    @pytest.mark.parametrize("batch_size", [1, 2, 8])
    def test_groups_change_nothing(self, tmp_path, colorizer, batch_size):
        sources = [picture(tmp_path / f"{i}.png") for i in range(5)]
        jobs = plan(sources, tmp_path / "out", suffix="").jobs
        seen = outcomes(jobs, colorizer, batch_size=batch_size)
        assert [o.status for o in seen] == ["coloured"] * 5
        for source in sources:
            right = np.asarray(colorizer.colorize(source), int)
            with Image.open(tmp_path / "out" / source.name) as written:
                assert np.abs(np.asarray(written, int) - right).max() <= 1

    def test_no_more_than_a_group_is_in_memory(self, tmp_path, colorizer, monkeypatch):
        sizes = []
        real = colorizer.predict_batch

        def watched(pictures, **options):
            sizes.append(len(pictures))
            return real(pictures, **options)

        monkeypatch.setattr(colorizer, "predict_batch", watched)
        jobs = plan([picture(tmp_path / f"{i}.png") for i in range(5)], suffix="_x").jobs
        outcomes(jobs, colorizer, batch_size=2)
        assert sizes == [2, 2, 1]
        sizes.clear()
        monkeypatch.setattr(batch, "GROUP_PIXELS", 3 * 40 * 48)
        outcomes(jobs, colorizer, batch_size=8, existing="overwrite")
        assert sizes == [3, 2]

    def test_one_bad_file_does_not_stop_the_rest(self, tmp_path, colorizer):
        picture(tmp_path / "a.png")
        picture(tmp_path / "d.png")
        (tmp_path / "b.jpg").write_bytes(b"not a picture")
        whole = picture(tmp_path / "c.jpg").read_bytes()
        (tmp_path / "c.jpg").write_bytes(whole[: len(whole) // 2])
        jobs = plan([tmp_path, tmp_path / "absent.png"], suffix="_x").jobs
        seen = {Path(o.input).name: o for o in outcomes(jobs, colorizer, batch_size=4)}
        failed = {name for name, o in seen.items() if o.status == "failed"}
        assert failed == {"b.jpg", "c.jpg", "absent.png"}
        for name in failed:
            assert isinstance(seen[name].exception, UnreadablePictureError)
            assert seen[name].error.startswith(str(tmp_path / name))
            assert "\n" not in seen[name].error
        assert sorted(p.name for p in tmp_path.glob("*_x*")) == ["a_x.png", "d_x.png"]

    def test_the_model_is_not_loaded_for_nothing(self, tmp_path):
        picture(tmp_path / "a.png")
        picture(tmp_path / "a_x.png")
        (tmp_path / "b.png").write_bytes(b"")
        jobs = plan([tmp_path / "a.png", tmp_path / "b.png"], suffix="_x").jobs
        seen = list(run(jobs, untouched, Settings(existing="skip")))
        assert [o.status for o in seen] == ["skipped", "failed"]
        seen = list(run(jobs, untouched, Settings(existing="refuse")))
        assert isinstance(seen[0].exception, OutputExistsError)
        seen = list(run(jobs, untouched, Settings(existing="overwrite", max_pixels=1)))
        assert isinstance(seen[0].exception, PictureTooLargeError)

    def test_the_model_is_loaded_once(self, tmp_path, colorizer):
        loads = []
        jobs = plan([picture(tmp_path / f"{i}.png") for i in range(3)], suffix="_x").jobs
        list(run(jobs, lambda: loads.append(1) or colorizer))
        assert loads == [1]

    def test_what_is_there_is_kept_or_replaced(self, tmp_path, colorizer):
        [job] = plan([picture(tmp_path / "a.png")], suffix="_x", side_by_side=True).jobs
        job.output.write_bytes(b"mine")
        assert outcomes([job], colorizer)[0].status == "failed"
        assert not job.before_after.exists()
        assert outcomes([job], colorizer, existing="skip")[0].status == "coloured"
        assert job.output.read_bytes() == b"mine"
        assert job.before_after.exists()
        assert outcomes([job], colorizer, existing="overwrite")[0].status == "coloured"
        assert job.output.read_bytes() != b"mine"

    def test_side_by_side_is_the_original_and_the_result(self, tmp_path, colorizer):
        [job] = plan([picture(tmp_path / "a.png")], suffix="_x", side_by_side=True).jobs
        outcomes([job], colorizer)
        both, before, after = (
            np.asarray(Image.open(p).convert("RGB"))
            for p in (job.before_after, job.source, job.output)
        )
        assert np.array_equal(both, np.hstack([before, after]))

    @pytest.mark.parametrize("luma", ["lab", "deoldify"])
    def test_side_by_side_of_16_bits_and_alpha(self, tmp_path, colorizer, luma):
        tifffile = pytest.importorskip("tifffile")
        values = np.stack([gray(dtype=np.uint16)] * 3 + [gray(dtype=np.uint16)], axis=2)
        tifffile.imwrite(tmp_path / "a.tif", values, extrasamples=["unassalpha"])
        [job] = plan([tmp_path / "a.tif"], suffix="_x", side_by_side=True).jobs
        assert outcomes([job], colorizer, luma=luma)[0].error is None
        both, after = tifffile.imread(job.before_after), tifffile.imread(job.output)
        before = values if luma == "lab" else np.round(values / 257).astype(np.uint8)
        assert both.dtype == after.dtype == before.dtype
        assert np.array_equal(both[:, :48, :3], before[..., :3])
        assert np.array_equal(both[:, :48, 3], after[..., 3])
        assert np.array_equal(both[:, 48:], after)

    def test_a_file_of_several_pages(self, tmp_path, colorizer):
        pages = [Image.fromarray(gray(40 + 8 * i)) for i in range(3)]
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
        picture(tmp_path / "b.png")
        jobs = plan([tmp_path], suffix="_x", side_by_side=True).jobs
        seen = outcomes(jobs, colorizer, batch_size=4)
        assert [o.error for o in seen] == [None, None]
        with Image.open(tmp_path / "a_x.tif") as result:
            assert result.n_frames == 3
            for number, page in enumerate(pages):
                result.seek(number)
                right = np.asarray(colorizer.colorize(page), int)
                assert np.abs(np.asarray(result, int) - right).max() <= 1
        with Image.open(tmp_path / "a_x_before-after.tif") as both:
            both.seek(2)
            assert both.size == (96, 56)

    def test_the_network_sees_each_page_once(self, tmp_path, colorizer, monkeypatch):
        pages = [Image.fromarray(gray()) for _ in range(3)]
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
        seen, real = [], colorizer.predict_batch

        def watched(pictures, **options):
            seen.extend(pictures)
            return real(pictures, **options)

        monkeypatch.setattr(colorizer, "predict_batch", watched)
        outcomes(plan([tmp_path], suffix="_x", side_by_side=True).jobs, colorizer)
        assert len(seen) == 3

    def test_several_pages_need_a_format_that_holds_them(self, tmp_path):
        pages = [Image.fromarray(gray()) for _ in range(2)]
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
        jobs = plan([tmp_path], suffix="_x", format="png").jobs
        [seen] = run(jobs, untouched)
        assert isinstance(seen.exception, PictureWriteError)
        assert "2 pages" in seen.error

    def test_a_picture_that_is_on_no_disk(self, tmp_path, colorizer):
        data = picture(tmp_path / "a.png").read_bytes()
        job = Job(Path("<stdin>"), tmp_path / "result", data=data)
        [seen] = outcomes([job], colorizer)
        assert seen.input == "<stdin>"
        with Image.open(tmp_path / "result") as result:
            assert result.format == "PNG"
        bad = Job(Path("<stdin>"), tmp_path / "other", data=data[:60])
        [seen] = outcomes([bad], colorizer)
        assert seen.error.startswith("<stdin>: ")

    def test_too_little_memory_for_a_group_is_tried_one_by_one(
        self, tmp_path, colorizer, monkeypatch
    ):
        real = colorizer.predict_batch

        def narrow(pictures, **options):
            if len(pictures) > 1 or pictures[0].height > 40:
                raise OutOfMemoryError("not enough memory: use a smaller render_size")
            return real(pictures, **options)

        monkeypatch.setattr(colorizer, "predict_batch", narrow)
        sources = [picture(tmp_path / f"{i}.png", height=40 + 8 * (i == 1)) for i in range(3)]
        seen = outcomes(plan(sources, suffix="_x").jobs, colorizer, batch_size=3)
        assert [o.status for o in seen] == ["coloured", "failed", "coloured"]
        assert "use a smaller render_size" in seen[1].error
        assert not (tmp_path / "1_x.png").exists()

    def test_the_machine_running_out_of_memory_is_said(self, tmp_path, colorizer, monkeypatch):
        def greedy(*arguments, **options):
            np.empty(1 << 60, np.uint8)

        monkeypatch.setattr(batch, "side_by_side", greedy)
        [job] = plan([picture(tmp_path / "a.png")], suffix="_x", side_by_side=True).jobs
        [seen] = outcomes([job], colorizer)
        assert "memory" in seen.error
        assert not job.before_after.exists()

    def test_an_unforeseen_error_is_of_its_picture(self, tmp_path, colorizer, monkeypatch):
        def broken(pictures, **options):
            raise ZeroDivisionError("by\nzero")

        monkeypatch.setattr(colorizer, "predict_batch", broken)
        [job] = plan([picture(tmp_path / "a.png")], suffix="_x").jobs
        [seen] = outcomes([job], colorizer)
        assert seen.error == f"{job.source}: unexpected ZeroDivisionError: by zero"

    def test_a_wrong_setting_stops_all(self, tmp_path, colorizer):
        jobs = plan([picture(tmp_path / f"{i}.png") for i in range(2)], suffix="_x").jobs
        for wrong in (
            {"render_size": 3},
            {"render_factor": 1000},
            {"tone": {"warmth": 3.0}},
            {"luma": "deoldify", "tone": {"warmth": 0.5}},
        ):
            with pytest.raises(OptionError):
                outcomes(jobs, colorizer, **wrong)
        assert not list(tmp_path.glob("*_x*"))

    def test_a_folder_that_cannot_be_made(self, tmp_path, colorizer):
        source = picture(tmp_path / "a.png")
        (tmp_path / "file").touch()
        [seen] = outcomes(plan([source], tmp_path / "file" / "sub", suffix="_x").jobs, colorizer)
        assert isinstance(seen.exception, PictureWriteError)
        assert str(tmp_path / "file") in seen.error

    def test_a_record_is_plain_data(self, tmp_path):
        import json

        [seen] = run([Job(tmp_path / "absent.png", tmp_path / "x.png")], untouched)
        record = json.loads(json.dumps(seen.record()))
        assert set(record) == {
            *("input", "output", "status", "width", "height"),
            *("seconds", "model", "weights", "label", "error"),
        }


def test_every_format_that_is_read_has_a_result_that_can_be_written():
    for suffix in saving.SUFFIXES:
        assert saving.is_picture_name(output_name(Path(f"a{suffix}"), "_x"))
