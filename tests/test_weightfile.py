"""Weight files: ours against safetensors and NumPy, published layouts, and hostile files."""

import json
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from coloria.errors import WeightsError, WeightsFormatError
from coloria.weightfile import (
    Card,
    atomic,
    looks_like_page,
    read_card,
    read_checkpoint,
    read_state,
    write_state,
)

CARD = Card(
    model="artistic",
    config={"encoder": "resnet34", "nf": 1.5},
    preprocessing={"input": "rgb", "mean": [0.485, 0.456, 0.406]},
    default_size=192,
    provenance={"recipe": "artistic-compact", "ΔE": 11.5},
    terms="for research: see the model card – ü",
)


def small_state():
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator) * 1e-6,
        "gamma": torch.tensor(0.1),
        "bn.num_batches_tracked": torch.tensor(7),
        "ids": torch.arange(6).reshape(2, 3),
        "mask": torch.tensor([[True, False]]),
        "layer/kernel": torch.randn(3, 5, generator=generator).T,  # not contiguous
    }


# --- ours ---------------------------------------------------------------------------------------


def test_stored_types_and_values_as_another_reader_sees_them(tmp_path):
    path, state = tmp_path / "w.safetensors", small_state()
    write_state(path, state, CARD)
    seen = load_file(path)
    assert set(seen) == set(state)
    for name, value in state.items():
        array = value.numpy()
        if value.is_floating_point():
            array = array.astype(np.float16 if array.ndim >= 2 else np.float32)
        assert seen[name].dtype == array.dtype
        np.testing.assert_array_equal(seen[name], array)


def test_metadata_is_one_key_of_json(tmp_path):
    write_state(tmp_path / "w.safetensors", small_state(), CARD)
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        metadata = file.metadata()
    assert set(metadata) == {"coloria"}
    card = json.loads(metadata["coloria"])
    assert card["format"] == 1
    assert card["provenance"] == {"recipe": "artistic-compact", "ΔE": 11.5}


def test_reading_gives_float32_and_the_card_back(tmp_path):
    path, state = tmp_path / "w.safetensors", small_state()
    write_state(path, state, CARD)
    back, card = read_state(path)
    assert card == CARD == read_card(path)
    for name, value in state.items():
        assert back[name].dtype == value.dtype
        assert back[name].shape == value.shape
        torch.testing.assert_close(back[name], value, rtol=2**-11, atol=2**-25)  # half an ulp
    assert torch.equal(back["conv.bias"], state["conv.bias"])


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_state(tmp_path / name, small_state(), CARD)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shared_parameters_arrays_and_gradients_are_written(tmp_path):
    shared = torch.nn.Parameter(torch.ones(2, 2))
    state = {"a": shared, "b": shared, "view": shared[0], "keras": np.full((2, 2), 0.5)}
    write_state(tmp_path / "w", state, CARD)
    back, _ = read_state(tmp_path / "w")
    assert torch.equal(back["a"], back["b"])
    assert back["keras"].dtype == torch.float32


@pytest.mark.parametrize("bad", [70_000.0, -70_000.0, float("inf"), float("nan")])
def test_what_float16_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, bad):
    path = tmp_path / "w.safetensors"
    write_state(path, small_state(), CARD)
    before = path.read_bytes()
    with pytest.raises(WeightsFormatError, match=r"'big'.*nothing was written"):
        write_state(path, {"big": torch.tensor([[1.0, bad]])}, CARD)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_vectors_may_exceed_float16(tmp_path):
    write_state(tmp_path / "w", {"running_var": torch.tensor([1e6])}, CARD)
    assert read_state(tmp_path / "w")[0]["running_var"].item() == 1e6


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "w", tmp_path / "folder"):
        with pytest.raises(WeightsError, match="cannot be written"):
            write_state(path, small_state(), CARD)
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


def test_atomic_leaves_nothing_when_its_block_fails(tmp_path):
    def failing():
        with atomic(tmp_path / "w") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert list(tmp_path.iterdir()) == []


# --- the card -----------------------------------------------------------------------------------


def test_the_card_is_read_without_a_framework(tmp_path):
    write_state(tmp_path / "w", small_state(), CARD)
    code = (
        "import sys; from coloria.weightfile import read_card; print(read_card(sys.argv[1]).model);"
        "assert not {'torch', 'safetensors', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "w"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "artistic\n"


def test_foreign_safetensors_has_no_card(tmp_path):
    save_file({"a": np.ones((2, 2), np.float16)}, tmp_path / "a", metadata={"format": "pt"})
    save_file({"a": np.ones((2, 2), np.float16)}, tmp_path / "b")
    for name in "ab":
        state, card = read_state(tmp_path / name)
        assert card is None
        assert state["a"].dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"format": 1}', "no 'model'"),
        ('{"model": "artistic"}', "no 'format'"),
        ('{"format": 2, "model": "artistic"}', "newer coloria"),
        ('{"format": true, "model": "artistic"}', "'format' is True"),
        ('{"format": 1, "model": "artistic", "config": []}', r"'config' is \[\], not dict"),
        ('{"format": 1, "model": "a", "default_size": "big"}', "not int or NoneType"),
    ],
)
def test_damaged_cards_are_named(tmp_path, text, message):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.ones(2, np.float32)}, path, metadata={"coloria": text})
    with pytest.raises(WeightsFormatError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)


def test_unknown_keys_of_a_card_are_passed_over():
    assert Card.from_json('{"format": 1, "model": "m", "later": 3}') == Card(model="m")


# --- published files ----------------------------------------------------------------------------


def save_as_released(path, state):
    """The layout of the published DeOldify files: legacy, CUDA tags, slices in the optimiser."""
    groups = [{"lr": slice(None, 0.003, None), "betas": (0.9, 0.99), "params": [i]} for i in (0, 1)]
    model = OrderedDict(state)
    model._metadata = OrderedDict([("", {"version": 1})])
    content = {"model": model, "opt": {"state": {}, "param_groups": groups}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    tagged = path.read_bytes().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert b"cuda:0" in tagged
    path.write_bytes(tagged)


def test_released_layout_loads(tmp_path):
    path, state = tmp_path / "ColorizeArtistic_gen.pth", small_state()
    save_as_released(path, state)
    with pytest.raises(pickle.UnpicklingError, match="slice"):  # why safe_globals is needed
        torch.load(path, map_location="cpu", weights_only=True)
    back, card = read_state(path)
    assert card is None is read_card(path)
    assert list(back) == list(state)
    for name, value in state.items():
        assert back[name].device.type == "cpu"
        assert torch.equal(back[name], value)
    assert slice not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_and_wrapped_state_dicts(tmp_path, zipped):
    state = {"a.weight": torch.ones(2, 2, dtype=torch.float16), "n": torch.tensor(3)}
    forms = {
        "plain": state,
        "fastai": {"model": state, "opt": None},
        "ddp": {f"module.{name}": value for name, value in state.items()},
    }
    for name, content in forms.items():
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
        back, _ = read_state(tmp_path / name)
        assert {k: v.dtype for k, v in back.items()} == {
            "a.weight": torch.float32,
            "n": torch.int64,
        }


def test_module_prefix_stays_when_not_all_have_it(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w")
    assert set(read_state(tmp_path / "w")[0]) == {"module.a", "b"}


def test_positional_lists_are_left_to_the_caller(tmp_path):
    """The averaged parameters that torch_ema writes."""
    content = {"decay": 0.999, "num_updates": 5, "shadow_params": [torch.ones(2)]}
    torch.save(content, tmp_path / "EG_EMA_011.ckpt")
    loaded = read_checkpoint(tmp_path / "EG_EMA_011.ckpt")
    assert torch.equal(loaded["shadow_params"][0], torch.ones(2))
    with pytest.raises(WeightsFormatError, match="the checkpoint they belong to"):
        read_state(tmp_path / "EG_EMA_011.ckpt")


def test_what_is_not_a_tensor_is_named(tmp_path):
    torch.save({"weight": torch.ones(2), "decay": 0.999}, tmp_path / "w.pth")
    with pytest.raises(WeightsFormatError, match="'decay' is a float, not a tensor"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[torch.ones(1)], {}, {1: torch.ones(1)}, torch.ones(2)])
def test_what_is_not_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsFormatError, match="state_dict"):
        read_state(tmp_path / "w.pth")


# --- hostile and broken files -------------------------------------------------------------------


class Gadget:
    """Unpickled, it runs a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def gadgets(marker):
    write = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Gadget(os.system, f"touch {marker}"),
        "exec": Gadget(exec, write),
        "subprocess": Gadget(subprocess.check_call, ["touch", str(marker)]),
    }


def save_hostile(path, gadget, form):
    content = {"model": OrderedDict(w=torch.ones(1)), "opt": gadget}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["pickle", "legacy", "zip"])
@pytest.mark.parametrize("kind", ["os.system", "exec", "subprocess"])
def test_malicious_pickles_do_not_run(tmp_path, form, kind):
    marker, path = tmp_path / "marker", tmp_path / "ColorizeArtistic_gen.pth"
    save_hostile(path, gadgets(marker)[kind], form)
    with pytest.raises(WeightsFormatError, match=r"not a PyTorch file|could run code: refused"):
        read_state(path)
    assert not marker.exists()


def test_the_refusal_names_the_object(tmp_path):
    save_hostile(tmp_path / "w.pth", Gadget(os.system, "true"), "zip")
    with pytest.raises(WeightsFormatError, match=r"Python object (posix|nt)\.system"):
        read_state(tmp_path / "w.pth")


def test_the_gadget_does_run_where_loading_is_unsafe(tmp_path):
    """Otherwise the tests above would prove nothing."""
    save_hostile(tmp_path / "w.pth", gadgets(tmp_path / "marker")["exec"], "zip")
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html>", b"\n\n  <html>", b"\xef\xbb\xbf<?xml version='1.0'?>"]
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_web_pages_are_called_web_pages(tmp_path, page, name):
    assert looks_like_page(page)
    (tmp_path / name).write_bytes(page)
    for read in (read_state, read_card):
        with pytest.raises(WeightsFormatError, match="web page"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a PyTorch file"),
        (struct.pack("<Q", 10**12) + b"{}", "not a PyTorch file"),
        (struct.pack("<Q", 1000) + b"{}", "truncated"),
        (struct.pack("<Q", 3) + b"{,}", "damaged header"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsFormatError, match=message):
        read_state(tmp_path / "w")


@pytest.mark.parametrize("kind", ["ours", "zip", "legacy", "released"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_truncated_files_are_refused(tmp_path, kind, share):
    path = tmp_path / "w"
    if kind == "ours":
        write_state(path, small_state(), CARD)
    elif kind == "released":
        save_as_released(path, small_state())
    else:
        torch.save(small_state(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsFormatError, match="fetch it again"):
        read_state(path)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(WeightsFormatError, match="cannot be read"):
            read_state(path)


def test_read_checkpoint_is_for_pytorch_files(tmp_path):
    write_state(tmp_path / "w", small_state(), CARD)
    with pytest.raises(WeightsFormatError, match="is safetensors"):
        read_checkpoint(tmp_path / "w")
