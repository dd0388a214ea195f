"""Rebalancing and the class loss against values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coloria.models.bins import gamut_bins
from coloria.train.classes import (
    class_loss,
    class_weights,
    count_classes,
    count_photos,
    smooth_prior,
)
from coloria.train.data import Photos

PAIR = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
FAR = torch.tensor([[0.0, 0.0], [50.0, 0.0]])


def test_smoothing_by_hand() -> None:
    """Counts 3 and 1, ten apart, sigma 5: each gets exp(-2) of the other's share."""
    leak = math.exp(-2)
    first, second = 0.75 + leak * 0.25, 0.25 + leak * 0.75
    wanted = [first / (first + second), second / (first + second)]
    assert smooth_prior(torch.tensor([3.0, 1.0]), PAIR, 5.0).tolist() == pytest.approx(wanted)
    assert wanted == pytest.approx([0.690399, 0.309601], abs=1e-6)


def test_nothing_counted_is_uniform() -> None:
    assert smooth_prior(torch.zeros(2), PAIR, 5.0).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("share", "wanted"),
    # Shares 3/4 and 1/4 of two classes. Lambda 1/2: 1/0.625 and 1/0.375, over their mean
    # 0.75/0.625 + 0.25/0.375. Lambda 0: 1/0.75 and 1/0.25 over 2. Lambda 1: all the same.
    [(0.5, [6 / 7, 10 / 7]), (0.0, [2 / 3, 2.0]), (1.0, [1.0, 1.0])],
)
def test_weights_by_hand(share: float, wanted: list[float]) -> None:
    prior = torch.tensor([0.75, 0.25])
    weights = class_weights(prior, share)
    assert weights.tolist() == pytest.approx(wanted)
    assert float((prior * weights).sum()) == pytest.approx(1)


def test_weights_over_all_bins_average_to_one_and_favour_the_rare() -> None:
    prior = smooth_prior(torch.rand(313).double(), gamut_bins(), 5.0)
    weights = class_weights(prior, 0.5)
    assert float((prior * weights).sum()) == pytest.approx(1)
    assert weights.argmax() == prior.argmin()


def picture(*columns: float) -> torch.Tensor:
    """(1, 2, 4, 4 n): a* of each 4 x 4 square."""
    a = torch.tensor(columns).repeat_interleave(4)
    return torch.stack([a.expand(4, -1), torch.zeros(4, len(a))])[None]


def test_loss_by_hand() -> None:
    """Two pixels, of the classes 0 and 1, told apart with probabilities 1/4 and 3/4."""
    logits = torch.tensor([[0.25, 0.75], [0.75, 0.25]]).log().T.reshape(1, 2, 1, 2)
    ab = picture(0.0, 50.0)
    plain = class_loss(logits, ab, FAR, 1, 5.0)
    assert float(plain) == pytest.approx(math.log(4))
    weighted = class_loss(logits, ab, FAR, 1, 5.0, torch.tensor([0.5, 3.0]))
    assert float(weighted) == pytest.approx(math.log(4) * 3.5 / 2)


def test_soft_loss_by_hand() -> None:
    """(4, 0) belongs to both: 0.5987 and 0.4013. Weight: that of the nearest, the first."""
    logits = torch.tensor([0.25, 0.75]).log().reshape(1, 2, 1, 1)
    ab = picture(4.0).clone()
    ab[0, 1, 3, 3] = 6.0  # not grey; not among every fourth pixel
    loss = class_loss(logits, ab, PAIR, 2, 5.0, torch.tensor([2.0, 7.0]))
    wanted = 2 * (0.598688 * math.log(4) + 0.401312 * math.log(4 / 3))
    assert float(loss) == pytest.approx(wanted, abs=1e-5)


def test_grey_pictures_teach_nothing() -> None:
    """No |a*|, |b*| above 5: neither loss nor gradient, and no share in the mean."""
    logits = torch.zeros(2, 2, 1, 1, requires_grad=True)
    ab = torch.cat([picture(5.0), picture(50.0)])
    loss = class_loss(logits, ab, FAR, 1, 5.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2))
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].abs().max() > 0


def test_only_grey_pictures_give_zero() -> None:
    assert float(class_loss(torch.zeros(1, 2, 1, 1), picture(1.0), FAR, 1, 5.0)) == 0


def test_loss_falls_to_the_entropy_of_the_target() -> None:
    """Cross-entropy is least when the prediction is the soft target itself."""
    target = torch.tensor([0.598688, 0.401312])
    ab = picture(4.0).clone()
    ab[0, 1, 3, 3] = 6.0
    at = float(class_loss(target.log().reshape(1, 2, 1, 1), ab, PAIR, 2, 5.0))
    assert at == pytest.approx(float(-(target * target.log()).sum()), abs=1e-5)
    off = float(class_loss(torch.tensor([0.7, 0.3]).log().reshape(1, 2, 1, 1), ab, PAIR, 2, 5.0))
    assert off > at


def test_counting() -> None:
    colours = torch.tensor([[1.0, 1], [9, 0], [200, 0], [-3, 0]])
    assert count_classes(colours, PAIR).tolist() == [2, 2]


def test_photographs_are_counted_by_their_colours(tmp_path: Path) -> None:
    """One red and one grey picture: sRGB red is a* 80.1, b* 67.2, so bin (80, 70)."""
    Image.new("RGB", (100, 80), (255, 0, 0)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 64), (90, 90, 90)).save(tmp_path / "b.png")
    photos = Photos.find([tmp_path], min_colorfulness=0)
    bins = gamut_bins()
    counts = count_photos(photos, bins, 10)
    assert {tuple(bins[i].tolist()) for i in counts.nonzero()[:, 0]} == {(80, 70), (0, 0)}
    assert counts.sum() == 64 * 51 + 64 * 64
    assert np.count_nonzero(count_photos(photos, bins, 1)) == 1
