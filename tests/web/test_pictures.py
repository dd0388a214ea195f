"""What a worker does with a picture: the same as the command line."""

import io
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from webtools import finished, photo, send

import coloria
from coloria import images
from coloria.cli.main import cli
from coloria.errors import PictureWriteError, UnreadablePictureError
from coloria.web import pictures
from coloria.web.orders import Color, Render


def order(folder, **more):
    """Of a picture that lies in the folder."""
    common = {"source": str(folder / "0.upload"), "name": "photo.jpg", "max_pixels": 10**7}
    return common | {"tone": {}, "keep_location": False} | more


@pytest.fixture(scope="module")
def colorizer():
    return coloria.load("artistic", "embedded", "cpu", "fp32")


def colored(folder, colorizer, content, **more):
    (folder / "0.upload").write_bytes(content)
    fields = order(folder, model="artistic", weights="embedded", size=64, **more)
    stems = {"stem": f"{folder}/0-artistic", "original_stem": f"{folder}/0-original"}
    return pictures.color(Color(**fields, **stems), colorizer, lambda share: None)


def shown(done, role):
    """A picture that was written."""
    with Image.open(done.files[role].path) as image:
        image.load()
        return image


@pytest.mark.parametrize("options", [[], ["--saturation", "1.4", "--warmth", "0.3"]])
def test_a_download_is_what_the_command_writes(client, tmp_path, options):
    content = photo(300, 200, seed=5, exif=b"")
    view = finished(client, send(client, ("photo.jpg", content)).json())
    query = dict(zip((o.lstrip("-") for o in options[::2]), options[1::2], strict=True))
    got = client.get(view["files"][0]["results"][0]["url"], params=query).content
    (tmp_path / "photo.jpg").write_bytes(content)
    output = tmp_path / "result.jpg"
    words = ["colorize", str(tmp_path / "photo.jpg"), "-o", str(output), "--render-size", "64"]
    result = CliRunner().invoke(cli, [*words, "--weights", "embedded", *options])
    assert result.exit_code == 0, result.output
    ours = np.asarray(Image.open(io.BytesIO(got)), int)
    theirs = np.asarray(Image.open(output), int)
    # Not bytes: another number of threads adds up in another order.
    assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize("size", [(900, 700), (2500, 1700)])
def test_a_view_shows_what_the_full_size_has(tmp_path, colorizer, size):
    done = colored(tmp_path, colorizer, photo(*size, seed=2, format="PNG"))
    full = Image.open(done.files["result"].path)
    view = Image.open(done.files["view"].path)
    assert full.size == size
    assert max(view.size) == min(max(size), pictures.VIEW_SIDE)
    small = np.asarray(full.resize(view.size, Image.Resampling.LANCZOS), float)
    assert np.abs(small - np.asarray(view, float)).mean() < 2


def test_borders_keep_their_place_in_a_view(tmp_path, colorizer):
    inner = np.asarray(Image.open(io.BytesIO(photo(1800, 1400, seed=7))))
    framed = np.full((1600, 2000), 250, np.uint8)
    framed[100:1500, 100:1900] = inner
    file = io.BytesIO()
    Image.fromarray(framed).save(file, "PNG")
    done = colored(tmp_path, colorizer, file.getvalue())
    stored = np.load(done.files["chroma"].path, allow_pickle=False)
    assert list(stored["box"]) == [100, 1500, 100, 1900]
    view = np.asarray(Image.open(done.files["view"].path), int)
    spread = np.ptp(view, axis=2)
    assert spread[:45].max() <= 6  # 100 of 1600 rows are 51 of 819
    assert spread[100:-100, 100:-100].mean() > 3


def test_a_rendering_with_the_same_tone_is_the_same(tmp_path, colorizer):
    done = colored(tmp_path, colorizer, photo(300, 200))
    made = {}
    for view in (False, True):
        fields = order(tmp_path, chroma=done.files["chroma"].path, view=view)
        written = pictures.render(Render(**fields, target=f"{tmp_path}/render")).files["result"]
        with open(written.path, "rb") as file:  # noqa: PTH123
            made[view] = file.read()
    assert made[False] == (tmp_path / "0-artistic.jpg").read_bytes()
    assert made[True] == (tmp_path / "0-artistic.view.jpg").read_bytes()


def test_sixteen_bits_and_alpha_stay(tmp_path, colorizer):
    deep = (np.linspace(0, 65535, 60 * 80).reshape(60, 80)).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    done = colored(tmp_path, colorizer, file.getvalue())
    assert images.read(done.files["result"].path).pixels.dtype == np.uint16
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    rgba = Image.new("RGBA", (80, 60), (90, 90, 90, 100))
    file = io.BytesIO()
    rgba.save(file, "PNG")
    done = colored(tmp_path, colorizer, file.getvalue())
    result = images.read(done.files["result"].path)
    assert result.alpha is not None
    assert set(np.unique(result.alpha)) == {100}
    assert shown(done, "view").mode == "RGB"
    assert done.notes == ()


def test_a_gif_becomes_a_png(tmp_path, colorizer):
    done = colored(tmp_path, colorizer, photo(format="GIF"))
    assert done.files["result"].type == "image/png"
    assert done.files["result"].path.endswith("0-artistic.png")


def test_an_upright_picture_has_its_upright_size(tmp_path, colorizer):
    exif = Image.Exif()
    exif[0x0112] = 6
    done = colored(tmp_path, colorizer, photo(80, 60, exif=exif.tobytes()))
    assert (done.width, done.height) == (60, 80)
    assert shown(done, "original").size == (60, 80)


def test_nothing_is_written_into_a_folder_that_is_gone(tmp_path, colorizer):
    folder = tmp_path / "job"
    folder.mkdir()
    done = colored(folder, colorizer, photo())
    fields = order(tmp_path, chroma=None, view=False, target=f"{folder}/render")
    (tmp_path / "0.upload").write_bytes(photo())
    shutil.rmtree(folder)
    with pytest.raises(PictureWriteError) as error:
        pictures.render(Render(**fields))
    assert str(folder) not in str(error.value)
    assert not folder.exists()
    assert done.width == 96


def test_messages_name_the_picture_and_no_path(tmp_path, colorizer):
    with pytest.raises(UnreadablePictureError) as error:
        colored(tmp_path, colorizer, photo()[:400])
    assert str(error.value).startswith("photo.jpg: ")
    assert str(tmp_path) not in str(error.value)


def test_only_the_place_goes():
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.6)}
    assert pictures.without_location(exif.tobytes()) is None
    exif[0x010F] = "Maker"
    kept = Image.Exif()
    kept.load(pictures.without_location(exif.tobytes()))
    assert dict(kept) == {0x010F: "Maker"}
