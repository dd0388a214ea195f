"""Reading and writing, held against Pillow, tifffile, scikit-image and kornia-rs."""

from __future__ import annotations

import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps
from skimage import color, data

from coloria import images, profiles
from coloria.errors import (
    MissingExtraError,
    OptionError,
    OutputExistsError,
    OutputIsInputError,
    PictureTooLargeError,
    PictureWriteError,
    UnreadablePictureError,
    UsageError,
)
from coloria.images import Kind, PictureWarning, encode, read, read_pages, write

CAT = data.chelsea()
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "LAB": 3, "P": 1}
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MODES_OF = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "GIF": ["1", "L", "P"],
    "AVIF": ["RGB", "RGBA"],
}
PAIRS = [(name, mode) for name, modes in MODES_OF.items() for mode in modes]


def make(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    if mode == "1":
        return Image.fromarray(rng.integers(0, 2, size[::-1], np.uint8) * 255).convert("1")
    count = CHANNELS[mode] * size[0] * size[1]
    image = Image.frombytes(mode, size, rng.integers(0, 256, count, np.uint8).tobytes())
    if mode == "P":
        image.putpalette(rng.integers(0, 256, 768, np.uint8).tobytes())
    return image


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# --- reading ---------------------------------------------------------------------------------


@given(pair=st.sampled_from(PAIRS), size=SIZES, seed=SEEDS)
@QUICK
def test_every_format_and_mode_reads_as_pillow_decodes_it(
    pair: tuple[str, str], size: tuple[int, int], seed: int
) -> None:
    raw = saved(make(pair[1], size, seed), pair[0])
    picture, oracle = read(raw), Image.open(BytesIO(raw))
    gray = oracle.mode in ("1", "L", "LA")
    np.testing.assert_array_equal(picture.pixels, oracle.convert("L" if gray else "RGB"))
    assert (picture.width, picture.height) == size
    assert picture.format == pair[0]
    if oracle.has_transparency_data:
        np.testing.assert_array_equal(picture.alpha, oracle.convert("RGBA").getchannel("A"))
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_heic(mode: str) -> None:
    image = Image.fromarray(CAT[:64, :96]).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    picture = read(file.getvalue())
    assert (picture.format, picture.name) == ("HEIF", "<bytes>")
    assert np.abs(picture.pixels.astype(int) - CAT[:64, :96]).mean() < 4
    assert (picture.alpha is not None) == (mode == "RGBA")


@pytest.mark.parametrize("way", ["read", "write"])
def test_heic_without_the_extra_names_it(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raw = encode(read(CAT), "heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"\.\[scan\]"):
        read(raw) if way == "read" else write(read(CAT), tmp_path / "a.heic")
    assert not list(tmp_path.iterdir())


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    image = Image.fromarray(CAT)
    image.save(path)
    raw = path.read_bytes()
    with path.open("rb") as file:
        pictures = {
            "path": read(path),
            "str": read(str(path)),
            "bytes": read(raw),
            "bytearray": read(bytearray(raw)),
            "file": read(file),
            "image": read(image),
            "opened": read(Image.open(path)),
            "array": read(CAT),
        }
    for name, picture in pictures.items():
        np.testing.assert_array_equal(picture.pixels, CAT, err_msg=name)
        assert picture.pixels.flags.writeable
    kinds = [picture.kind for picture in pictures.values()]
    assert kinds == [Kind.FILE] * 5 + [Kind.IMAGE] * 2 + [Kind.ARRAY]
    assert [p.name for p in pictures.values()][:4] == [str(path), str(path), "<bytes>", "<bytes>"]
    assert pictures["image"].name == "<image>"


def test_content_wins_over_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(saved(Image.fromarray(CAT), "PNG"))
    assert read(path).format == "PNG"


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_transparent_colour_becomes_alpha(mode: str) -> None:
    image = make(mode, (9, 7), 3)
    first = image.getpixel((0, 0))
    picture = read(saved(image, "PNG", transparency=first))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0
    assert picture.alpha.max() == 255


def test_premultiplied_alpha() -> None:
    image = Image.new("RGBA", (4, 4), (200, 100, 50, 128))
    picture = read(image.convert("RGBa"))
    assert np.abs(picture.pixels[0, 0].astype(int) - (200, 100, 50)).max() <= 1
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 128


def test_lab_against_scikit_image() -> None:
    lab = np.array([[[50, 0, 0], [60, 20, -15], [70, -20, 30], [20, 5, 5]]], float)
    raw = (lab * (2.55, 1, 1)).round().astype(np.int16).astype(np.uint8)
    image = Image.frombytes("LAB", (4, 1), raw.tobytes())
    # The white point cancels out of Lab but for the kind of adaptation: hence the tolerance.
    wanted = color.lab2rgb(lab) * 255
    got = read(saved(image, "TIFF")).pixels
    assert np.abs(got - wanted).max() < 7


@pytest.mark.parametrize("frames", [1, 3])
def test_of_an_animation_the_first_frame(frames: int) -> None:
    many = [Image.new("RGB", (8, 8), c) for c in ("red", "green", "blue")[:frames]]
    raw = saved(many[0], "GIF", save_all=True, append_images=many[1:])
    assert images.page_count(raw) == 1
    (picture,) = read_pages(raw)
    np.testing.assert_array_equal(picture.pixels[0, 0], (255, 0, 0))


def test_mpo_is_a_jpeg() -> None:
    one = Image.fromarray(CAT)
    raw = saved(one, "MPO", save_all=True, append_images=[one])
    assert read(raw).format == "JPEG"


@given(values=st.tuples(*[st.integers(0, 255)] * 3))
@QUICK
def test_gray_is_pillows(values: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (1, 1), values)
    picture = read(image)
    assert picture.gray()[0, 0] == image.convert("L").getpixel((0, 0))
    r, g, b = values
    sixteen = read(np.array(image).astype(np.uint16) * 257)
    assert sixteen.gray()[0, 0] == (257 * (19595 * r + 38470 * g + 7471 * b) + 32768) >> 16


def test_gray_of_gray_is_itself() -> None:
    picture = read(data.camera())
    assert picture.gray() is picture.pixels


def test_eight_bits_are_the_nearest() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    wanted = np.floor(levels.astype(float) / 257 + 0.5)
    np.testing.assert_array_equal(read(levels).pixels8(), wanted)


# --- more than eight bits ---------------------------------------------------------------------


@given(size=SIZES, seed=SEEDS, kind=st.sampled_from(["I;16", "I;16B", "I;16L", "png", "I"]))
@QUICK
def test_grey_of_16_bits(size: tuple[int, int], seed: int, kind: str) -> None:
    levels = np.random.default_rng(seed).integers(0, 65536, size[::-1], np.uint16)
    if kind == "I":
        source: Any = Image.fromarray(levels.astype(np.int32))
    elif kind == "png":
        source = saved(Image.fromarray(levels), "PNG")
    else:
        order = ">" if kind == "I;16B" else "<"
        source = Image.frombytes(kind, size, levels.astype(f"{order}u2").tobytes())
        source = source if kind == "I;16L" else saved(source, "TIFF")
    picture = read(source)
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels, levels)


@given(
    size=SIZES,
    seed=SEEDS,
    order=st.sampled_from("<>"),
    compression=st.sampled_from([None, "zlib"]),
    predictor=st.booleans(),
    planes=st.sampled_from(["contig", "separate"]),
    channels=st.sampled_from([3, 4]),
)
@QUICK
def test_16_bit_colour_tiff_of_tifffile(
    size: tuple[int, int],
    seed: int,
    order: Any,
    compression: str | None,
    predictor: bool,
    planes: Any,
    channels: int,
) -> None:
    shape = (*size[::-1], channels)
    array = np.random.default_rng(seed).integers(0, 65536, shape, np.uint16)
    file = BytesIO()
    tifffile.imwrite(
        file,
        array if planes == "contig" else np.moveaxis(array, 2, 0),
        photometric="rgb",
        planarconfig=planes,
        byteorder=order,
        compression=compression,
        predictor=predictor and compression is not None,
        extrasamples=["unassalpha"] if channels == 4 else None,
    )
    picture = read(file.getvalue())
    np.testing.assert_array_equal(picture.pixels, array[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(picture.alpha, array[..., 3])
    else:
        assert picture.alpha is None


def test_16_bit_tiff_with_premultiplied_or_no_alpha() -> None:
    array = np.full((4, 5, 4), (20000, 10000, 5000, 32768), np.uint16)
    array[0] = 0
    for extra, wanted in (("assocalpha", (40000, 20000, 10000)), ("unspecified", array[1, 0, :3])):
        file = BytesIO()
        tifffile.imwrite(file, array, photometric="rgb", extrasamples=[extra])
        picture = read(file.getvalue())
        assert np.abs(picture.pixels[1, 0].astype(int) - wanted).max() <= 1
        assert (picture.alpha is None) == (extra == "unspecified")


def test_16_bit_planes_without_the_extra_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    file = BytesIO()
    array = np.zeros((3, 8, 9), np.uint16)
    tifffile.imwrite(file, array, photometric="rgb", planarconfig="separate")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"<bytes>.*\.\[scan\]"):
        read(file.getvalue())


def test_16_bit_cmyk_tiff_says_that_it_is_read_at_8() -> None:
    file = BytesIO()
    tifffile.imwrite(file, np.zeros((8, 9, 4), np.uint16), photometric="separated")
    with pytest.warns(PictureWarning, match="8 bits"):
        picture = read(file.getvalue())
    np.testing.assert_array_equal(picture.pixels, np.full((8, 9, 3), 255, np.uint8))


def test_16_bit_colour_png_of_kornia_rs(tmp_path: Path) -> None:
    import kornia_rs

    array = np.random.default_rng(0).integers(0, 65536, (31, 17, 4), np.uint16)
    for mode, channels in (("rgb", 3), ("rgba", 4)):
        path = tmp_path / f"{mode}.png"
        part = np.ascontiguousarray(array[..., :channels])
        kornia_rs.io.write_image_png_u16(str(path), part, mode=mode)
        picture = read(path)
        np.testing.assert_array_equal(picture.pixels, array[..., :3])
        assert (picture.alpha is None) == (channels == 3)


def _png(color_type: int, rows: bytes, width: int, height: int) -> bytes:
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_16_bit_grey_png_with_alpha_says_that_it_is_read_at_8() -> None:
    raw = _png(4, b"\0" + struct.pack(">HH", 0x8123, 0x4567), 1, 1)
    with pytest.warns(PictureWarning, match="8 bits"):
        picture = read(raw)
    assert (picture.pixels[0, 0, 0], picture.alpha[0, 0]) == (0x81, 0x45)  # type: ignore[index]


def test_white_is_zero_and_twelve_bits() -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    file = BytesIO()
    tifffile.imwrite(file, levels, photometric="miniswhite")
    np.testing.assert_array_equal(read(file.getvalue()).pixels, 65535 - levels)
    # 12 bits: two pixels in three bytes
    packed = bytes([0x00, 0x0F, 0xFF])
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (279, 3)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    raw = b"II*\0" + struct.pack("<I", 12) + packed + b"\0"
    raw += struct.pack("<H", len(tags)) + entries + bytes(4)
    np.testing.assert_array_equal(read(raw).pixels, [[0, 65535]])


@pytest.mark.parametrize(("top", "white"), [(1.0, 1.0), (200.0, 255.0), (60000.0, 65535.0)])
def test_floating_point_files(top: float, white: float) -> None:
    values = np.linspace(0, top, 12, dtype=np.float32).reshape(3, 4)
    picture = read(saved(Image.fromarray(values), "TIFF"))
    np.testing.assert_allclose(picture.pixels, values / white * 65535, atol=0.6)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, 1e9])
def test_values_that_mean_nothing_are_refused(bad: float) -> None:
    values = np.full((3, 4), bad, np.float32)
    with pytest.raises(UnreadablePictureError, match="finite"):
        read(Image.fromarray(values))


@pytest.mark.parametrize("bad", [-5, 70000])
def test_integers_out_of_range_are_refused(bad: int) -> None:
    with pytest.raises(UnreadablePictureError, match=r"0\.\.65535"):
        read(Image.fromarray(np.full((3, 4), bad, np.int32)))


# --- arrays ----------------------------------------------------------------------------------


@given(
    shape=st.sampled_from([(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (1, 1), (1, 2000)]),
    dtype=st.sampled_from(["u1", "<u2", ">u2", "f2", "f4", "f8"]),
    seed=SEEDS,
)
@QUICK
def test_array_in_array_out(shape: tuple[int, ...], dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        array = rng.random(shape).astype(dtype)
    else:
        array = rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    back = images.give_back(read(array))
    assert isinstance(back, np.ndarray)
    assert back.dtype == (np.float32 if dtype[0] == "f" else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_allclose(back, array.reshape(back.shape), atol=2e-5, rtol=0)


def test_the_array_of_the_caller_is_not_shared() -> None:
    array = CAT.copy()
    picture = read(array)
    array[:] = 0
    np.testing.assert_array_equal(picture.pixels, CAT)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((0, 5), np.uint8), "no pixels"),
        (np.zeros((5, 0, 3), np.uint8), "no pixels"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((2, 2, 2), np.uint8), "shape"),
        (np.zeros((2, 2, 3, 3), np.uint8), "shape"),
        (np.zeros((2, 2), bool), "bool"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.array([["a"]]), "<U1"),
        (np.full((2, 2), np.nan), "finite"),
        (np.full((2, 2), 255.0), "255"),
        (np.full((2, 2), -0.1), "finite"),
    ],
)
def test_arrays_that_are_no_pictures(array: Any, says: str) -> None:
    with pytest.raises(UnreadablePictureError, match=says) as caught:
        read(array)
    assert "<array>" in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], object()])
def test_other_things_are_wrong_use(source: Any) -> None:
    with pytest.raises(UsageError):
        read(source)


def test_text_files_are_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("words")
    with path.open() as file, pytest.raises(UsageError, match="rb"):
        read(file)  # type: ignore[arg-type]


# --- what is no picture ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x00" * 100, "known format"),
        (b"just words", "known format"),
        (b"  <!DOCTYPE html><html>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "damaged"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0", "known format"),
        (b"II*\0\x08\0\0\0", "damaged"),
        (b"BM", "damaged"),
        (b"GIF89a", "damaged"),
    ],
)
def test_one_clear_error_with_the_name(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadablePictureError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePictureError, match="No such file"):
        read(tmp_path / "none.jpg")
    with pytest.raises(UnreadablePictureError, match="directory"):
        read(tmp_path)
    with pytest.raises(UnreadablePictureError, match="null"):
        read("a\0b.jpg")
    with pytest.raises(UnreadablePictureError, match="no pixels"):
        read(Image.new("RGB", (0, 5)))
    with Image.open(BytesIO(saved(Image.new("L", (4, 4)), "PNG"))) as closed:
        pass
    with pytest.raises(UnreadablePictureError):
        read(closed)


def samples() -> dict[str, bytes]:
    small = read(CAT[:48, :64])
    return {name: encode(small, name) for name in images.FORMATS}


SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_truncated(name: str, share: float) -> None:
    raw = SAMPLES[name]
    with pytest.raises(UnreadablePictureError):
        read(raw[: int(len(raw) * share)])


@given(
    name=st.sampled_from(sorted(SAMPLES)),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.floats(0.5, 1),
)
@settings(max_examples=80, deadline=None)
def test_damage_is_an_error_or_a_picture(
    name: str, flips: list[tuple[float, int]], cut: float
) -> None:
    raw = bytearray(SAMPLES[name][: int(len(SAMPLES[name]) * cut)])
    for place, value in flips:
        raw[int(place**2 * (len(raw) - 1))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = read(bytes(raw), max_pixels=10**6)
        except (UnreadablePictureError, PictureTooLargeError):
            return
    assert picture.pixels.size


# --- size ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_the_limit_is_exact(name: str) -> None:
    assert read(SAMPLES[name], max_pixels=48 * 64).height == 48
    with pytest.raises(PictureTooLargeError, match=r"64 x 48.*--max-pixels"):
        read(SAMPLES[name], max_pixels=48 * 64 - 1)


def test_the_limit_holds_for_arrays_images_and_pages() -> None:
    for source in (CAT, Image.fromarray(CAT)):
        with pytest.raises(PictureTooLargeError):
            read(source, max_pixels=1000)
    raw = saved(
        Image.new("L", (4, 4)), "TIFF", save_all=True, append_images=[Image.new("L", (99, 99))]
    )
    pages = read_pages(raw, max_pixels=100)
    assert next(pages).width == 4
    with pytest.raises(PictureTooLargeError):
        next(pages)


def test_a_bomb_is_refused_on_its_header() -> None:
    raw = _png(2, b"", 60000, 60000)
    start = time.perf_counter()
    with pytest.raises(PictureTooLargeError, match=r"3600\.0 megapixels"):
        read(raw)
    assert time.perf_counter() - start < 1


def test_pillows_own_limit_is_neither_used_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(saved(Image.fromarray(CAT), "PNG")).height == CAT.shape[0]
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(PictureTooLargeError, match="exceeds limit"):
        read(saved(Image.fromarray(CAT), "WEBP"))  # the one reader that asks Pillow itself


def test_out_of_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", full)
    with pytest.raises(PictureTooLargeError, match="out of memory"):
        read(Image.new("L", (3, 3)))


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (2, 3)])
@pytest.mark.parametrize("name", ["PNG", "TIFF", "JPEG", "BMP", "GIF"])
def test_extreme_shapes(size: tuple[int, int], name: str) -> None:
    picture = read(encode(read(Image.new("L", size, 7)), name))
    assert (picture.width, picture.height) == size
    assert abs(int(picture.gray()[0, 0]) - 7) <= 1


@pytest.mark.slow
def test_a_hundred_megapixels() -> None:
    raw = saved(Image.new("L", (11648, 8736), 90), "JPEG")
    picture = read(raw)
    assert picture.pixels.size == 11648 * 8736


# --- EXIF, resolution, orientation -------------------------------------------------------------


def with_exif(orientation: int, thumbnail: bool = False) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Speed Graphic"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "1936:02:01 10:00:00",
        ExifTags.Base.ExifImageWidth: 12,
        ExifTags.IFD.Interop: {1: "R98"},
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (35.0, 5.0, 12.0)}
    raw = exif.tobytes()
    if not thumbnail:
        return raw
    body = bytearray(raw[6:])
    endian = "<" if body[:2] == b"II" else ">"
    (count,) = struct.unpack_from(endian + "H", body, 8)
    struct.pack_into(endian + "I", body, 10 + 12 * count, len(body))
    small = saved(Image.new("L", (8, 8)), "JPEG")
    entries = [(513, len(body) + 2 + 24 + 4), (514, len(small))]
    body += struct.pack(endian + "H", 2)
    for tag, value in entries:
        body += struct.pack(endian + "HHII", tag, 4, 1, value)
    return b"Exif\0\0" + bytes(body + bytes(4) + small)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_as_pillow_turns(orientation: int, format: str) -> None:
    image = make("RGB", (12, 7), 1)
    raw = saved(image, format, exif=with_exif(orientation), dpi=(300, 150))
    picture = read(raw)
    oracle = ImageOps.exif_transpose(Image.open(BytesIO(raw)))
    np.testing.assert_array_equal(picture.pixels, oracle)
    kept = Image.Exif()
    kept.load(picture.exif or b"")
    assert kept.get(ExifTags.Base.Orientation, 1) == 1
    assert kept[ExifTags.Base.Make] == "Speed Graphic"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[2] == (35.0, 5.0, 12.0)
    if format != "WEBP":
        assert picture.dpi == pytest.approx((300, 150) if orientation < 5 else (150, 300), abs=0.1)


def test_orientation_of_alpha_and_of_16_bits() -> None:
    image = make("RGBA", (12, 7), 1)
    picture = read(saved(image, "PNG", exif=with_exif(6)))
    turned = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(picture.alpha, turned[..., 3])
    array = np.random.default_rng(0).integers(0, 65536, (5, 8, 3), np.uint16)
    for planes in ("contig", "separate"):
        file = BytesIO()
        stored = array if planes == "contig" else np.moveaxis(array, 2, 0)
        tags = [(274, "H", 1, 6, True)]
        tifffile.imwrite(
            file, stored, photometric="rgb", planarconfig=planes, extratags=tags, metadata=None
        )
        np.testing.assert_array_equal(read(file.getvalue()).pixels, np.rot90(array, -1))


def test_heic_is_turned_once() -> None:
    image = Image.fromarray(CAT[:64, :96])
    file = BytesIO()
    pillow_heif.from_pillow(image).save(file, exif=with_exif(6), quality=95)
    got = read(file.getvalue()).pixels.astype(int)
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    assert got.shape == upright.shape
    assert np.abs(got - upright).mean() < 4


def test_the_thumbnail_is_dropped_and_the_rest_carried() -> None:
    raw = saved(Image.new("L", (12, 7)), "JPEG", exif=with_exif(1, thumbnail=True))
    before = Image.open(BytesIO(raw)).getexif()
    assert before.get_ifd(ExifTags.IFD.IFD1)
    after = Image.Exif()
    after.load(read(raw).exif or b"")
    assert not after.get_ifd(ExifTags.IFD.IFD1)
    camera = after.get_ifd(ExifTags.IFD.Exif)
    assert camera[ExifTags.Base.DateTimeOriginal] == "1936:02:01 10:00:00"
    assert ExifTags.Base.ExifImageWidth not in camera
    assert ExifTags.Base.ExifInteroperabilityOffset not in camera


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("sixteen", [False, True])
def test_exif_survives_writing(format: str, sixteen: bool) -> None:
    source = read(saved(Image.fromarray(CAT), "JPEG", exif=with_exif(6), dpi=(600, 600)))
    wide = source.pixels.astype(np.uint16) * 257 if sixteen else source.pixels
    picture = read(encode(images.Picture(wide, exif=source.exif, dpi=source.dpi), format))
    kept = Image.Exif()
    kept.load(picture.exif or b"")
    assert kept[ExifTags.Base.Make] == "Speed Graphic"
    assert kept.get(ExifTags.Base.Orientation, 1) == 1
    camera = kept.get_ifd(ExifTags.IFD.Exif)
    assert camera[ExifTags.Base.DateTimeOriginal] == "1936:02:01 10:00:00"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
    if format in ("JPEG", "PNG", "TIFF"):
        assert picture.dpi == pytest.approx((600, 600), abs=0.1)


@pytest.mark.parametrize(("kind", "value"), [(4, b"\x08\0\0\0"), (2, b"abc\0"), (3, b"\xff\0\0\0")])
def test_exif_directory_that_leads_nowhere(kind: int, value: bytes) -> None:
    entry = struct.pack("<HHHI", 1, 0x8769, kind, len(value) if kind == 2 else 1) + value
    raw = saved(Image.new("L", (4, 4)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entry + bytes(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own
        assert read(raw).pixels.shape == (4, 4)


def test_damaged_exif_is_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any) -> bytes:
        raise struct.error("too short")

    raw = saved(Image.new("L", (4, 4)), "JPEG", exif=with_exif(1))
    monkeypatch.setattr(Image.Exif, "tobytes", damaged)
    with pytest.warns(PictureWarning, match="<bytes>: the EXIF data are damaged"):
        picture = read(raw)
    assert picture.exif is None


def test_exif_too_long_for_jpeg() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70000
    picture = images.Picture(CAT, exif=exif.tobytes())
    with pytest.warns(PictureWarning, match="too long"):
        raw = encode(picture, "jpeg")
    assert read(raw).exif is None
    assert len(read(encode(picture, "png")).exif or b"") > 70000


# --- colour profiles ---------------------------------------------------------------------------


def profile(
    space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ "
) -> bytes:
    """A version 2 ICC profile."""
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), b"cprt": b"text\0\0\0\0none\0", **tags}
    tags[b"desc"] = b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(78)
    start = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = struct.pack(">I", start + len(body))
    head = size + b"none" + b"\x02\x40\0\0" + kind + space + pcs + bytes(12) + b"acsp"
    return head.ljust(68, b"\0") + xyz(0.9642, 1, 0.8249)[8:] + bytes(48) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


GAMMA = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563)
ADOBE = {
    b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
    b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
    b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
}
ADOBE_LIKE = profile(b"RGB ", {**ADOBE, b"rTRC": GAMMA, b"gTRC": GAMMA, b"bTRC": GAMMA})
GRAY_LIKE = profile(b"GRAY", {b"kTRC": GAMMA})
SRGB_FROM_D50 = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
"""Lindbloom's Bradford-adapted matrix."""


def adobe_to_srgb(rgb: np.ndarray) -> np.ndarray:
    """Linear light, XYZ D50, linear sRGB by the published inverse of its D50 matrix; [0, 1]."""
    columns = [struct.unpack(">3i", ADOBE[name][8:]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    to_xyz = np.array(columns).T / 65536
    return srgb_encoded(((rgb ** (563 / 256)) @ to_xyz.T @ SRGB_FROM_D50.T).clip(0, 1))


def inside(rgb: np.ndarray) -> np.ndarray:
    return 0.25 + 0.5 * rgb  # keeps away from the limits of sRGB


def test_adobe_rgb() -> None:
    source = inside(CAT[:40, :60] / 255)
    raw = saved(
        Image.fromarray((source * 255).round().astype(np.uint8)), "PNG", icc_profile=ADOBE_LIKE
    )
    got = read(raw).pixels / 255
    wanted = adobe_to_srgb((source * 255).round() / 255)
    assert np.abs(got - wanted).max() < 2.1 / 255
    assert np.abs(got - source).max() > 5 / 255


def test_adobe_rgb_of_16_bits_stays_16_bits() -> None:
    source = (inside(np.random.default_rng(0).random((30, 20, 3))) * 65535).astype(np.uint16)
    file = BytesIO()
    tifffile.imwrite(file, source, photometric="rgb", iccprofile=ADOBE_LIKE)
    picture = read(file.getvalue())
    assert picture.pixels.dtype == np.uint16
    wanted = adobe_to_srgb(source / 65535)
    assert np.abs(picture.pixels / 65535 - wanted).max() < 1.5e-3  # D50 to three digits
    shallow = profiles.to_srgb(Image.fromarray((source >> 8).astype(np.uint8)), ADOBE_LIKE)
    assert np.abs((picture.pixels >> 8).astype(int) - np.asarray(shallow)).mean() < 1


def srgb_encoded(linear: np.ndarray) -> np.ndarray:
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("icc", [GRAY_LIKE, ADOBE_LIKE], ids=["grey profile", "colour profile"])
def test_grey_with_gamma(deep: bool, icc: bytes) -> None:
    white = 65535 if deep else 255
    levels = np.linspace(0, white, 256).round().reshape(16, 16)
    raw = saved(
        Image.fromarray(levels.astype(np.uint16 if deep else np.uint8)), "TIFF", icc_profile=icc
    )
    picture = read(raw)
    wanted = srgb_encoded((levels / white) ** (563 / 256))
    assert picture.pixels.ndim == 2
    assert picture.pixels.dtype == (np.uint16 if deep else np.uint8)
    assert np.abs(picture.pixels / white - wanted).max() < (2e-3 if deep else 1.6 / 255)


def test_cmyk_profile() -> None:
    """A profile of tables with two points an axis: the corners are known exactly."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    ink = 1 - 0.8 * corners
    rgb = np.stack([ink[:, i] * ink[:, 3] for i in range(3)], axis=1) * 0.9 + 0.05
    lab = color.rgb2lab(rgb)
    stored = np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], axis=1)
    ramp = bytes(range(256))
    unit = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + ramp * 4
    table += stored.round().astype(np.uint8).tobytes() + ramp * 3
    icc = profile(b"CMYK", {b"A2B0": table, b"A2B1": table}, b"prtr", b"Lab ")
    image = Image.frombytes("CMYK", (16, 1), (corners * 255).astype(np.uint8).tobytes())
    got = read(saved(image, "TIFF", icc_profile=icc)).pixels[0] / 255
    plain = np.asarray(image.convert("RGB"))[0] / 255
    assert np.abs(got - rgb).mean() < 0.03  # the black point is stretched a little
    assert np.abs(plain - rgb).mean() > 0.1


def test_srgb_pixels_stay_bit_for_bit() -> None:
    raw = saved(Image.fromarray(CAT), "PNG", icc_profile=profiles.srgb_profile())
    np.testing.assert_array_equal(read(raw).pixels, CAT)
    wide = CAT.astype(np.uint16) * 257 + 3
    assert profiles.to_srgb16(wide, profiles.srgb_profile()) is wide


@pytest.mark.parametrize(
    ("icc", "image"),
    [
        (b"not a profile", Image.new("RGB", (4, 4))),
        (ADOBE_LIKE[:200], Image.new("RGB", (4, 4))),
        (GRAY_LIKE, Image.new("RGB", (4, 4))),
        (profile(b"RGB ", {}), Image.new("RGB", (4, 4))),
        (profiles.lab_profile(), Image.new("L", (4, 4))),
        (b"not a profile", Image.fromarray(np.zeros((4, 4), np.uint16))),
    ],
)
def test_a_profile_that_does_not_fit_is_left_out(icc: bytes, image: Image.Image) -> None:
    raw = saved(image, "PNG", icc_profile=icc)
    with pytest.warns(PictureWarning, match="<bytes>.*taken for sRGB"):
        picture = read(raw)
    np.testing.assert_array_equal(picture.pixels, image)


@pytest.mark.parametrize(
    "curve",
    [
        b"curv\0\0\0\0" + struct.pack(">I", 0),
        b"curv\0\0\0\0" + struct.pack(">I5H", 5, 0, 4000, 16000, 36000, 65535),
        b"para\0\0\0\0" + struct.pack(">HHi", 0, 0, 2 << 16),
        b"para\0\0\0\0" + struct.pack(">HH3i", 1, 0, 2 << 16, 71072, -5536),
        b"para\0\0\0\0" + struct.pack(">HH4i", 2, 0, 2 << 16, 71072, -5536, 0),
        b"para\0\0\0\0" + struct.pack(">HH5i", 3, 0, 157286, 62119, 3417, 5072, 2651),
        b"para\0\0\0\0" + struct.pack(">HH7i", 4, 0, 157286, 62119, 3417, 5072, 2651, 0, 0),
    ],
)
def test_every_kind_of_curve_as_littlecms_takes_it(curve: bytes) -> None:
    icc = profile(b"RGB ", {**ADOBE, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})
    ramp = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    wanted = np.asarray(profiles.to_srgb(Image.fromarray(ramp), icc)).astype(int)
    got = profiles.to_srgb16(ramp.astype(np.uint16) * 257, icc)
    error = np.abs(got / 257 - wanted)
    assert np.percentile(error, 99) < 2.5
    assert error.max() < 14  # LittleCMS works with 8 bits, and the darkest tones are steep


@pytest.mark.parametrize(
    "curve", [b"para\0\0\0\0" + struct.pack(">HHi", 9, 0, 1), b"nope" + bytes(20)]
)
def test_unknown_curves_are_refused(curve: bytes) -> None:
    with pytest.raises(profiles.ProfileError):
        profiles._through_matrix(
            np.zeros((1, 1, 3), np.uint16),
            {**ADOBE, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)},
        )
    with pytest.raises(profiles.ProfileError, match="tables"):
        profiles._through_matrix(np.zeros((1, 1, 3), np.uint16), {b"A2B0": b""})
    for tags, pcs in (({b"kTRC": curve}, b"XYZ "), ({b"kTRC": GAMMA}, b"Lab ")):
        with pytest.raises(profiles.ProfileError):
            profiles.to_srgb16(np.zeros((1, 1), np.uint16), profile(b"GRAY", tags, pcs=pcs))


def test_grey_of_16_bits_in_the_curve_of_srgb_stays_bit_for_bit() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert profiles.to_srgb16(levels, profiles.gray_profile()) is levels


def test_results_are_tagged_and_the_tags_are_what_they_say() -> None:
    for array, space in ((CAT, "RGB"), (data.camera(), "GRAY")):
        for format in ("png", "jpeg", "tiff", "webp", "avif"):
            icc = Image.open(BytesIO(encode(read(array), format))).info["icc_profile"]
            opened = ImageCms.ImageCmsProfile(BytesIO(icc))
            assert opened.profile.xcolor_space.strip() == space, format
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    np.testing.assert_array_equal(profiles.to_srgb(ramp, profiles.gray_profile()), ramp)
    assert profiles.srgb_profile() == profiles.srgb_profile.__wrapped__()


# --- encoding ----------------------------------------------------------------------------------


@given(
    format=st.sampled_from(["png", "tiff"]),
    shape=st.sampled_from([(3,), (4,), ()]),
    size=SIZES,
    deep=st.booleans(),
    seed=SEEDS,
)
@example(format="tiff", shape=(3,), size=(700, 900), deep=True, seed=1)
@example(format="png", shape=(3,), size=(700, 900), deep=True, seed=1)
@QUICK
def test_lossless_formats_lose_nothing(
    format: str, shape: tuple[int, ...], size: tuple[int, int], deep: bool, seed: int
) -> None:
    dtype = np.uint16 if deep else np.uint8
    array = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, *shape), dtype)
    raw = encode(read(array), format)
    picture = read(raw)
    assert picture.pixels.dtype == dtype
    back = picture.pixels
    if picture.alpha is not None:
        back = np.concatenate([back, picture.alpha[..., None]], axis=2)
    np.testing.assert_array_equal(back, array)
    if format == "tiff":
        np.testing.assert_array_equal(tifffile.imread(BytesIO(raw)), array)


def test_16_bit_png_as_kornia_rs_reads_it(tmp_path: Path) -> None:
    import kornia_rs

    array = np.random.default_rng(0).integers(0, 65536, (31, 17, 3), np.uint16)
    path = write(read(array), tmp_path / "a.png")
    np.testing.assert_array_equal(kornia_rs.io.read_image_png_u16(str(path), "rgb"), array)


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif", "heif", "bmp", "gif"])
def test_8_bit_formats_of_16_bit_pixels(format: str) -> None:
    picture = read(encode(read(CAT.astype(np.uint16) * 257), format))
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - CAT).mean() < 4


@pytest.mark.parametrize("format", ["jpeg", "bmp"])
@pytest.mark.parametrize("gray", [False, True])
def test_without_transparency_on_white(format: str, gray: bool) -> None:
    pixels = np.zeros((16, 32) if gray else (16, 32, 3), np.uint8)
    alpha = np.repeat([[0, 255]], 16, axis=0).repeat(16, axis=1).astype(np.uint8)
    with pytest.warns(PictureWarning, match="on white"):
        raw = encode(images.Picture(pixels, alpha), format)
    back = read(raw).gray()
    assert (back[0, 0], back[0, 31]) == (255, 0)


@pytest.mark.parametrize("format", ["png", "webp", "tiff", "avif", "gif"])
def test_transparency_is_kept(format: str) -> None:
    alpha = np.repeat([[0, 255]], 32, axis=0).repeat(16, axis=1).astype(np.uint8)
    picture = read(encode(images.Picture(CAT[:32, :32].copy(), alpha), format))
    np.testing.assert_array_equal(picture.alpha, alpha)


def test_quality() -> None:
    cat = read(CAT[100:200, 100:200])
    for format in ("jpeg", "webp", "avif", "heic"):
        assert (
            len(encode(cat, format, 20)) < len(encode(cat, format)) < len(encode(cat, format, 100))
        )
    assert encode(cat, "bmp", 20) == encode(cat, "bmp")
    for quality in (0, 101):
        with pytest.raises(OptionError, match=r"1\.\.100"):
            encode(cat, "jpeg", quality)


def test_formats_by_name() -> None:
    cat = read(CAT[:9, :9])
    for name in ("jpg", ".JPG", "JPEG", "tif", "heic", "png"):
        assert encode(cat, name)
    with pytest.raises(OptionError, match="did you mean 'png'"):
        encode(cat, "pngg")
    names = ["a.JPG", "b.tiff", Path("c.heic"), "d.txt", "e", ".png"]
    assert [images.is_picture_name(n) for n in names] == [True, True, True, False, False, False]
    assert images.SUFFIXES[".jpe"] == "JPEG"


def test_too_long_for_the_format() -> None:
    with pytest.raises(PictureWriteError, match=r"WEBP holds at most 16383.*\.png"):
        encode(read(Image.new("L", (20000, 1))), "webp")


def test_an_encoder_that_fails_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(PictureWriteError, match=r"<array>: cannot be encoded .no luck"):
        encode(read(CAT), "jpeg")


@given(seed=SEEDS, alpha=st.booleans(), gray=st.booleans(), deep=st.booleans())
@QUICK
def test_to_pil(seed: int, alpha: bool, gray: bool, deep: bool) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.uint16 if deep else np.uint8
    draw = lambda shape: rng.integers(0, np.iinfo(dtype).max, shape, dtype)  # noqa: E731
    picture = images.Picture(
        draw((4, 6) if gray else (4, 6, 3)),
        draw((4, 6)) if alpha else None,
        exif=with_exif(1),
        dpi=(300.0, 300.0),
        kind=Kind.FILE,
    )
    image = images.give_back(picture)
    assert image.mode == ("L" if gray else "RGB") + ("A" if alpha else "")
    assert image.size == (6, 4)
    assert {"icc_profile", "exif", "dpi"} <= set(image.info)
    np.testing.assert_array_equal(read(image).pixels, picture.pixels8())


# --- pages -------------------------------------------------------------------------------------


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    pages = [read(CAT), read(data.camera()), read(CAT.astype(np.uint16) * 257), read(CAT[:5, :3])]
    path = write((page for page in pages), tmp_path / "a.tif")
    assert images.page_count(path) == 4
    for page, back in zip(pages, read_pages(path), strict=True):
        np.testing.assert_array_equal(back.pixels, page.pixels)
    with tifffile.TiffFile(path) as tiff:
        for page, other in zip(pages, tiff.pages, strict=True):
            np.testing.assert_array_equal(other.asarray(), page.pixels)
    np.testing.assert_array_equal(read(path).pixels, CAT)


def test_reduced_copies_are_no_pages() -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(CAT, photometric="rgb")
        tiff.write(CAT[::4, ::4], photometric="rgb", subfiletype=1)
        tiff.write(CAT[::-1], photometric="rgb")
    assert images.page_count(file.getvalue()) == 2
    heights = [page.height for page in read_pages(file.getvalue())]
    assert heights == [300, 300]
    assert images.page_count(CAT) == images.page_count(Image.new("L", (1, 1))) == 1


def test_only_tiff_holds_pages(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.tif"):
        write([read(CAT), read(CAT)], tmp_path / "a.png")
    with pytest.raises(OptionError, match="no picture"):
        write([], tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())


# --- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_mode_of_a_new_file(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        path = write(read(CAT), tmp_path / "a.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_suffix_and_format(tmp_path: Path) -> None:
    cat = read(CAT)
    assert read(write(cat, tmp_path / "a.JPG")).format == "JPEG"
    assert read(write(cat, tmp_path / "noname", format="webp")).format == "WEBP"
    assert read(write(cat, tmp_path / "b.jpeg", format="jpg", quality=50)).format == "JPEG"
    with pytest.raises(OptionError, match=r"suffix says JPEG.*call it a\.png"):
        write(cat, tmp_path / "a.jpg", format="png")
    for name in ("a.txt", "none"):
        with pytest.raises(OptionError, match="unknown picture format"):
            write(cat, tmp_path / name)


def test_an_existing_file_stays_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write(read(CAT), path)
    assert path.read_bytes() == b"precious"
    write(read(CAT), path, overwrite=True)
    np.testing.assert_array_equal(read(path).pixels, CAT)
    (tmp_path / "d.png").mkdir()
    with pytest.raises(PictureWriteError, match="folder"):
        write(read(CAT), tmp_path / "d.png", overwrite=True)


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"

    def pages() -> Any:
        yield read(CAT)
        path.write_bytes(b"precious")

    with pytest.raises(OutputExistsError):
        write(pages(), path)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    path = write(read(CAT), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == [path]


def test_the_input_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(read(CAT), tmp_path / "a.png")
    content = path.read_bytes()
    (tmp_path / "sub").mkdir()
    link, hard = tmp_path / "link.png", tmp_path / "hard.png"
    link.symlink_to(path)
    hard.hardlink_to(path)
    monkeypatch.chdir(tmp_path)
    for name in (path, link, hard, "a.png", "./sub/../a.png"):
        with pytest.raises(OutputIsInputError, match=r"a\.png"):
            write(read(CAT), name, overwrite=True, inputs=[tmp_path / "gone.png", path])
    assert path.read_bytes() == content


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "real" / "a.png")
    write(read(CAT), link)
    write(read(CAT[::-1]), link, overwrite=True)
    assert link.is_symlink()
    np.testing.assert_array_equal(read(tmp_path / "real" / "a.png").pixels, CAT[::-1])


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureWriteError, match="folder does not exist"):
        write(read(CAT), tmp_path / "none" / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(PictureWriteError, match="Not a directory"):
        write(read(CAT), tmp_path / "file" / "a.png")


def child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The size limit of a process stands for the disk: the same failing write."""
    code = """
import resource, sys
import numpy as np
from coloria.errors import PictureWriteError
from coloria.images import read, write
picture = read(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
for name in ("a.png", "a.tif", "a.bmp", "a.jpg", "a.webp"):
    try:
        write(picture, f"{sys.argv[1]}/{name}")
    except PictureWriteError as error:
        print(error)
"""
    result = child(code, str(tmp_path))
    lines = result.stdout.splitlines()
    assert len(lines) == 5, result
    assert all("too large" in line and "/a." in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_no_permission(tmp_path: Path) -> None:
    code = """
import os, sys
import numpy as np
from coloria.errors import PictureWriteError
from coloria.images import read, write
if os.getuid() == 0:
    os.seteuid(65534)
try:
    write(read(np.zeros((4, 4), np.uint8)), sys.argv[1] + "/a.png")
except PictureWriteError as error:
    print(error)
"""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    result = child(code, str(closed))
    assert "Permission denied" in result.stdout, result
    assert not list(closed.iterdir())


@pytest.mark.parametrize("fresh", [True, False], ids=["new name each time", "overwriting"])
def test_a_killed_writer_leaves_whole_files(fresh: bool, tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from coloria.images import read, write
base = np.add.outer(np.arange(300), np.arange(300)).astype(np.uint8)
print("ready", flush=True)
for i in range(10**9):
    name = f"{i}.png" if sys.argv[2] == "True" else "one.png"
    write(read(base + np.uint8(i)), f"{sys.argv[1]}/{name}", overwrite=True)
"""
    seen = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(fresh)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.02, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for path in tmp_path.glob("[!.]*"):
            assert read(path).height == 300
            seen += 1
    assert seen


def test_a_page_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pages() -> Any:
        yield read(CAT)
        raise UnreadablePictureError("page 2 is damaged")

    with pytest.raises(UnreadablePictureError, match="page 2"):
        write(pages(), tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())


def test_no_framework_is_loaded() -> None:
    code = "import sys, coloria.images, coloria.borders; print(*sys.modules)"
    loaded = {name.split(".")[0] for name in child(code).stdout.split()}
    heavy = {"torch", "torchvision", "timm", "kornia", "fastai", "tifffile", "pillow_heif"}
    assert "coloria" in loaded
    assert not loaded & heavy


# ------------------------------------------------------------------ looking without decoding


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_look_says_what_reading_finds(format):
    file = BytesIO()
    Image.new("L", (31, 17), 99).save(file, format)
    picture = images.read(file.getvalue())
    assert images.look(file.getvalue()) == (picture.format, picture.width, picture.height)


def test_a_look_refuses_what_reading_refuses():
    file = BytesIO()
    Image.new("L", (31, 17)).save(file, "PNG")
    with pytest.raises(PictureTooLargeError):
        images.look(file.getvalue(), max_pixels=100)
    with pytest.raises(UnreadablePictureError):
        images.look(b"no picture")
