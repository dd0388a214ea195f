"""The DeOldify networks against the originals (tests/golden/README.md)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from fill import fill
from torch import nn

from coloria.errors import WeightsFormatError, WeightsMismatchError
from coloria.models import deoldify, layers
from coloria.models.deoldify import LITE0, Critic, DeOldify
from coloria.models.fold import fold_batch_norms, fold_weight_norms
from coloria.models.layers import SelfAttention, SpectralConv2d, WeightNormConv2d
from coloria.models.unet import UNetConfig
from coloria.weightfile import Card, read_state, write_state

GOLDEN = Path(__file__).parents[1] / "golden"

TINY = UNetConfig("efficientnet_lite0", "deep", 0.25, 0.1)


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as data:
        return dict(data)


def layout(name: str) -> list[tuple[str, str]]:
    lines = (GOLDEN / f"{name}.txt").read_text().splitlines()
    return [tuple(line.split("\t")) for line in lines if not line.startswith("#")]


# 218 million values are drawn for `stable`, which takes a while.
@pytest.fixture(scope="module", params=["artistic", pytest.param("stable", marks=pytest.mark.slow)])
def filled(request: pytest.FixtureRequest) -> tuple[str, DeOldify]:
    net = deoldify.build(request.param).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    return request.param, net


def largest_difference(net: nn.Module, data: dict[str, np.ndarray]) -> float:
    """Over all inputs of a golden file."""
    worst = 0.0
    with torch.inference_mode():
        for key in (key for key in data if key.startswith("input")):
            want = torch.from_numpy(data[key.replace("input", "output")])
            worst = max(worst, float((net(torch.from_numpy(data[key])) - want).abs().max()))
    return worst


def test_keys_and_shapes_are_those_of_the_released_files(filled: tuple[str, DeOldify]) -> None:
    name, net = filled
    assert [(k, str(tuple(v.shape))) for k, v in net.state_dict().items()] == layout(name)


def test_generators_give_what_the_originals_give(filled: tuple[str, DeOldify]) -> None:
    name, net = filled
    assert largest_difference(net, golden(name)) <= 1e-4


def test_folded_networks_give_the_same(filled: tuple[str, DeOldify]) -> None:
    name, net = filled
    folded = deoldify.load(name, net.state_dict())
    norms = [m for m in folded.modules() if isinstance(m, SpectralConv2d | WeightNormConv2d)]
    assert norms == []
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.layers[0].modules())
    assert largest_difference(folded, golden(name)) <= 1e-4


def test_critic_has_the_released_layout() -> None:
    with torch.device("meta"):
        critic = Critic()
    assert [(k, str(tuple(v.shape))) for k, v in critic.state_dict().items()] == layout("critic")


def test_critic_gives_what_the_original_gives() -> None:
    critic = Critic(width=32).eval()
    critic.load_state_dict(fill(critic.state_dict(), "dev"))
    assert largest_difference(critic, golden("critic")) <= 1e-5


@pytest.mark.parametrize(("size", "logits"), [(128, 25), (192, 81)])
def test_critic_judges_patches(size: int, logits: int) -> None:
    assert Critic(width=8)(torch.zeros(2, 3, size, size)).shape == (2, logits)


def test_weights_of_the_other_generator_are_named(filled: tuple[str, DeOldify]) -> None:
    name, net = filled
    other = {"artistic": "stable", "stable": "artistic"}[name]
    with pytest.raises(WeightsMismatchError, match=f"wanted weights of '{other}'.*of '{name}'"):
        deoldify.load(other, net.state_dict())


def test_weights_of_some_other_network_name_the_first_tensor() -> None:
    with pytest.raises(WeightsMismatchError, match="tensors do not fit, first 'extra'"):
        deoldify.load("artistic", {"extra": torch.zeros(1)})


def test_released_layout_loads(tmp_path: Path) -> None:
    """Legacy serialisation, {'model', 'opt'}, and a slice among the optimiser's groups."""
    net = DeOldify(TINY).eval()
    state = fill(net.state_dict(), "dev")
    group = {"lr": slice(None, 0.003, None), "params": [0, 1]}
    saved = {"model": state, "opt": {"state": {}, "param_groups": [group] * 6}}
    path = tmp_path / "ColorizeArtistic_gen.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    loaded = deoldify.load("artistic", read_state(path)[0], net.card_config())
    net.load_state_dict(state)
    x = torch.rand(1, 1, 64, 48)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.colorize(x), net.colorize(x), atol=1e-5, rtol=0)


class _Gadget:
    """Unpickled without care, this would run a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "weights.pth"
    torch.save({"model": _Gadget(marker)}, path)
    with pytest.raises(WeightsFormatError):
        read_state(path)
    assert not marker.exists()


def test_our_weight_file_gives_what_was_trained(tmp_path: Path) -> None:
    net = DeOldify(TINY, LITE0).eval()
    net.load_state_dict(fill(net.state_dict(), "dev"))
    x = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        want = net.colorize(x)
    coding = {"mean": LITE0.mean, "std": LITE0.std}
    card = Card(model="artistic", config=net.card_config(), preprocessing=coding)
    write_state(tmp_path / "a.safetensors", fold_weight_norms(net).state_dict(), card)
    state, read = read_state(tmp_path / "a.safetensors")
    assert read is not None
    loaded = deoldify.load("artistic", state, read.config, read.preprocessing)
    with torch.inference_mode():
        # Kernels were rounded to float16, 11 bits, on the way.
        torch.testing.assert_close(loaded.colorize(x), want, atol=2e-2, rtol=0)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("size", [(34, 50), (62, 66), (16, 16), (2, 2)])
def test_any_even_size(half: bool, size: tuple[int, int]) -> None:
    net = DeOldify(UNetConfig("efficientnet_lite0", "wide", 0.0625, 0.1, half=half)).eval()
    with torch.inference_mode():
        assert net.colorize(torch.rand(1, 1, *size)).shape == (1, 3, *size)


def test_spectral_norm_is_pytorchs() -> None:
    """One training step of power iteration and the kernel it leads to."""
    ours = SpectralConv2d(5, 7, 3, pad=1, bias=True)
    theirs = nn.utils.spectral_norm(nn.Conv2d(5, 7, 3, padding=1))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 8, 8)
    for mode in (True, True, False):
        torch.testing.assert_close(ours.train(mode)(x), theirs.train(mode)(x))
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)


def test_spectral_norm_has_pytorchs_gradient() -> None:
    ours = SpectralConv2d(3, 4, 3, bias=False)
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3, bias=False))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 6, 6)
    for conv in (ours, theirs):
        conv(x).square().sum().backward()
    torch.testing.assert_close(ours.weight_orig.grad, theirs.weight_orig.grad)


def test_weight_norm_is_pytorchs() -> None:
    ours = WeightNormConv2d(5, 8)
    theirs = nn.utils.parametrizations.weight_norm(nn.Conv2d(5, 8, 1))
    theirs.load_state_dict(ours.state_dict())  # it renames the old keys itself
    x = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))


def test_attention_is_the_sum_over_queries() -> None:
    """Written out as DeOldify has it: softmax over the query's pixel."""
    attention = SelfAttention(16).eval()
    attention.gamma.data.fill_(0.5)
    x = torch.randn(2, 16, 3, 5)
    f = x.flatten(2)
    q, k, v = (conv(f) for conv in (attention.query, attention.key, attention.value))
    weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k), dim=1)
    want = 0.5 * torch.einsum("bci,bij->bcj", v, weights).view_as(x) + x
    torch.testing.assert_close(attention(x), want)


def test_attention_in_parts_is_the_same(monkeypatch) -> None:
    attention = SelfAttention(16).eval()
    attention.gamma.data.fill_(0.5)
    x = torch.randn(2, 16, 7, 5)
    want = attention(x)
    calls = []
    whole = layers.F.scaled_dot_product_attention

    def counted(query, *rest, **options):
        calls.append(query.shape[2])
        return whole(query, *rest, **options)

    monkeypatch.setattr(layers.F, "scaled_dot_product_attention", counted)
    monkeypatch.setattr(layers, "SCORES", 2 * 35 * 10)
    torch.testing.assert_close(attention(x), want)
    assert calls == [9, 9, 9, 8]


def test_batch_norms_fold_exactly_in_every_encoder() -> None:
    for name in ("resnet34", "efficientnet_lite0"):
        net = DeOldify(UNetConfig(name, "deep", 0.25, 0.1)).eval()
        net.load_state_dict(fill(net.state_dict(), "dev"))
        x = torch.rand(1, 3, 64, 64)
        with torch.inference_mode():
            want = net(x)
            torch.testing.assert_close(fold_batch_norms(net)(x), want, atol=1e-4, rtol=0)
