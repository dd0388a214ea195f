"""The colour classes against the published table and against values worked out by hand."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from coloria.models.bins import annealed_mean, gamut_bins, grid_bins, soft_encode

# pts_in_hull.npy of junyanz/interactive-deep-colorization (MIT), also pinned by Open Model Zoo.
PUBLISHED = "b5dec01315c34f43f1c8c089e84c45ae35d1838d8e77ed0e7ca930f79ffa450e"

PAIR = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 20.0]])


def npy(values: np.ndarray) -> bytes:
    """As NumPy wrote it then: the header filled up to 80 bytes, not to 128 as today."""
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {values.shape}, }}"
    return b"\x93NUMPY\x01\x00\x46\x00" + header.ljust(69).encode() + b"\n" + values.tobytes()


def test_bins_are_the_published_file_byte_for_byte() -> None:
    assert hashlib.sha256(npy(gamut_bins().numpy().astype("<i8"))).hexdigest() == PUBLISHED


def test_bins_have_the_published_order() -> None:
    bins = gamut_bins()
    assert bins.shape == (313, 2)
    assert bins[120].tolist() == [0, 0]
    assert bins.mean(0).tolist() == pytest.approx([15.69, 6.68], abs=0.005)


def test_grid_is_23_by_23_and_holds_every_bin() -> None:
    grid = grid_bins()
    assert grid.shape == (529, 2)
    # Index a_bin * 23 + b_bin, from -110 in steps of 10.
    assert grid[11 * 23 + 12].tolist() == [0, 10]
    assert {tuple(b) for b in gamut_bins().tolist()} <= {tuple(b) for b in grid.tolist()}


def test_soft_encoding_by_hand() -> None:
    """(4, 0) is 4 from the first bin and 6 from the second: weights exp(-16/50), exp(-36/50)."""
    index, weights = soft_encode(torch.tensor([[4.0, 0.0]]), PAIR, 2, 5.0)
    assert index.tolist() == [[0, 1]]
    first, second = math.exp(-16 / 50), math.exp(-36 / 50)
    wanted = [first / (first + second), second / (first + second)]
    assert weights[0].tolist() == pytest.approx(wanted, abs=1e-6)
    assert wanted == pytest.approx([0.598688, 0.401312], abs=1e-6)


def test_sigma_is_a_parameter() -> None:
    """Twice sigma, a quarter of the exponents: exp(-20/200) of the nearest's weight is left."""
    _, weights = soft_encode(torch.tensor([[4.0, 0.0]]), PAIR, 2, 10.0)
    assert float(weights[0, 1] / weights[0, 0]) == pytest.approx(math.exp(-20 / 200), abs=1e-6)


def test_one_neighbour_is_a_hard_class() -> None:
    index, weights = soft_encode(torch.tensor([[6.0, 1.0], [-50.0, 90.0]]), PAIR, 1, 5.0)
    assert index.tolist() == [[1], [2]]
    assert weights.tolist() == [[1], [1]]


def test_neighbours_are_the_nearest_of_all_313() -> None:
    """Against SciPy's tree, on colours in and outside the bins."""
    from scipy.spatial import KDTree

    colours = np.random.default_rng(0).uniform(-110, 110, (500, 2)).astype(np.float32)
    distance, _ = KDTree(gamut_bins().numpy()).query(colours, k=5)
    index, weights = soft_encode(torch.from_numpy(colours), gamut_bins(), 5, 5.0)
    own = (torch.from_numpy(colours)[:, None] - gamut_bins()[index]).norm(dim=2)
    np.testing.assert_allclose(own.numpy(), distance, atol=1e-3)
    wanted = np.exp(-(distance**2 - distance[:, :1] ** 2) / 50)
    np.testing.assert_allclose(weights.numpy(), wanted / wanted.sum(1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(
    ("temperature", "wanted"),
    # Probabilities 1/4 and 3/4; to the power 1/T and normalised: 1/4, 3/4; 1/10, 9/10; 0, 1.
    [(1.0, 7.5), (0.5, 9.0), (0.01, 10.0), (1e3, 5.0)],
)
def test_annealed_mean_by_hand(temperature: float, wanted: float) -> None:
    logits = torch.tensor([0.25, 0.75]).log().view(1, 2, 1, 1)
    mean = annealed_mean(logits, PAIR[:2], temperature)
    assert mean.flatten().tolist() == pytest.approx([wanted, 0], abs=0.01)


def test_annealed_mean_at_the_papers_temperature() -> None:
    """3^(1/0.38) = 18.015: (0 + 18.015 * 10) / 19.015."""
    logits = torch.tensor([0.25, 0.75]).log().view(1, 2, 1, 1)
    mean = annealed_mean(logits, PAIR[:2], 0.38)
    assert float(mean[0, 0]) == pytest.approx(9.4741, abs=1e-3)
