"""CIEDE2000 against the paper's own pairs, scikit-image and colour-science; both of our forms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import colour
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000

from coloria.errors import OptionError
from coloria.metrics import ciede2000_blocks
from coloria.metrics.ciede2000 import delta_e00, textbook

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
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
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
TABLE = np.array([line.split() for line in PAIRS.split("\n") if line], dtype=np.float64)
# Rows of hues exactly 180 degrees apart: the last bit of the hue decides.
EITHER = {9: 7.2195, 13: 4.7461}

FORMS: dict[str, Callable[..., torch.Tensor]] = {"blocks": delta_e00, "textbook": textbook}
both_forms = pytest.mark.parametrize("form", FORMS)
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def colors(count: int, seed: int, reach: float = 128) -> tuple[np.ndarray, np.ndarray]:
    """Pairs all over Lab; with `reach` beyond 128 also where no colour is."""
    rng = np.random.default_rng(seed)
    low, high = [-reach + 128, -reach, -reach], [reach - 28, reach, reach]
    return rng.uniform(low, high, (count, 3)), rng.uniform(low, high, (count, 3))


def adversarial(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs at the seams of the formula: close and equal colours, greys, hues on the axes, on both
    sides of red and nearly opposite, the blue region, signed zeros, beyond every gamut.
    """
    rng = np.random.default_rng(seed)
    one, other = colors(count, seed + 1)
    part = np.array_split(np.arange(count), 9)
    other[part[0]] = one[part[0]] + rng.normal(0, 1e-3, (len(part[0]), 3))
    other[part[1]] = one[part[1]]
    one[part[2], 1:] = 0.0
    other[part[2][::2], 1:] = -0.0
    axis = np.arange(len(part[3])) % 2
    one[part[3], 1 + axis], other[part[3], 2 - axis] = 0, -0.0  # a quarter turn apart
    for index, spread in ((4, 1e-2), (5, 1e-1)):  # nearly opposite, but not to the last bit
        turn = np.pi + rng.choice([-1, 1], len(part[index])) * rng.uniform(spread / 10, spread)
        rows = part[index]
        c, s = np.cos(turn), np.sin(turn)
        a, b = one[rows, 1], one[rows, 2]
        scale = rng.uniform(0.5, 2, len(rows))
        other[rows, 1], other[rows, 2] = scale * (c * a - s * b), scale * (s * a + c * b)
    for lab in (one, other):
        lab[part[6], 1:] = rng.normal([10, -70], 15, (len(part[6]), 2))  # blue
        lab[part[7], 1:] *= 3
        lab[part[8], 2] = rng.normal(0, 1e-4, len(part[8]))  # both sides of hue 0
    return one, other


def by_form(form: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return FORMS[form](torch.from_numpy(one), torch.from_numpy(other)).double().numpy()


# ------------------------------------------------------------------ the published table


@both_forms
@dtypes
def test_pairs_of_the_paper_both_ways_round(form: str, dtype: type) -> None:
    """The table has four decimals, and so has float32 here."""
    one, other = TABLE[:, :3].astype(dtype), TABLE[:, 3:6].astype(dtype)
    for got in (by_form(form, one, other), by_form(form, other, one)):
        for row, allowed in EITHER.items():
            assert min(abs(got[row] - v) for v in (TABLE[row, 6], allowed)) < 1e-4, row
        sure = [i for i in range(34) if i not in EITHER]
        np.testing.assert_allclose(got[sure], TABLE[sure, 6], atol=1e-4)


# ------------------------------------------------------------------ two other libraries


@both_forms
@pytest.mark.parametrize("make", [colors, adversarial])
@pytest.mark.parametrize(
    "count", [100_000, pytest.param(4_000_000, marks=pytest.mark.slow)], ids=["few", "millions"]
)
def test_float64_is_scikit_images(form: str, make: Callable[..., tuple], count: int) -> None:
    one, other = make(count, seed=7)
    want = deltaE_ciede2000(one, other)
    np.testing.assert_allclose(by_form(form, one, other), want, atol=1e-7)


@both_forms
@pytest.mark.parametrize("make", [colors, adversarial])
@pytest.mark.parametrize(
    "count", [100_000, pytest.param(4_000_000, marks=pytest.mark.slow)], ids=["few", "millions"]
)
def test_float64_is_colour_sciences(form: str, make: Callable[..., tuple], count: int) -> None:
    one, other = make(count, seed=8)
    want = colour.delta_E(one, other, method="CIE 2000")
    np.testing.assert_allclose(by_form(form, one, other), want, atol=1e-7)


@pytest.mark.parametrize("make", [colors, adversarial])
@pytest.mark.parametrize(
    "count", [200_000, pytest.param(4_000_000, marks=pytest.mark.slow)], ids=["few", "millions"]
)
def test_float32_is_near_float64(make: Callable[..., tuple], count: int) -> None:
    """On the same float32 inputs: 1e-3 is a thousandth of what can be seen."""
    one, other = (lab.astype(np.float32) for lab in make(count, seed=9))
    error = np.abs(delta_e00(one, other) - delta_e00(one.astype(float), other.astype(float)))
    assert np.quantile(error, 0.9999) < 1e-3


def test_weights() -> None:
    one, other = colors(1000, seed=3)
    want = deltaE_ciede2000(one, other, kL=2, kC=1.5, kH=0.7)
    np.testing.assert_allclose(delta_e00(one, other, 2, 1.5, 0.7), want, atol=1e-9)
    got = textbook(torch.from_numpy(one), torch.from_numpy(other), 2, 1.5, 0.7)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-9)


# ------------------------------------------------------------------ edges

lab_value = st.floats(-200, 200, width=32)
lab_color = st.tuples(st.floats(0, 100, width=32), lab_value, lab_value)


@given(lab_color, lab_color)
def test_any_pair(one: tuple, other: tuple) -> None:
    first, second = np.array([one]), np.array([other])
    got, turned = delta_e00(first, second), delta_e00(second, first)
    assert np.isfinite(got).all()
    assert (got >= 0).all()
    (a1, b1), (a2, b2) = one[1:], other[1:]
    along, across = a1 * a2 + b1 * b2, a1 * b2 - a2 * b1
    if along >= 0 or abs(across) > -1e-6 * along:  # not opposite
        assert got == pytest.approx(turned, abs=1e-6)
        assert got == pytest.approx(deltaE_ciede2000(first, second), abs=1e-6)


@dtypes
def test_exactly_opposite_hues_are_on_one_of_the_two_sides(dtype: type) -> None:
    turn = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    ab = 30 * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    one = np.concatenate([np.full((1000, 1), 50.0), ab], axis=-1).astype(dtype)
    other = one * np.array([1, -1, -1], dtype=dtype)
    sides = []
    for angle in (-1e-6, 1e-6):
        rotated = ab @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        beside = other.astype(float)
        beside[:, 1:] = -rotated
        sides.append(deltaE_ciede2000(one.astype(float), beside))
    got = delta_e00(one, other)
    assert np.minimum(*(np.abs(got - side) for side in sides)).max() < 1e-3


@both_forms
@dtypes
def test_equal_colors_and_greys(form: str, dtype: type) -> None:
    one = colors(1000, seed=5)[0].astype(dtype)
    assert by_form(form, one, one).max() == 0
    gray, brighter = np.array([[40.0, 0, 0]], dtype), np.array([[60.0, -0.0, 0]], dtype)
    want = deltaE_ciede2000(gray.astype(float), brighter.astype(float))
    assert by_form(form, gray, brighter) == pytest.approx(want, abs=1e-5)


@both_forms
def test_nan_stays_nan(form: str) -> None:
    one, other = colors(12, seed=6)
    for row in range(6):
        (one if row < 3 else other)[row, row % 3] = np.nan
    one[6] = [np.nan, 0, 0]
    other[7] = [50, np.nan, 0]
    one[7, 1:] = 0
    got = by_form(form, one, other)
    assert np.isnan(got[:8]).all()
    assert np.isfinite(got[8:]).all()


# ------------------------------------------------------------------ shapes and kinds


@pytest.mark.parametrize("shape", [(), (1,), (2,), (5, 7), (2, 3, 4, 6), (0, 4)])
@pytest.mark.parametrize("axis", [-1, 0, -3])
def test_every_shape_and_axis(shape: tuple[int, ...], axis: int) -> None:
    if axis == -3 and len(shape) < 2:
        axis = 0
    rng = np.random.default_rng(1)
    one, other = rng.uniform(0, 80, (2, *shape, 3))
    got = delta_e00(np.moveaxis(one, -1, axis), np.moveaxis(other, -1, axis), channel_axis=axis)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, deltaE_ciede2000(one, other), atol=1e-9)


def test_many_blocks_of_any_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks end anywhere, also where a row is longer than a block."""
    monkeypatch.setattr(ciede2000_blocks, "BLOCK_BYTES", 40 * 8)
    rng = np.random.default_rng(2)
    one, other = rng.uniform(0, 80, (2, 3, 33, 100, 3))
    for a, b in (
        (one, other),
        (one[:, ::2, 5:-7], other[:, ::2, 5:-7]),
        (one[:, ::-1], other[:, ::-1]),
        (one[0, 0, 0, None, None], other),
        (np.broadcast_to(one[:1], one.shape), other),
        (np.asfortranarray(one), other),
    ):
        np.testing.assert_allclose(
            delta_e00(a, b), deltaE_ciede2000(*np.broadcast_arrays(a, b)), atol=1e-9
        )


def test_kinds_of_numbers() -> None:
    one, other = np.array([50, 10, 20], dtype=np.int8), [60.0, -10.0, 5.0]
    want = deltaE_ciede2000(one.astype(float), other)
    assert delta_e00(one, other) == pytest.approx(want, abs=1e-9)
    assert delta_e00(one, torch.tensor(other)).dtype == torch.float32
    assert delta_e00(torch.tensor(other).half(), one).dtype == torch.float32
    assert delta_e00(torch.tensor(other).double(), torch.tensor(other)).dtype == torch.float64


def test_inputs_stay_as_they_are() -> None:
    one, other = colors(1000, seed=4)
    copies = one.copy(), other.copy()
    delta_e00(one, other)
    assert (one == copies[0]).all()
    assert (other == copies[1]).all()


@pytest.mark.parametrize(
    ("shape", "axis", "k"), [((4, 4), -1, 1), ((3, 4), -1, 1), ((3,), -3, 1), ((3,), -1, 0)]
)
def test_refusals(shape: tuple[int, ...], axis: int, k: float) -> None:
    with pytest.raises(OptionError, match=r"channel_axis|positive"):
        delta_e00(np.zeros(shape), np.zeros(shape), k, channel_axis=axis)


# ------------------------------------------------------------------ gradients


def test_gradients() -> None:
    one, other = (torch.from_numpy(lab).requires_grad_() for lab in adversarial(90, seed=11))
    clear = (delta_e00(one, other) > 1e-2) & (one[:, 1:].abs() > 1e-2).all(1)
    clear &= (other[:, 1:].abs() > 1e-2).all(1)
    assert clear.sum() > 30
    pairs = one[clear].detach().requires_grad_(), other[clear].detach().requires_grad_()
    assert torch.autograd.gradcheck(delta_e00, pairs, eps=1e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(dtype: torch.dtype) -> None:
    labs = [torch.from_numpy(lab).to(dtype) for lab in adversarial(9000, seed=12)]
    labs[0][0] = labs[1][0] = labs[1][1] = torch.tensor([50.0, 0.0, -0.0])
    one, other = (lab.requires_grad_() for lab in labs)
    difference = delta_e00(one, other)
    difference.sum().backward()
    for lab in (one, other):
        assert lab.grad is not None
        assert lab.grad.isfinite().all()
        assert lab.grad[0].eq(0).all()
    assert difference.detach().isfinite().all()


# ------------------------------------------------------------------ memory, devices

CHILD = """
import sys
from pathlib import Path
import torch
from coloria.metrics.ciede2000 import delta_e00
torch.set_num_threads(1)
side, axis = int(sys.argv[1]), int(sys.argv[2])
shape = (side, side, 3) if axis == -1 else (3, side, side)
one, other = torch.full(shape, 40.0), torch.full(shape, 41.0)
delta_e00(torch.rand(1000, 3), torch.rand(1000, 3))
def kilobytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = kilobytes("VmRSS")
result = delta_e00(one, other, channel_axis=axis)
print((kilobytes("VmHWM") - before) * 1024 / (2 * one.numel() * 4))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is Linux's")
@pytest.mark.parametrize("axis", [-1, -3])
def test_memory_stays_below_one_and_a_half_times_the_inputs(axis: int) -> None:
    """Peak of a process of its own; the inputs are 24 MB, so the process's own noise is small."""
    command = [sys.executable, "-c", CHILD, "1024", str(axis)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert 0.1 < float(done.stdout) < 1.5


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    one, other = (torch.from_numpy(lab) for lab in adversarial(1_000_000, seed=13))
    got = delta_e00(one.cuda(), other.cuda())
    assert got.is_cuda
    torch.testing.assert_close(got.cpu(), delta_e00(one, other), rtol=0, atol=1e-7)
