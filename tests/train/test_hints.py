"""Simulated hints: how many, where, how large, and of which colour."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coloria.train.hints import Hint, draw_hints, place_hints


def test_their_number_is_geometric() -> None:
    """Probability 1/8 of none, 7/64 of one; mean 7."""
    numbers = [len(draw_hints(np.random.default_rng(i), 64, 1 / 8)) for i in range(4000)]
    assert np.mean(numbers) == pytest.approx(7, abs=0.5)
    assert numbers.count(0) / 4000 == pytest.approx(1 / 8, abs=0.02)
    assert numbers.count(1) / 4000 == pytest.approx(7 / 64, abs=0.02)


def test_stop_one_means_none_and_a_count_is_kept() -> None:
    rng = np.random.default_rng(0)
    assert draw_hints(rng, 64, 1.0) == []
    assert len(draw_hints(rng, 64, 1.0, count=10)) == 10


def test_they_lie_inside_mostly_in_the_middle() -> None:
    hints = draw_hints(np.random.default_rng(0), 96, 1.0, count=4000)
    sides = np.array([h.side for h in hints])
    assert set(sides.tolist()) == set(range(1, 10))
    tops = np.array([h.top for h in hints])
    assert tops.min() >= 0
    assert (tops + sides).max() <= 96
    # Normal about the middle with a quarter of the room as deviation.
    assert tops.mean() == pytest.approx(45.5, abs=1.5)
    assert tops.std() == pytest.approx(23, abs=1.5)


def test_small_pictures_get_small_hints() -> None:
    hints = draw_hints(np.random.default_rng(0), 4, 1.0, count=100)
    assert all(h.top + h.side <= 4 and h.left + h.side <= 4 for h in hints)


def test_colour_is_the_mean_under_the_square() -> None:
    ab = torch.zeros(2, 2, 8, 8)
    ab[0, 0, 2, 3], ab[0, 1] = 40.0, -20.0
    colours, mask = place_hints(ab, [[Hint(2, 2, 2)], []])
    assert mask.sum() == 4
    assert mask[0, 0, 2:4, 2:4].eq(1).all()
    assert colours[0, :, 3, 3].tolist() == [10, -20]
    assert colours[0].masked_fill(mask[0].bool(), 0).abs().max() == 0
    assert colours[1].abs().max() == 0


def test_the_later_hint_holds() -> None:
    ab = torch.arange(16.0).view(1, 1, 4, 4).repeat(1, 2, 1, 1)
    colours, _ = place_hints(ab, [[Hint(0, 0, 4), Hint(1, 1, 1)]])
    assert colours[0, 0, 1, 1] == 5
    assert colours[0, 0, 0, 0] == 7.5
