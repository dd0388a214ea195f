"""CIEDE2000 against the paper's own pairs and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000

from coloria.metrics.ciede2000 import delta_e00

# Sharma, Wu & Dalal 2005, table 1: L1 a1 b1 L2 a2 b2 and the difference.
PAIRS = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
# Pair 14 stands alone: the hues lie 180 degrees apart, and the last bit of arctan2 decides.
PAIR_14 = (50.0, -0.0010, 2.4900, 50.0, 0.0010, -2.4900)


def columns(values: np.ndarray, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures (3, N, 1) of rows L1 a1 b1 L2 a2 b2."""
    tensor = torch.from_numpy(values).to(dtype).T[..., None]
    return tensor[:3], tensor[3:6]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pairs_of_the_paper(dtype: torch.dtype) -> None:
    table = np.array([line.split() for line in PAIRS.split("\n") if line], dtype=np.float64)
    one, other = columns(table, dtype)
    for got in (delta_e00(one, other), delta_e00(other, one)):
        np.testing.assert_allclose(got[:, 0].numpy(), table[:, 6], atol=1e-4)


def test_pair_14_is_one_of_the_two_it_may_be() -> None:
    one, other = columns(np.array([PAIR_14]), torch.float64)
    assert min(abs(float(delta_e00(one, other)) - v) for v in (4.8045, 4.7461)) < 1e-4


def test_a_million_random_pairs_are_scikit_images() -> None:
    rng = np.random.default_rng(0)
    low, high = [0, -128, -128] * 2, [100, 128, 128] * 2
    values = rng.uniform(low, high, (1_000_000, 6))
    one, other = columns(values, torch.float64)
    want = deltaE_ciede2000(values[:, :3], values[:, 3:])
    np.testing.assert_allclose(delta_e00(one, other)[:, 0].numpy(), want, atol=1e-9)


def test_equal_colours_and_greys() -> None:
    lab = torch.rand(3, 8, 8) * 50
    assert float(delta_e00(lab, lab).max()) == 0
    gray = torch.tensor([40.0, 0, 0]).view(3, 1, 1)
    brighter = torch.tensor([60.0, -0.0, 0]).view(3, 1, 1)
    want = deltaE_ciede2000([40.0, 0, 0], [60.0, 0, 0])
    assert float(delta_e00(gray, brighter)) == pytest.approx(float(want), abs=1e-5)


def test_leading_dimensions_are_kept() -> None:
    assert delta_e00(torch.rand(2, 5, 3, 4, 6), torch.rand(2, 5, 3, 4, 6)).shape == (2, 5, 4, 6)
