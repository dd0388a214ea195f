"""`eccv16`, `siggraph17` and its compact form, against the originals (tests/golden/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill
from skimage import color as oracle
from torch import Tensor

from coloria.errors import WeightsMismatchError
from coloria.models import chroma, registry
from coloria.models.bins import annealed_mean, gamut_bins
from coloria.models.eccv16 import Eccv16, Eccv16Config
from coloria.models.hint_unet import HintUNet, HintUNetConfig, pooled
from coloria.models.lab import light_of
from coloria.models.siggraph17 import Siggraph17, Siggraph17Config

GOLDEN = Path(__file__).parents[1] / "golden"
NARROW = 0.125


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as data:
        return {key: torch.from_numpy(value) for key, value in data.items()}


@pytest.fixture(scope="module")
def eccv16() -> Eccv16:
    net = Eccv16(Eccv16Config()).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    return net


@pytest.fixture(scope="module")
def siggraph17() -> Siggraph17:
    net = Siggraph17(Siggraph17Config()).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    return net


@torch.inference_mode()
def test_eccv16_gives_what_the_original_gives(eccv16: Eccv16) -> None:
    data = golden("eccv16")
    ab = eccv16.from_lightness(data["L"]).ab
    assert float((ab - data["output_auto"]).abs().max()) <= 1e-4


@torch.inference_mode()
def test_siggraph17_gives_what_the_original_gives(siggraph17: Siggraph17) -> None:
    data = golden("siggraph17")
    alone = siggraph17.from_lightness(data["L"]).ab
    assert float((alone - data["output_auto"]).abs().max()) <= 1e-3
    hinted = siggraph17.from_lightness(data["L"], data["hint_ab"], data["hint_mask"]).ab
    assert float((hinted - data["output_hints"]).abs().max()) <= 1e-3


@pytest.mark.parametrize(("name", "entries"), [("eccv16", 82), ("siggraph17", 107)])
def test_layout_is_that_of_the_released_file(name: str, entries: int) -> None:
    with torch.device("meta"):
        state = chroma.build(name).state_dict()
    assert len(state) == entries
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    known = {
        "eccv16": {
            "model1.0.weight": (64, 1, 3, 3),
            "model2.4.running_var": (128,),
            "model3.6.num_batches_tracked": (),
            "model7.4.bias": (512,),
            "model8.0.weight": (512, 256, 4, 4),
            "model8.6.weight": (313, 256, 1, 1),
            "model_out.weight": (2, 313, 1, 1),
        },
        "siggraph17": {
            "model1.0.weight": (64, 4, 3, 3),
            "model8up.0.weight": (512, 256, 4, 4),
            "model3short8.0.bias": (256,),
            "model8.1.weight": (256, 256, 3, 3),
            "model8.5.running_mean": (256,),
            "model9.3.weight": (128,),
            "model1short10.0.weight": (128, 64, 3, 3),
            "model10.1.weight": (128, 128, 3, 3),
            "model_class.0.weight": (529, 256, 1, 1),
            "model_out.0.weight": (2, 128, 1, 1),
        },
    }[name]
    assert {key: shapes.get(key) for key in known} == known


def test_a_file_of_the_released_layout_loads_and_converts(siggraph17: Siggraph17) -> None:
    state = siggraph17.state_dict()
    assert chroma.load("siggraph17", state).config == Siggraph17Config()
    weights = chroma.convert("siggraph17", state)
    assert weights.config == {"width": 1.0, "mask_center": 0.0}
    assert registry.identify(state) == "siggraph17"
    with pytest.raises(WeightsMismatchError, match="these are weights of 'siggraph17'"):
        chroma.load("eccv16", state)


@pytest.mark.parametrize("size", [(8, 8), (33, 50), (65, 9)])
@torch.inference_mode()
def test_eccv16_takes_any_size(size: tuple[int, int]) -> None:
    net = Eccv16(Eccv16Config(NARROW)).eval()
    colors = net(torch.rand(1, 1, *size))
    assert colors.ab.shape == (1, 2, *size)


@torch.inference_mode()
def test_untrained_eccv16_ends_in_the_annealed_mean_of_the_published_bins() -> None:
    net = Eccv16(Eccv16Config(NARROW, temperature=0.38)).eval()
    colors = net(torch.rand(1, 1, 32, 32))
    small = annealed_mean(colors.logits, gamut_bins(), 0.38)
    wanted = torch.nn.functional.interpolate(small, scale_factor=4.0, mode="bilinear")
    torch.testing.assert_close(colors.ab, wanted, atol=1e-3, rtol=0)


@torch.inference_mode()
def test_mask_centre_moves_the_fourth_channel() -> None:
    """What ideepcolor's own weights want: a mask of -1/2 and 1/2."""
    plain, centred = (Siggraph17(Siggraph17Config(NARROW, centre)).eval() for centre in (0, 0.5))
    centred.load_state_dict(plain.state_dict())
    light, ab, mask = torch.full((1, 1, 16, 16), 60.0), torch.zeros(1, 2, 16, 16), torch.ones(1)
    mask = mask.expand(1, 1, 16, 16)
    one, other = (
        plain.from_lightness(light, ab, mask),
        centred.from_lightness(light, ab, mask + 0.5),
    )
    torch.testing.assert_close(one.ab, other.ab)


def compact() -> HintUNet:
    torch.manual_seed(0)
    return HintUNet(HintUNetConfig(factor=0.25, middle=16)).eval()


@pytest.mark.parametrize("net", [Siggraph17(Siggraph17Config(NARROW)).eval(), compact()])
@torch.inference_mode()
def test_hints_change_colours_and_their_absence_is_zeros(net: Siggraph17 | HintUNet) -> None:
    gray = torch.rand(1, 1, 64, 64)
    ab, mask = torch.zeros(1, 2, 64, 64), torch.zeros(1, 1, 64, 64)
    alone = net(gray).ab
    torch.testing.assert_close(net(gray, ab, mask).ab, alone)
    ab[..., 30:33, 30:33], mask[..., 30:33, 30:33] = 50.0, 1.0
    assert (net(gray, ab, mask).ab - alone).abs().max() > 1e-4


@pytest.mark.parametrize("net", [Siggraph17(Siggraph17Config(NARROW)), compact()])
def test_heads_move_what_they_share_only_as_asked(net: Siggraph17 | HintUNet) -> None:
    """In stage `classes` the colours' gradient stops at their own head, and the other way."""
    shared = {"classes": "ab", "colours": "logits"}
    first = net.model4[0] if isinstance(net, Siggraph17) else net.middle[0]
    for moved_by, other in shared.items():
        net.zero_grad()
        getattr(net(torch.rand(1, 1, 64, 64), shared=moved_by), other).sum().backward()
        assert next(first.parameters()).grad is None
        net.zero_grad()
        getattr(net(torch.rand(1, 1, 64, 64), shared="both"), other).sum().backward()
        assert next(first.parameters()).grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (33, 50)])
@torch.inference_mode()
def test_compact_network_takes_any_size(size: tuple[int, int]) -> None:
    gray = torch.rand(1, 1, *size)
    colors = compact()(gray, torch.zeros(1, 2, *size), torch.zeros(1, 1, *size))
    assert colors.ab.shape == (1, 2, *size)
    assert colors.logits.shape == (1, 529, -(-size[0] // 4), -(-size[1] // 4))


def test_compact_weights_keep_what_the_network_does() -> None:
    net = compact()
    gray = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        wanted = net(gray).ab
        config, state = net.card_config(), chroma.tensors(net)
        loaded = chroma.load("siggraph17", state, config)
        torch.testing.assert_close(loaded(gray).ab, wanted, atol=1e-3, rtol=0)
    assert registry.identify(state) == "siggraph17"


def test_pooled_hints_by_hand() -> None:
    """One pixel of (55, -110) among 16: full presence, its own colour, nowhere else."""
    ab, mask = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    ab[0, :, 1, 2], mask[0, 0, 1, 2] = torch.tensor([55.0, -110.0]), 1.0
    planes = pooled(mask, ab, mask, 4)
    assert planes[0, :, 0, 0].tolist() == pytest.approx([0.5, -1, 1])
    assert planes.abs().sum() == pytest.approx(2.5)


def test_colours_keep_the_lightness_of_the_grey_picture() -> None:
    """Measured by scikit-image; chroma gives way where sRGB ends."""
    net = Siggraph17(Siggraph17Config(NARROW)).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    gray = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        rgb = net.colorize(gray)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    lab = oracle.rgb2lab(rgb[0].permute(1, 2, 0).numpy())
    light = light_of(gray)[0, 0].numpy()
    assert np.abs(lab[..., 0] - light).max() < 0.1
    assert np.hypot(lab[..., 1], lab[..., 2]).mean() > 5
