"""BigColor against the original (tests/golden/README.md), its layouts, and what it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fill import fill, image
from skimage import data as pictures
from torch import Tensor

import coloria
from coloria.colorizer import Colorizer
from coloria.errors import OptionError, WeightsFormatError, WeightsMismatchError
from coloria.export import export
from coloria.models import bigcolor, registry
from coloria.models.bigcolor import BigColor, BigColorConfig
from coloria.models.biggan import Discriminator
from coloria.models.biggan_layers import SCORE_BYTES, Attention, Spectral
from coloria.weightfile import Card, read_card, read_state, write_state

GOLDEN = Path(__file__).parents[1] / "golden"
NARROW = {"width": 4}
"""The released layout with its 1000 classes, narrower."""


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as data:
        return {key: torch.from_numpy(value) for key, value in data.items()}


def layout(name: str) -> list[tuple[str, ...]]:
    lines = (GOLDEN / f"{name}.txt").read_text().splitlines()
    return [tuple(line.split("\t")) for line in lines if not line.startswith("#")]


def rows(net: torch.nn.Module) -> list[tuple[str, ...]]:
    """Key, shape and place among the parameters, as in the lists."""
    place = {name: str(i) for i, (name, _) in enumerate(net.named_parameters())}
    return [(k, str(tuple(v.shape)), place.get(k, "-")) for k, v in net.state_dict().items()]


# ------------------------------------------------------------------ the originals


def test_layout_is_that_of_the_released_files() -> None:
    with torch.device("meta"):
        assert rows(bigcolor.build("bigcolor")) == layout("bigcolor_generator")
        assert rows(Discriminator()) == layout("bigcolor_discriminator")


@torch.inference_mode()
def test_generator_gives_what_the_original_gives() -> None:
    """At full width, of the 105 million parameters the 41 that are run; 1.9e-5 on an Intel CPU."""
    data = golden("bigcolor")
    net = BigColor(BigColorConfig(), unused=False).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    embedding = net.embedding(data["cls"])
    features = net.E(data["gray"], embedding)
    largest = data["features"].abs().max()
    assert (features - data["features"]).abs().max() <= 1e-5 * largest
    rgb = net(data["gray"], data["cls"], data["z"])
    assert (rgb - data["output"]).abs().max() <= 5e-5
    torch.testing.assert_close(net.painted(data["gray"], embedding, data["z"]), rgb)
    folded = bigcolor.load("bigcolor", bigcolor.tensors(net), {})
    assert sum(p.numel() for p in folded.parameters()) == 41_238_052
    assert (folded(data["gray"], data["cls"], data["z"]) - data["output"]).abs().max() <= 5e-5


@pytest.mark.slow  # 99 million values are drawn
@torch.inference_mode()
def test_discriminator_gives_what_the_original_gives() -> None:
    data = golden("bigcolor_d")
    net = Discriminator().eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    logit = net(image((1, 3, 256, 256), "dev", "bigcolor_d") * 2 - 1, data["cls"])
    assert float(abs(logit - data["logit"])) <= 1e-3 * float(abs(data["logit"]))


# ------------------------------------------------------------------ shapes

SHAPES: list[dict[str, Any]] = [
    {},
    {"dim_f": 64, "use_attention": True},
    {"dim_f": 32, "norm_type": "layer", "activation": "lrelu"},
    {"dim_f": 8, "norm_type": "id", "activation": "sigmoid", "weight_init": "N02"},
    {"dim_f": 1, "norm_type": "adain", "weight_init": "xavier"},
    {"no_res": True, "norm_type": "instance", "weight_init": "none"},
    {"n_classes": 0, "norm_type": "batch"},
    {"n_classes": 0, "dim_f": 32, "encoder": "efficientnet_lite0", "half": True},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_every_shape_trains_colours_and_survives_a_file(shape: dict[str, Any]) -> None:
    net = bigcolor.build("bigcolor", {"width": 4, "n_classes": 3, **shape})
    side = net.minimum * 2
    gray, z = torch.rand(2, 1, side, side), torch.randn(2, net.dim_z)
    classes = torch.tensor([0, 2]) if net.n_classes else None
    net(gray, classes, z).square().mean().backward()
    first = next(net.E.parameters())
    assert first.grad is not None
    assert first.grad.isfinite().all()
    net.eval()
    with torch.inference_mode():
        rgb = net.colorize(gray, classes, z)
        assert rgb.shape == (2, 3, side, side)
        loaded = bigcolor.load("bigcolor", bigcolor.tensors(net), net.card_config())
        assert not any(isinstance(module, Spectral) for module in loaded.modules())
        assert (loaded.colorize(gray, classes, z) - rgb).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"dim_f": 24}, "dim_f is one of 64, 32, 16, 8, 1"),
        ({"norm_type": "group"}, "norm_type is one of"),
        ({"dim_z": 100}, "a multiple of 7"),
        ({"n_classes": 0}, "adabatch needs classes"),
        ({"encoder": "efficientnet_lite0"}, "goes with dim_f 32"),
        ({"dim_f": 8, "use_attention": True}, "use_attention goes with"),
    ],
)
def test_shapes_that_cannot_be_are_refused(shape: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        BigColorConfig(**shape)


def test_discriminator_of_any_width_and_without_classes() -> None:
    net = Discriminator(4, 0)
    assert net(torch.rand(2, 3, 64, 96)).shape == (2, 1)
    assert net.embed is None


def test_only_the_parts_of_the_vector_behind_the_entry_count() -> None:
    """At block 2 these are z[51:] (original)."""
    net = bigcolor.build("bigcolor", NARROW).eval()
    gray, classes, z = torch.rand(1, 1, 32, 32), torch.tensor([7]), torch.randn(1, 119)
    other = torch.cat([torch.randn(1, 51), z[:, 51:]], 1)
    with torch.inference_mode():
        assert (net(gray, classes, z) == net(gray, classes, other)).all()
        other[:, 60] += 1
        assert (net(gray, classes, z) != net(gray, classes, other)).any()


# ------------------------------------------------------------------ attention in parts


def test_attention_in_parts_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Attention(16).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    x = torch.randn(2, 16, 24, 32)
    whole = net(x)
    monkeypatch.setattr("coloria.models.biggan_layers.SCORE_BYTES", 10_000)
    torch.testing.assert_close(net(x), whole)


PEAK = """
import resource, torch
from coloria.models.biggan_layers import Attention
torch.set_num_threads(1)
net, x = Attention(8).eval(), torch.rand(1, 8, 192, 192)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with torch.inference_mode():
    net(x[..., :32, :32])
    before = peak()
    net(x)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
def test_attention_keeps_to_its_memory() -> None:
    """For 768 px the scores are 192^2 x 192^2 / 4 x 4 bytes = 1359 MB, and the softmax as much
    again. In parts it is at most 4 times :data:`SCORE_BYTES`.
    """
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 * SCORE_BYTES


# ------------------------------------------------------------------ released files


@pytest.fixture(scope="module")
def narrow() -> BigColor:
    net = bigcolor.build("bigcolor", NARROW).eval()
    net.load_state_dict(fill(net.state_dict(), "released"))
    return net


@pytest.fixture
def released(narrow: BigColor, tmp_path: Path) -> Path:
    """A checkpoint of the released layout, saved while parallel, statistics in half precision."""
    state = {
        f"module.{k}": v.half() if "stored" in k and k.startswith("E.") else v
        for k, v in narrow.state_dict().items()
    }
    torch.save(state, tmp_path / "EG_011.ckpt")
    return tmp_path / "EG_011.ckpt"


def average(net: BigColor, path: Path, factor: float = 0.5) -> list[Tensor]:
    """What torch_ema saves."""
    shadow = [factor * parameter.detach() for parameter in net.parameters()]
    torch.save(
        {"decay": 0.999, "num_updates": 9, "shadow_params": shadow, "collected_params": None}, path
    )
    return shadow


GRAY = pictures.camera()[::8, ::8]


def test_a_released_checkpoint_alone(released: Path, narrow: BigColor) -> None:
    state, _ = read_state(released)
    assert registry.identify(state) == "bigcolor"
    assert bigcolor.shape_of(state).items() <= narrow.card_config().items()
    colorizer = coloria.load("bigcolor", str(released), "cpu", "fp32")
    gray, classes, z = torch.rand(1, 1, 64, 64), torch.tensor([3]), torch.randn(1, 119)
    with torch.inference_mode():
        wanted = narrow.colorize(gray, classes, z)
        got = colorizer.backbone.colorize(gray, classes, z)  # type: ignore[call-arg]
    assert (got - wanted).abs().max() < 1e-3  # half precision of the statistics


def test_averaged_parameters_go_over_it_by_position(released: Path, narrow: BigColor) -> None:
    shadow = average(narrow, released.with_name("EG_EMA_011.ckpt"))
    colorizer = coloria.load("bigcolor", str(released), "cpu", "fp32")
    assert "EG_EMA_011.ckpt" in colorizer.found.note
    wanted = BigColor(narrow.config).eval()
    wanted.load_state_dict(narrow.state_dict())
    with torch.no_grad():
        for parameter, value in zip(wanted.parameters(), shadow, strict=True):
            parameter.copy_(value)
    gray, classes, z = torch.rand(1, 1, 64, 64), torch.tensor([3]), torch.randn(1, 119)
    with torch.inference_mode():
        got = colorizer.backbone.colorize(gray, classes, z)  # type: ignore[call-arg]
        assert (got - wanted.colorize(gray, classes, z)).abs().max() < 1e-3
        assert (got - narrow.colorize(gray, classes, z)).abs().max() > 1e-2


def test_averaged_parameters_of_another_network_are_refused(
    released: Path, narrow: BigColor
) -> None:
    average(bigcolor.build("bigcolor", {"width": 8}), released.with_name("EG_EMA_011.ckpt"))
    with pytest.raises(WeightsMismatchError, match="146 tensors; came 146"):
        coloria.load("bigcolor", str(released), "cpu")


def test_averaged_parameters_alone_lack_the_statistics(tmp_path: Path, narrow: BigColor) -> None:
    average(narrow, tmp_path / "EG_EMA_011.ckpt")
    with pytest.raises(WeightsFormatError, match="leave this beside it"):
        coloria.load("bigcolor", str(tmp_path / "EG_EMA_011.ckpt"), "cpu")


def test_a_released_checkpoint_becomes_a_file_of_ours(released: Path, narrow: BigColor) -> None:
    average(narrow, released.with_name("EG_EMA_011.ckpt"), 1.0)
    path = export(released, released.with_name("mine.safetensors"))
    card = read_card(path)
    assert card is not None
    assert (card.model, card.config["width"], card.terms) == ("bigcolor", 4, "MIT")
    assert card.provenance == {"converted from": "EG_011.ckpt and EG_EMA_011.ckpt"}
    keys = read_state(path)[0].keys()
    unused = (".in1.", ".in2.", "G.linear.", "G.blocks.0.", "G.blocks.1.", ".u0", ".sv0")
    assert not [key for key in keys if any(part in key for part in unused)]
    one, other = (
        coloria.load("bigcolor", str(p), "cpu", "fp32").colorize(GRAY, class_=3)
        for p in (released, path)
    )
    assert np.abs(one.astype(int) - other).mean() < 1  # float16


def test_files_of_other_shapes_are_told_by_their_tensors() -> None:
    for shape in ({"dim_f": 8}, {"dim_f": 1, "norm_type": "batch"}, {"no_res": True}):
        with torch.device("meta"):
            net = bigcolor.build("bigcolor", {"width": 4, "n_classes": 5, **shape})
        assert bigcolor.shape_of(net.state_dict()).items() >= shape.items()


# ------------------------------------------------------------------ what it is asked for


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Colorizer]:
    """Colorizers of small networks that nobody trained."""

    def colorizer(model: str = "bigcolor", **shape: Any) -> Colorizer:
        about = registry.get(model)
        family, config = about.family(), shape or about.tiny
        tensors = fill(family.tensors(family.build(model, config)), "asked")
        path = tmp_path_factory.mktemp("weights") / "net.safetensors"
        coding = {"mean": [0.5] * 3, "std": [0.5] * 3}
        write_state(path, tensors, Card(model, config, coding, default_size=32))
        return coloria.load(model, str(path), "cpu", "fp32")

    return colorizer


@pytest.fixture(scope="module")
def classed(make: Callable[..., Colorizer]) -> Colorizer:
    return make(width=4)


def test_the_same_seed_gives_the_same_picture(make: Callable[..., Colorizer]) -> None:
    free = make()
    one = free.colorize(GRAY, seed=1)
    assert (one == free.colorize(GRAY, seed=1)).all()
    assert (one != free.colorize(GRAY, seed=2)).any()
    samples = free.colorize_samples(GRAY, 3, seed=1)
    assert (samples[0] == one).all()
    assert (samples[1] == free.colorize(GRAY, seed=2)).all()
    assert (samples[1] != samples[2]).any()


def test_z_std_0_leaves_one_answer(make: Callable[..., Colorizer]) -> None:
    one, other = make().colorize_samples(GRAY, 2, z_std=0.0)
    assert (one == other).all()


def test_a_batch_gives_each_picture_its_own_seed(make: Callable[..., Colorizer]) -> None:
    free = make()
    photos = [coloria.images.read(GRAY)] * 2
    one, other = free.predict_batch(photos, seed=[4, 5])
    for seed, made in ((4, one), (5, other)):
        alone = free.predict(photos[0], seed=seed)
        np.testing.assert_allclose(made.chroma.rgb, alone.chroma.rgb, atol=2e-3)


def test_classes_by_number_and_name(classed: Colorizer) -> None:
    by_name = classed.colorize(GRAY, class_="Strawberry")
    assert (by_name == classed.colorize(GRAY, class_=949)).all()
    assert (by_name != classed.colorize(GRAY, class_=3)).any()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"class_": "strawbery"}, "did you mean 'strawberry'"),
        ({"class_": 1000}, "must lie in 0..999"),
        ({"class_": "-1"}, "no ImageNet class"),
        ({"class_": 3, "z_std": 11.0}, "z_std must lie in 0..10"),
    ],
)
def test_what_it_cannot_do_is_said(classed: Colorizer, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        classed.colorize(GRAY, **asked)


def test_a_classifier_chooses_the_class(classed: Colorizer) -> None:
    """scikit-image's `chelsea` is a cat, in grey, too: ImageNet's cats are 281 to 285."""
    cat = coloria.images.read(pictures.chelsea())
    label = classed.predict(cat).label
    assert label is not None
    assert 281 <= label.id <= 285
    assert label.probability is not None
    assert label.probability > 0.3
    assert label.name == {281: "tabby", 282: "tiger cat", 285: "Egyptian cat"}.get(label.id)
    assert label == classed.predict(cat, class_="auto").label


def test_without_a_classifier_the_class_is_asked_for(
    classed: Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import coloria.classify

    coloria.classify._classifier.cache_clear()
    monkeypatch.setattr("coloria.train.pretrained.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"--class NAME or NUMBER.*pip install '.\[train\]'"):
        classed.colorize(GRAY)
    assert classed.colorize(GRAY, class_=1).shape == (*GRAY.shape, 3)


def test_weights_without_classes(make: Callable[..., Colorizer]) -> None:
    free = make()
    assert free.predict(coloria.images.read(GRAY)).label is None
    assert (free.colorize(GRAY, class_="auto") == free.colorize(GRAY)).all()
    with pytest.raises(OptionError, match="know no classes"):
        free.colorize(GRAY, class_="strawberry")


def test_weights_with_classes_of_their_own(make: Callable[..., Colorizer]) -> None:
    own = make(width=4, n_classes=5)
    assert own.colorize(GRAY, class_=4).shape == (*GRAY.shape, 3)
    for class_ in (None, "strawberry", 5):
        with pytest.raises(OptionError, match=r"0 to 4|0\.\.4"):
            own.colorize(GRAY, class_=class_)


@pytest.mark.parametrize("asked", [{"class_": 1}, {"z_std": 1.0}])
def test_models_with_one_answer_refuse(make: Callable[..., Colorizer], asked: dict) -> None:
    plain = make("eccv16")
    with pytest.raises(OptionError, match="eccv16 takes no"):
        plain.colorize(GRAY, **asked)
    with pytest.raises(OptionError, match="one answer"):
        plain.colorize_samples(GRAY, 2)


def test_legacy_luma_is_the_upstream_join(make: Callable[..., Colorizer]) -> None:
    """Neutral colours: L* = 100 * grey turns 0.5 into 0.463 or so, darker by up to 8.6 / 255, and
    shadows brighter by up to 4.1 / 255 (measured on the original).
    """
    from coloria.borders import Box
    from coloria.colorizer import Prediction
    from coloria.join import Chroma

    ramp = coloria.images.read(np.tile(np.arange(256, dtype=np.uint8), (4, 1)))
    neutral = np.full((4, 256, 3), 0.5, np.float32)
    legacy = Prediction(ramp, Chroma(neutral, Box.whole(ramp))).render("legacy")
    moved = legacy.pixels[0, :, 1].astype(int) - np.arange(256)
    assert moved.min() == pytest.approx(-8.6, abs=0.7)
    assert moved.max() == pytest.approx(4.1, abs=0.7)
    with pytest.raises(OptionError, match='luma="legacy" reproduces'):
        make().colorize(GRAY, luma="legacy", saturation=2.0)


def test_the_table_knows_what_networks_take_before_they_are_loaded(bigcolor_weights) -> None:
    from coloria import weights

    assert registry.get("bigcolor").classes == BigColorConfig().n_classes
    for model in registry.MODELS.values():
        net = model.family().build(model.name, model.tiny) if model.name != "zhang" else None
        assert model.draws == hasattr(net, "dim_z"), model.name
    for known, count in ((True, 1000), (False, 0)):
        found = weights.find("bigcolor", bigcolor_weights[known])
        assert weights.classes("bigcolor", found) == count
        net = coloria.load("bigcolor", str(found.path), "cpu").backbone
        assert net.n_classes == count
