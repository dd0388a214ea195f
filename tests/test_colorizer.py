"""The picture path, against DeOldify's and against what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fill import fill
from PIL import Image
from skimage import color as oracle
from skimage import data as pictures

import coloria.colorizer
from coloria import images
from coloria.borders import Box
from coloria.color import Tone
from coloria.colorizer import Colorizer
from coloria.errors import (
    OptionError,
    OutOfMemoryError,
    UnknownNameError,
    UnreadablePictureError,
    WeightsMissingError,
)
from coloria.join import Chroma, join
from coloria.models import deoldify, registry
from coloria.network_input import network_input
from coloria.picture import from_array
from coloria.weightfile import Card
from coloria.weights import Found

GOLDEN = Path(__file__).parent / "golden" / "deoldify_pipeline.npz"


class Tint(torch.nn.Module):
    """A backbone that gives every picture one colour, and remembers what it was asked."""

    multiple, minimum = 16, 16

    def __init__(self, rgb: tuple[float, float, float] = (0.7, 0.4, 0.3)) -> None:
        super().__init__()
        self.rgb = torch.tensor(rgb).view(1, 3, 1, 1)
        self.sizes: list[tuple[int, ...]] = []

    def colorize(self, gray: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(gray.shape))
        return self.rgb.expand(len(gray), 3, *gray.shape[2:])


def colorizer(backbone: Any, model: str = "artistic") -> Colorizer:
    return Colorizer(
        registry.get(model),
        backbone,
        found=Found(Path("none"), "file", model, ""),
        card=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@pytest.fixture(scope="module")
def released() -> Colorizer:
    """The released architecture with the golden file's weights."""
    net = deoldify.build("artistic").eval()
    return colorizer(deoldify.load("artistic", fill(net.state_dict(), "dev")))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [4, 5])
def test_deoldify_path_is_the_originals(released: Colorizer, factor: int) -> None:
    """Resize, grey, network, truncation, scaling up, chroma transfer: all of it."""
    data = np.load(GOLDEN)
    result = released.colorize(data["image"], render_factor=factor, luma="deoldify")
    apart = np.abs(result.astype(int) - data[f"rf{factor}_post"])
    assert (apart <= 1).mean() >= 0.999


def test_network_sees_what_deoldifys_network_sees() -> None:
    data = np.load(GOLDEN)
    picture = from_array(data["image"])
    gray = network_input(picture, Box.whole(picture), (80, 80))
    assert (gray == data["model_ready_rf5"][..., 0]).all()


@pytest.fixture
def photo() -> np.ndarray:
    return pictures.astronaut()[::4, ::3]


def test_result_keeps_the_lightness_of_the_original(photo: np.ndarray) -> None:
    result = colorizer(Tint((0.55, 0.45, 0.42))).colorize(photo)
    assert result.shape == photo.shape
    want, got = oracle.rgb2lab(photo)[..., 0], oracle.rgb2lab(result)[..., 0]
    assert np.abs(want - got).max() < 0.8  # one 8-bit level near black is 0.3 L*


def test_result_has_the_networks_chroma_where_it_fits(photo: np.ndarray) -> None:
    rgb = (0.55, 0.45, 0.42)
    lab = oracle.rgb2lab(colorizer(Tint(rgb)).colorize(photo))
    want = oracle.rgb2lab(np.array(rgb))
    middle = (lab[..., 0] > 40) & (lab[..., 0] < 80)
    assert np.abs(lab[middle][:, 1:] - want[1:]).max() < 1.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strength_zero_gives_back_the_grey_picture(dtype: type) -> None:
    top = np.iinfo(dtype).max
    gray = np.linspace(0, top, 64 * 64).astype(dtype).reshape(64, 64)
    result = colorizer(Tint()).colorize(gray, strength=0, borders=False)
    assert result.dtype == dtype
    assert np.abs(result.astype(int) - gray[..., None]).max() <= (0 if dtype == np.uint8 else 2)


def test_sixteen_bits_stay_sixteen_bits() -> None:
    gray = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    result = colorizer(Tint()).colorize(gray, borders=False)
    assert len(np.unique(result[..., 1])) > 1000


def test_kinds_come_back_as_they_went_in(tmp_path: Path, photo: np.ndarray) -> None:
    model = colorizer(Tint())
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    assert isinstance(model.colorize(photo), np.ndarray)
    with Image.open(path) as image, path.open("rb") as file:
        for source in (path, str(path), path.read_bytes(), image, file):
            result = model.colorize(source)
            assert isinstance(result, Image.Image)
            assert result.size == (photo.shape[1], photo.shape[0])


def test_alpha_is_kept(photo: np.ndarray) -> None:
    alpha = np.arange(photo.shape[0] * photo.shape[1]).reshape(photo.shape[:2]).astype(np.uint8)
    result = colorizer(Tint()).colorize(np.dstack([photo, alpha]))
    assert (result[..., 3] == alpha).all()


def test_sizes_follow_the_aspect_and_the_multiple() -> None:
    backbone = Tint()
    model = colorizer(backbone)
    model.colorize(np.zeros((100, 301), np.uint8), render_size=96, borders=False)
    model.colorize(np.zeros((1, 1), np.uint8), render_size=96, borders=False)
    model.colorize(np.zeros((3, 20000), np.uint8), render_size=96, borders=False)
    model.colorize(np.zeros((100, 301), np.uint8), render_factor=5)
    assert [s[2:] for s in backbone.sizes] == [(96, 288), (96, 96), (16, 2048), (80, 80)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"render_size": 4}, "render_size must lie in 16..2048; got 4"),
        ({"render_factor": 400}, "render_factor must lie in 1..128; got 400"),
        ({"render_size": 96, "render_factor": 5}, "not both"),
        ({"luma": "hsv"}, "luma must be one of"),
        ({"luma": "deoldify", "warmth": 1}, "takes no strength"),
        ({"saturaton": 2}, "did you mean 'saturation'"),
        ({"saturation": 9}, "saturation must lie in 0..4; got 9"),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        colorizer(Tint()).colorize(np.zeros((32, 32), np.uint8), **options)


def test_batches_give_what_single_pictures_give(photo: np.ndarray) -> None:
    """On a real network, whose result depends on the picture."""
    net = deoldify.build("artistic", registry.get("artistic").tiny).eval()
    model = colorizer(deoldify.load("artistic", fill(net.state_dict(), "dev"), net.card_config()))
    several = [photo, photo[:60], photo[::-1], pictures.camera()[::5, ::5]]
    options = {"render_size": 64, "borders": False}
    together = model.colorize_batch(several, batch_size=2, **options)
    for one, result in zip(several, together, strict=True):
        alone = model.colorize(one, **options)
        assert np.abs(alone.astype(int) - result).max() <= 1


def test_pictures_of_one_size_run_together(photo: np.ndarray) -> None:
    backbone = Tint()
    colorizer(backbone).colorize_batch([photo] * 5, batch_size=3, render_factor=4)
    assert [s[0] for s in backbone.sizes] == [3, 2]


def test_tone_changes_without_running_the_network_again(photo: np.ndarray) -> None:
    backbone = Tint()
    prediction = colorizer(backbone).predict(from_array(photo), render_size=64)
    results = [prediction.render(tone=Tone(saturation=s)).pixels for s in (0, 1, 2)]
    chroma = [np.hypot(*np.moveaxis(oracle.rgb2lab(r)[..., 1:], -1, 0)).mean() for r in results]
    assert len(backbone.sizes) == 1
    assert chroma[0] < 0.1
    assert chroma[1] * 1.3 < chroma[2]


def test_borders_stay_grey() -> None:
    photo = pictures.camera()
    framed = np.pad(photo, 24, constant_values=250)
    result = colorizer(Tint((0.8, 0.3, 0.2))).colorize(framed)
    chroma = np.hypot(*np.moveaxis(oracle.rgb2lab(result)[..., 1:], -1, 0))
    assert chroma[:20].max() < 0.5
    assert chroma[:, -20:].max() < 0.5
    assert chroma[100:-100, 100:-100].mean() > 5


def test_strips_join_without_seams() -> None:
    """The chroma of a picture of many strips is a plain bilinear enlargement."""
    rng = np.random.default_rng(0)
    small = rng.random((7, 9, 3), dtype=np.float32) * 0.2 + 0.4
    gray = np.full((1200, 1000), 128, np.uint8)
    chroma = Chroma(small, Box.whole(from_array(gray)))
    result = join(from_array(gray), chroma, Tone()).pixels
    ab = torch.nn.functional.interpolate(chroma.ab()[None], (1200, 1000), mode="bilinear")[0]
    got = np.moveaxis(oracle.rgb2lab(result)[..., 1:], -1, 0)
    assert np.abs(got - ab.numpy()).max() < 1.0  # 8-bit rounding


def test_memory_running_out_is_an_error_and_not_a_grey_picture(photo: np.ndarray) -> None:
    class Greedy(Tint):
        def colorize(self, gray: torch.Tensor) -> torch.Tensor:
            return torch.empty(1 << 50)  # more than any machine has: a real refusal

    with pytest.raises(OutOfMemoryError, match="use a smaller render_size"):
        colorizer(Greedy()).colorize(photo)


def test_other_failures_are_not_called_memory(photo: np.ndarray) -> None:
    class Broken(Tint):
        def colorize(self, gray: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        colorizer(Broken()).colorize(photo)


def test_unknown_models_and_missing_weights() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'artistic'"):
        coloria.colorizer.load("artistc")
    with pytest.raises(WeightsMissingError, match="coloria weights download stable"):
        coloria.colorizer.load("stable", weights="released")


def test_unreadable_pictures_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    with pytest.raises(UnreadablePictureError, match=r"broken\.jpg"):
        colorizer(Tint()).colorize(path)


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(images.PictureTooLargeError):
        colorizer(Tint()).colorize(np.zeros((100, 100), np.uint8), max_pixels=9_999)


def test_weights_may_ask_for_the_mean_with_the_mirror_image(photo: np.ndarray) -> None:
    """Then a mirrored picture gives the mirrored result."""
    net = deoldify.build("artistic", registry.get("artistic").tiny).eval()
    net = deoldify.load("artistic", fill(net.state_dict(), "dev"), net.card_config())
    plain, both = colorizer(net), colorizer(net)
    both.card = Card("artistic", preprocessing={"mirror": True}, default_size=64)
    plain.card = Card("artistic", default_size=64)
    flipped = np.ascontiguousarray(photo[:, ::-1])
    one, other = (both.colorize(p, borders=False).astype(int) for p in (photo, flipped))
    assert np.abs(one - other[:, ::-1]).max() <= 2
    one, other = (plain.colorize(p, borders=False).astype(int) for p in (photo, flipped))
    assert np.abs(one - other[:, ::-1]).max() > 2
