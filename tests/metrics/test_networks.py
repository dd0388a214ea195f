"""LPIPS and FID: by networks of the tests' own, and what is said where weights are missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from coloria.errors import (
    HashMismatchError,
    OfflineError,
    OptionError,
    WeightsFormatError,
    WeightsMissingError,
)
from coloria.metrics import get, networks
from coloria.metrics.fid import FrechetDistance
from coloria.metrics.lpips import alexnet, lpips
from coloria.metrics.networks import ALEXNET, INCEPTION, locate
from coloria.metrics.sets import merged

both = pytest.mark.parametrize(("name", "file"), [("lpips", ALEXNET), ("fid", INCEPTION)])


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of PyTorch's."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.delenv("COLORIA_OFFLINE", raising=False)
    alexnet.cache_clear()
    return tmp_path / "checkpoints"


def picture(seed: int, side: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


# ------------------------------------------------------------------ weights


@both
def test_missing_weights_are_said_before_any_work(name, file, hub: Path) -> None:
    for call in (get(name).check, get(name).metric):
        with pytest.raises(WeightsMissingError) as caught:
            call()
        for part in (file.url, str(hub / file.name), "--download"):
            assert part in str(caught.value)
    assert not hub.exists()


@both
def test_offline_is_respected(name, file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORIA_OFFLINE", "1")
    with pytest.raises(OfflineError, match=file.measure):
        get(name).check(download=True)


def test_a_wrong_download_leaves_nothing(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(urls, target, progress=None):
        target.write_bytes(b"something else")
        return "00" * 32

    monkeypatch.setattr(networks, "fetch", fetch)
    with pytest.raises(HashMismatchError, match=ALEXNET.begins):
        locate(ALEXNET, download=True)
    assert list(hub.iterdir()) == []


def test_weights_that_would_run_code_are_refused(hub: Path) -> None:
    hub.mkdir()
    torch.save({"weight": torch.zeros(1), "code": print}, hub / ALEXNET.name)
    with pytest.raises(WeightsFormatError):
        get("lpips").check()


# ------------------------------------------------------------------ LPIPS


def test_lpips_by_alexnet(hub: Path) -> None:
    """The whole way with random weights in the published layout: 0 for equal pictures, as the
    code of torchmetrics for others.
    """
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity
    from torchvision.models import alexnet as untrained

    torch.manual_seed(0)
    hub.mkdir()
    torch.save(untrained().state_dict(), hub / ALEXNET.name)
    one, other = picture(0), picture(1)
    assert lpips(one, one) == 0
    tensors = [torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1 for p in (one, other)]
    want = learned_perceptual_image_patch_similarity(*tensors, net_type="alex")
    assert lpips(one, other) == pytest.approx(float(want), rel=1e-5)
    with pytest.raises(OptionError, match="at least"):
        lpips(one[:40], other[:40])
    metric = get("lpips").metric()
    assert metric.title == "LPIPS (AlexNet)"


def test_lpips_by_a_network_of_ones_own_has_its_name() -> None:
    def network(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        assert one.min() >= -1
        assert one.max() <= 1
        return (one - other).abs().mean()

    metric = get("lpips").metric(network=network, name="pixels")
    assert metric.title == "LPIPS with pixels"
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    metric.update(black, white)
    assert metric.compute() == 2
    for options in ({"network": network}, {"name": "pixels"}):
        with pytest.raises(OptionError, match="name"):
            get("lpips").metric(**options)


# ------------------------------------------------------------------ FID


def corner(pictures: torch.Tensor) -> torch.Tensor:
    """Identity features: the four upper left values of red."""
    return pictures[:, 0, :2, :2].flatten(1).double()


def test_fid_of_two_gaussians_is_the_closed_form() -> None:
    """The same formula by scipy's matrix root, on the same samples."""
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 12, (4, 4))
    truths = (rng.normal(0, 1, (300, 4)) @ spread + 120).round().clip(0, 255)
    predictions = rng.normal([100, 110, 120, 130], [20, 5, 10, 15], (300, 4)).round().clip(0, 255)
    metric = FrechetDistance(corner, "four values")
    parts = [FrechetDistance(corner, "four values") for _ in range(2)]
    for i, (one, other) in enumerate(zip(predictions, truths, strict=True)):
        pair = []
        for values in (one, other):
            pixels = np.zeros((40, 40, 3), np.uint8)
            pixels[:2, :2, 0] = values.reshape(2, 2)
            pair.append(pixels)
        metric.update(*pair)
        parts[i % 3 == 0].update(*pair)
    shift = predictions.mean(0) - truths.mean(0)
    one, other = np.cov(predictions.T), np.cov(truths.T)
    want = shift @ shift + np.trace(one + other - 2 * np.real(sqrtm(one @ other)))
    assert want > 100
    assert metric.compute() == pytest.approx(want, rel=1e-9)
    assert merged(parts).compute() == pytest.approx(want, rel=1e-9)
    assert metric.title == "FID with four values"


def test_fid_of_the_same_set_is_nothing() -> None:
    metric = get("fid").metric(extractor=corner, name="four values")
    assert math.isnan(metric.compute())
    for seed in range(5):
        metric.update(picture(seed, 8), picture(seed, 8))
        if seed == 0:
            assert math.isnan(metric.compute())
    assert metric.compute() == pytest.approx(0, abs=1e-3)
    metric.reset()
    assert math.isnan(metric.compute())


def test_fid_never_has_the_published_name_by_another_network() -> None:
    for options in ({"extractor": corner}, {"name": "four values"}):
        with pytest.raises(OptionError, match="name"):
            get("fid").metric(**options)
