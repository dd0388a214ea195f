"""`zhang` against the listing it follows, its forms, and what Keras leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coloria.errors import MissingExtraError, WeightsMismatchError
from coloria.keras_backend import keras
from coloria.models import zhang
from coloria.models.zhang import ZhangConfig, network
from coloria.weightfile import Card, write_state

PICTURES = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)


def listing() -> Any:
    """The network as its report lists it, in blocks of Sequential, at any size."""
    layers, sequential = keras().layers, keras().Sequential

    def down(filters: int, norm: bool) -> Any:
        block = sequential([layers.Conv2D(filters, (3, 3), padding="same", strides=2)])
        if norm:
            block.add(layers.BatchNormalization())
        block.add(layers.LeakyReLU())
        return block

    def up(filters: int) -> Any:
        conv = layers.Conv2DTranspose(filters, (3, 3), padding="same", strides=2)
        return sequential([conv, layers.LeakyReLU()])

    inputs = layers.Input(shape=[None, None, 3])
    d1 = down(128, False)(inputs)
    d2 = down(128, False)(d1)
    d3 = down(256, True)(d2)
    d4 = down(512, True)(d3)
    d5 = down(512, True)(d4)
    u1 = layers.concatenate([up(512)(d5), d4])
    u2 = layers.concatenate([up(256)(u1), d3])
    u3 = layers.concatenate([up(128)(u2), d2])
    u4 = layers.concatenate([up(128)(u3), d1])
    u5 = layers.concatenate([up(3)(u4), inputs])
    return keras().Model(inputs, layers.Conv2D(3, (2, 2), strides=1, padding="same")(u5))


def test_it_is_the_network_of_the_listing() -> None:
    one, other = network(ZhangConfig()), listing()
    assert one.count_params() == other.count_params() == 9_602_766
    rng = np.random.default_rng(0)
    values = [0.1 * rng.random(w.shape, np.float32) for w in other.weights]
    other.set_weights(values)
    one.set_weights(values)  # in the same order: that of the way through the network
    got, want = (keras().ops.convert_to_numpy(m(PICTURES, training=False)) for m in (one, other))
    assert got.shape == PICTURES.shape
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


def test_the_compact_form_is_the_same_with_fewer_filters(tmp_path: Path) -> None:
    net = zhang.build("zhang", {"width": 0.5})
    filters = [layer.filters for layer in net.model.layers if hasattr(layer, "filters")]
    assert filters == [64, 64, 128, 256, 256, 256, 128, 64, 64, 3, 3]
    path = tmp_path / "compact.safetensors"
    write_state(path, zhang.tensors(net), Card("zhang", {"width": 0.5}))
    assert path.stat().st_size < 6e6


def test_dropout_stands_before_the_activation_and_is_off_by_default() -> None:
    tiny = ZhangConfig(0.0625)
    with_it, without = network(tiny, dropout=0.2), network(tiny)
    names = [layer.name for layer in with_it.layers]
    for number in range(1, 6):
        place = names.index(f"up{number}_dropout")
        assert names[place - 1 : place + 2] == [
            f"up{number}_conv", f"up{number}_dropout", f"up{number}_relu"
        ]  # fmt: skip
    assert not any("dropout" in layer.name for layer in without.layers)
    zhang.assign(without, zhang.variables(with_it))
    same = [keras().ops.convert_to_numpy(m(PICTURES, training=False)) for m in (with_it, without)]
    assert np.array_equal(*same)


def test_grey_goes_in_and_colour_comes_out_unclipped() -> None:
    net = zhang.build("zhang", {"width": 0.0625})
    net.model.get_layer("output").bias.assign([2.0, 0.0, -1.0])
    net.model.get_layer("output").kernel.assign(np.zeros((2, 2, 6, 3), np.float32))
    rgb = net.colorize(torch.rand(2, 1, 32, 64))
    assert rgb.shape == (2, 3, 32, 64)
    assert rgb[:, 0].unique().tolist() == [2.0]
    assert rgb[:, 2].unique().tolist() == [-1.0]


def test_other_sides_are_drawn_out_and_cut_again() -> None:
    net = zhang.build("zhang", {"width": 0.0625})
    gray = torch.rand(1, 1, 40, 64)
    drawn = torch.cat([gray, gray[:, :, -1:].expand(-1, -1, 24, -1)], dim=2)
    assert torch.equal(net.colorize(gray), net.colorize(drawn)[:, :, :40])


def test_weights_of_another_network_are_refused() -> None:
    state = zhang.tensors(zhang.build("zhang", {"width": 0.0625}))
    with pytest.raises(WeightsMismatchError, match="down1_conv/bias"):
        zhang.load("zhang", state, {"width": 0.5})
    with pytest.raises(WeightsMismatchError, match="'artistic'"):
        zhang.load("zhang", {"layers.4.conv1.0.weight": torch.zeros(1)}, {"width": 0.0625})


def run(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    kept |= {"HOME": str(home), "MPLCONFIGDIR": str(home.parent), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=kept
    )


@pytest.mark.slow
def test_importing_keras_leaves_no_file_and_takes_pytorch(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = "from coloria import keras_backend as k; print(k.backend())"
    done = run(code, home)
    assert done.stdout == "torch\n", done.stderr
    assert list(home.rglob("*")) == []


@pytest.mark.slow
def test_a_settings_file_of_the_user_stays(tmp_path: Path) -> None:
    settings = tmp_path / "home" / ".keras" / "keras.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"image_data_format": "channels_first", "backend": "tensorflow"}')
    code = (
        "from coloria.models import zhang; import torch\n"
        "print(zhang.build('zhang', {'width': 0.0625}).colorize(torch.zeros(1, 1, 32, 32)).shape)"
    )
    done = run(code, tmp_path / "home")
    assert done.stdout == "torch.Size([1, 3, 32, 32])\n", done.stderr
    assert settings.is_file()


def test_a_missing_tensorflow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from coloria import keras_backend

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(keras_backend, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[tensorflow\]'"):
        keras()
