"""Scan borders, synthesised around photographs that come with scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.color import rgb2gray
from skimage.transform import rotate

from coloria.borders import MAX_DEPTH, Box, find_border
from coloria.images import read

SIDES = ("top", "bottom", "left", "right")


def gray(picture: np.ndarray) -> np.ndarray:
    return (rgb2gray(picture) * 255).round().astype(np.uint8) if picture.ndim == 3 else picture


PHOTOGRAPHS = {
    "coffee": gray(data.coffee()),
    "chelsea": gray(data.chelsea()),
    "astronaut": gray(data.astronaut()),
}
WITHOUT = {**PHOTOGRAPHS, "camera": data.camera(), "coins": data.coins(), "moon": data.moon()}


def framed(photograph: np.ndarray, depths: dict[str, int], tone: int, noise: int = 0) -> np.ndarray:
    around = [(depths.get(a, 0), depths.get(b, 0)) for a, b in (SIDES[:2], SIDES[2:])]
    result = np.pad(photograph, around, constant_values=tone)
    outside = np.pad(np.zeros_like(photograph, bool), around, constant_values=True)
    shake = np.random.default_rng(0).integers(-noise, noise + 1, result.shape)
    return np.where(outside, result + shake, result).clip(0, 255).astype(np.uint8)


def depths_of(box: Box, picture: np.ndarray) -> dict[str, int]:
    height, width = picture.shape
    return dict(
        zip(SIDES, (box.top, height - box.bottom, box.left, width - box.right), strict=True)
    )


@pytest.mark.parametrize("name", WITHOUT)
def test_photograph_without_border_is_whole(name: str) -> None:
    picture = WITHOUT[name]
    assert find_border(picture) == Box.whole(read(picture))


@given(
    name=st.sampled_from(sorted(PHOTOGRAPHS)),
    sides=st.dictionaries(st.sampled_from(SIDES), st.integers(8, 36), max_size=4),
    tone=st.sampled_from([2, 30, 235, 253]),
    noise=st.integers(0, 6),
)
@settings(max_examples=25, deadline=None)
def test_each_side_is_found_on_its_own(
    name: str, sides: dict[str, int], tone: int, noise: int
) -> None:
    photograph = PHOTOGRAPHS[name].clip(60, 190)  # so that the edge is one everywhere
    picture = framed(photograph, sides, tone, noise)
    found = depths_of(find_border(picture), picture)
    for side in SIDES:
        assert found[side] == pytest.approx(sides.get(side, 0), abs=2)


def test_content_that_fades_into_the_edge_is_found_where_most_of_the_side_shows_it() -> None:
    picture = framed(PHOTOGRAPHS["chelsea"], dict.fromkeys(SIDES, 20), 4, 2)
    found = depths_of(find_border(picture), picture)
    assert all(abs(depth - 20) <= 6 for depth in found.values()), found


def test_film_edge_on_white_paper() -> None:
    film = framed(PHOTOGRAPHS["chelsea"].clip(60, 190), dict.fromkeys(SIDES, 12), 6, 3)
    picture = framed(film, dict.fromkeys(SIDES, 15), 250, 2)
    found = depths_of(find_border(picture), picture)
    assert all(abs(depth - 27) <= 3 for depth in found.values()), found


def test_handwriting_and_holes_do_not_hide_a_border() -> None:
    picture = framed(PHOTOGRAPHS["coffee"].clip(60, 190), dict.fromkeys(SIDES, 30), 8, 3)
    picture[-22:-8, 200:330] = np.random.default_rng(1).choice([8, 240], (14, 130))
    for start in range(20, 560, 60):
        picture[3:20, start : start + 15] = 90
    found = depths_of(find_border(picture), picture)
    assert all(abs(depth - 30) <= 3 for depth in found.values()), found


@pytest.mark.parametrize("degrees", [-0.6, 0.6])
def test_a_slightly_turned_print(degrees: float) -> None:
    picture = framed(PHOTOGRAPHS["chelsea"].clip(60, 190), dict.fromkeys(SIDES, 25), 5)
    turned = (rotate(picture / 255, degrees, mode="edge") * 255).astype(np.uint8)
    found = depths_of(find_border(turned), turned)
    assert all(19 <= depth <= 31 for depth in found.values()), found


def test_sixteen_bits_give_the_same() -> None:
    picture = framed(PHOTOGRAPHS["coffee"], dict.fromkeys(SIDES, 20), 8, 3)
    assert find_border(picture.astype(np.uint16) * 257) == find_border(picture)


@pytest.mark.parametrize("tone", [5, 250])
def test_night_sky_and_studio_wall_stay(tone: int) -> None:
    """A plain background that reaches deep, with a ragged outline, is part of the picture."""
    height, width = 400, 500
    columns = np.arange(width)
    outline = 34 + 25 * np.sin(columns / 40) + 8 * np.sin(columns / 7)
    scene = np.full((height, width), 128) + np.random.default_rng(0).integers(-40, 40, (400, 500))
    below = np.arange(height)[:, None] >= outline
    picture = np.where(below, scene, tone).astype(np.uint8)
    assert find_border(picture).top == 0


def test_gradual_shade_stays() -> None:
    """Vignetting has no edge."""
    ramp = np.linspace(0, 200, 200)[:, None] + np.zeros((1, 300))
    assert find_border(ramp.astype(np.uint8)) == Box(0, 200, 0, 300)


def test_a_dark_texture_stays() -> None:
    """Foliage in shadow may end at a straight wall, but it is not plain."""
    picture = framed(PHOTOGRAPHS["chelsea"].clip(100, 190), {"top": 30}, 0)
    picture[:30] = np.random.default_rng(0).choice([2, 24, 24, 46], (30, picture.shape[1]))
    assert find_border(picture).top == 0


def test_deeper_than_the_limit_stays() -> None:
    picture = framed(PHOTOGRAPHS["coffee"].clip(60, 190), {"top": 120}, 5)
    assert MAX_DEPTH * len(picture) < 120
    assert find_border(picture).top == 0


@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    tone=st.integers(0, 255),
    sixteen=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_plain_pictures_of_any_size_are_whole(
    height: int, width: int, tone: int, sixteen: bool
) -> None:
    picture = np.full((height, width), tone, np.uint16 if sixteen else np.uint8)
    assert find_border(picture) == Box(0, height, 0, width)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_something_is_always_left(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.choice(np.array([0, 0, 0, 128, 255], np.uint8), (height, width))
    box = find_border(picture)
    assert box.height >= (1 - 2 * MAX_DEPTH) * height - 2
    assert box.width >= (1 - 2 * MAX_DEPTH) * width - 2
    assert picture[box.slices].shape == (box.height, box.width)


def test_extreme_aspect() -> None:
    assert find_border(np.zeros((1, 20000), np.uint8)) == Box(0, 1, 0, 20000)
    picture = framed(np.full((40, 5000), 128, np.uint8), {"left": 50}, 5)
    assert find_border(picture) == Box(0, 40, 50, 5050)
