"""Finding, filtering, splitting and decoding photographs."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from coloria.errors import DataError
from coloria.train import sources as files
from coloria.train.data import Photos
from coloria.train.memory import spare_memory
from coloria.train.sources import resolve_sources


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A colourful picture that differs for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)


def folder_of(root: Path, counts: dict[str, int]) -> Path:
    """A folder with so many pictures in each sub-folder."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            picture(1000 * number + k).save(root / name / f"p{k:03}.png")
    return root


def zipped(folder: Path, path: Path) -> Path:
    """The folder as a zip file, in the opposite order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(folder.rglob("*"), reverse=True):
            file.write(one, one.relative_to(folder))
    return path


def inside(photos: Photos, source: Path) -> list[str]:
    return [Path(name).relative_to(source).as_posix() for name in photos.names]


# ------------------------------------------------------------------ finding


def test_a_folder_and_its_zip_give_the_same(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", {"b/deep/er": 3, "a": 2, ".": 1})
    both = [folder, zipped(folder, tmp_path / "f.zip")]
    first, second = (Photos.find([source]) for source in both)
    wanted = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*.png"))
    assert inside(first, folder) == inside(second, both[1]) == wanted
    for i in range(len(first)):
        np.testing.assert_array_equal(first.read(i), second.read(i))
    assert len(Photos.find(both)) == 12


def test_order_does_not_depend_on_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, {"a": 5, "b": 5, "c": 5})
    before = Photos.find([folder], limit=7, seed=3).names
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda *a, **k: ((r, d[::-1], f[::-1]) for r, d, f in walk(*a, **k))
    )
    assert Photos.find([folder], limit=7, seed=3, workers=3).names == before


def test_unreadable_ones_are_counted_and_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": 2})
    (folder / "a" / "text.jpg").write_text("not a picture")
    (folder / "a" / "empty.png").touch()
    picture(1, (200, 200)).save(folder / "whole.jpg", quality=95)
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    picture(1).resize((300, 8)).save(folder / "strip.png")
    (folder / "notes.txt").write_text("never looked at")
    (folder / "._p000.png").write_text("nor this")
    photos = Photos.find([folder])
    assert len(photos) == 3
    names = [Path(name).name for name, _ in photos.skipped]
    assert sorted(names) == ["empty.png", "half.jpg", "strip.png", "text.jpg"]
    reasons = {Path(name).name: reason for name, reason in photos.skipped}
    assert "truncated" in reasons["half.jpg"]
    assert "300 x 8" in reasons["strip.png"]


def test_pictures_and_files_beyond_all_measure_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "f", {"a": 1})
    Image.new("RGB", (400, 300), "blue").save(folder / "a" / "large.png")
    Image.new("RGB", (90, 90), "red").save(folder / "a" / "heavy.bmp")
    sources = [folder, zipped(folder, tmp_path / "f.zip")]
    monkeypatch.setattr(files, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(files, "MAX_BYTES", 20_000)
    photos = Photos.find(sources)
    assert len(photos) == 2
    reasons = [(Path(name).name, reason.split(",")[0]) for name, reason in photos.skipped]
    assert Counter(reasons) == {
        ("large.png", "ValueError: 400 x 300 pixels"): 2,
        ("heavy.bmp", "ValueError: 24534 bytes"): 2,
    }


def test_near_grey_ones_are_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": 2})
    picture(9).convert("L").save(folder / "a" / "gray.png")
    ImageOps.colorize(picture(9).convert("L"), (2, 0, 0), "white").save(folder / "a" / "toned.png")
    photos = Photos.find([folder])
    assert [Path(name).name for name in photos.grey] == ["gray.png", "toned.png"]
    assert len(photos) == 2
    assert photos.skipped == []
    assert len(Photos.find([folder], min_colorfulness=0)) == 4


def test_limit_is_spread_over_sub_folders(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"many": 30, "some": 6, "few": 2})
    photos = Photos.find([folder], limit=15, seed=1)
    assert Counter(name.split("/")[0] for name in inside(photos, folder)) == {
        "many": 7,
        "some": 6,
        "few": 2,
    }
    assert Photos.find([folder], limit=15, seed=1).names == photos.names
    assert Photos.find([folder], limit=15, seed=2).names != photos.names
    assert len(Photos.find([folder], limit=1000)) == 38


def test_limit_counts_only_usable_ones(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": 4, "b": 4})
    for k in range(20):
        (folder / "a" / f"bad{k}.png").touch()
    assert len(Photos.find([folder], limit=8)) == 8


def test_a_link_to_its_own_parent_is_no_endless_walk(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": 2})
    (folder / "a" / "up").symlink_to(folder)
    assert len(Photos.find([folder])) == 2


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    Photos.find([folder_of(tmp_path, {"a": 3})], progress=lambda *call: calls.append(call))
    assert calls[-1] == (3, 3)


# ------------------------------------------------------------------ what is missing


def test_nothing_usable_says_what_was_found(tmp_path: Path) -> None:
    picture(1).convert("L").save(tmp_path / "gray.png")
    (tmp_path / "bad.png").touch()
    with pytest.raises(DataError, match=r"1 of colourfulness below 6, 1 unreadable.*bad\.png"):
        Photos.find([tmp_path])


def test_an_empty_folder_names_the_zips_in_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no picture file .*\.jpg"):
        Photos.find([tmp_path])
    (tmp_path / "photos.zip").touch()
    with pytest.raises(DataError, match=r"name the zip files there themselves: .*photos\.zip"):
        Photos.find([tmp_path])


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_text("no")
    with pytest.raises(DataError, match=r"photos\.zip: wanted a folder or a \.zip"):
        Photos.find([tmp_path / "photos.zip"])


def test_sources_by_precedence(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    for one in (a, b, c):
        one.mkdir()
    environ = {"COLORIA_DATA": f"{b}{os.pathsep}{c}"}
    assert resolve_sources([a], [b], environ) == [a]
    assert resolve_sources(None, str(b), environ) == [b]
    assert resolve_sources([], None, environ) == [b, c]


def test_missing_sources_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data DIR.*data\.train.*COLORIA_DATA"):
        resolve_sources(None, None, {})
    gone = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(DataError, match=r"one, .*two \(from --data\).*--data DIR"):
        resolve_sources(gone, None, {})
    with pytest.raises(DataError, match="one"):
        Photos.find(gone)


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize("size", [(64, 200), (200, 64), (64, 64)])
def test_short_side_is_reduced_never_enlarged(tmp_path: Path, size: tuple[int, int]) -> None:
    picture(1, size).save(tmp_path / "a.jpg", quality=95)
    photo = Photos.find([tmp_path], short_side=32).read(0)
    assert photo.shape == (size[1] // 2, size[0] // 2, 3)
    assert photo.dtype == np.uint8
    same = picture(1, size).resize((size[0] // 2, size[1] // 2), Image.Resampling.BICUBIC)
    assert np.abs(photo.astype(int) - np.asarray(same).astype(int)).mean() < 3
    assert Photos.find([tmp_path], short_side=500).read(0).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_pictures_stand_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    picture(3, (48, 32)).save(path, exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    with Image.open(path) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(Photos.find([tmp_path]).read(0), wanted)


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    image = picture(3).convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    image.putpixel((0, 0), (9, 8, 7, 255))
    image.save(tmp_path / "a.png")
    photo = Photos.find([tmp_path], min_colorfulness=0).read(0)
    assert photo[0, 0].tolist() == [9, 8, 7]
    assert (photo.reshape(-1, 3)[1:] == 255).all()


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGB"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    picture(2).convert(mode).save(tmp_path / "a.tif")
    assert Photos.find([tmp_path]).read(0).shape == (30, 40, 3)


def test_the_cache_keeps_to_its_budget_and_changes_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", {"a": 4})
    size = 40 * 30 * 3
    photos = [Photos.find([folder], cache_bytes=n) for n in (0, 2 * size, 4 * size)]
    for i in range(4):
        pixels = [p.read(i) for p in photos]
        np.testing.assert_array_equal(pixels[0], pixels[1])
        np.testing.assert_array_equal(pixels[0], pixels[2])
    shutil.rmtree(folder)
    for i in range(4):
        photos[2].read(i)
    for count, p in ((0, photos[0]), (2, photos[1])):
        assert sum(is_there(p, i) for i in range(4)) == count


def is_there(photos: Photos, i: int) -> bool:
    try:
        photos.read(i)
    except DataError:
        return False
    return True


def test_threads_read_one_zip_at_once(tmp_path: Path) -> None:
    path = zipped(folder_of(tmp_path / "f", {"a": 20}), tmp_path / "f.zip")
    photos = Photos.find([path], cache_bytes=0)
    alone = [photos.read(i) for i in range(20)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(photos.read, list(range(20)) * 5))
    for i, photo in enumerate(together):
        np.testing.assert_array_equal(photo, alone[i % 20])


def test_a_vanished_file_is_named(tmp_path: Path) -> None:
    photos = Photos.find([folder_of(tmp_path, {"a": 2})], cache_bytes=0)
    Path(photos.names[1]).unlink()
    photos.read(0)
    with pytest.raises(DataError, match=r"p001\.png could be read .* put it back"):
        photos.read(1)


# ------------------------------------------------------------------ splitting


def test_split_is_disjoint_complete_and_seeded(tmp_path: Path) -> None:
    photos = Photos.find([folder_of(tmp_path, {"a": 12, "b": 8})])
    train, val = photos.split(0.25, seed=1)
    assert (len(train), len(val)) == (15, 5)
    assert sorted(train.names + val.names) == photos.names
    assert [train.names, val.names] == [part.names for part in photos.split(5, seed=1)]
    assert photos.split(5, seed=2)[1].names != val.names
    for part in (train, val):
        for i, name in enumerate(part.names):
            np.testing.assert_array_equal(part.read(i), photos.read(photos.names.index(name)))


@pytest.mark.parametrize("val", [0, 4, 5, 0.0, 0.01, 1.0])
def test_a_split_that_leaves_nothing(tmp_path: Path, val: float) -> None:
    photos = Photos.find([folder_of(tmp_path, {"a": 4})])
    with pytest.raises(DataError, match="of 4 photographs aside"):
        photos.split(val)


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = spare_memory()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert spare_memory() == pytest.approx(alone / 4, rel=0.2)  # other programs come and go
