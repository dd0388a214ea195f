"""Batches are a function of (seed, epoch, position), whoever makes them and wherever they begin."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from coloria.errors import DataError, OptionError
from coloria.train.augment import Augment, center_crop, crop, luma, rotate
from coloria.train.data import Photos
from coloria.train.film import Film
from coloria.train.loader import Batch, Batches

SIZES = [(40, 30), (30, 44), (64, 64), (25, 25)]


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """21 smooth colourful photographs of mixed sizes; nothing is cached."""
    for k in range(21):
        coarse = np.random.default_rng(k).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(SIZES[k % 4], Image.Resampling.BILINEAR)
        image.save(tmp_path / f"p{k:02}.png")
    return Photos.find([tmp_path], cache_bytes=0)


def make(photos: Photos, **options: Any) -> Batches:
    usual: dict[str, Any] = {"size": 24, "batch": 4, "seed": 5, "drop_last": True}
    return Batches(photos, **usual | {"augment": Augment(), "film": Film()} | options)


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.gray, b.gray)
        and torch.equal(a.rgb, b.rgb)
        and a.names == b.names
        and a.indices.tolist() == b.indices.tolist()
        for a, b in zip(first, second, strict=True)
    )


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("coloria-data")]


# ------------------------------------------------------------------ what a batch is


def test_a_batch(photos: Photos) -> None:
    batches = make(photos)
    made = list(batches.epoch(0))
    assert len(made) == len(batches) == 5
    for batch in made:
        assert (batch.gray.shape, batch.rgb.shape) == ((4, 1, 24, 24), (4, 3, 24, 24))
        for values in (batch.gray, batch.rgb):
            assert values.dtype == torch.float32
            assert values.is_contiguous()
            assert torch.equal(values, values.mul(255).round() / 255)
            assert 0 <= float(values.min()) <= float(values.max()) <= 1
        assert batch.names == tuple(photos.names[i] for i in batch.indices)
    used = [i for batch in made for i in batch.indices.tolist()]
    assert len(set(used)) == 20


def test_without_film_grey_is_pillows_luma_of_the_truth(photos: Photos) -> None:
    for batch in make(photos, film=None).epoch(0):
        for gray, rgb in zip(batch.gray, batch.rgb, strict=True):
            pixels = rgb.permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
            wanted = np.asarray(Image.fromarray(pixels).convert("L"))
            np.testing.assert_array_equal(gray[0].mul(255).round().numpy(), wanted)


def test_luma_is_pillows_for_every_kind_of_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    pixels[0, :2] = [[0, 0, 0], [255, 255, 255]]
    gray = luma(torch.from_numpy(pixels).permute(2, 0, 1)[None].float())
    np.testing.assert_array_equal(gray[0, 0], np.asarray(Image.fromarray(pixels).convert("L")))


def test_film_never_touches_the_truth(photos: Photos) -> None:
    plain = list(make(photos, film=None).epoch(0))
    aged = list(make(photos, film=Film(share=1.0)).epoch(0))
    for a, b in zip(plain, aged, strict=True):
        assert torch.equal(a.rgb, b.rgb)
        assert not torch.equal(a.gray, b.gray)


def test_film_keeps_to_its_share(photos: Photos) -> None:
    def greys(film: Film | None) -> torch.Tensor:
        batches = make(photos, film=film)
        return torch.cat([batch.gray for epoch in range(10) for batch in batches.epoch(epoch)])

    plain, aged = greys(None), greys(Film(share=0.5))
    changed = (plain != aged).flatten(1).any(1).float().mean()
    # of the half that has effects, one in 24 draws none of the six: 0.48; 200 samples
    assert float(changed) == pytest.approx(0.48, abs=0.12)


def test_validation_is_the_central_square_in_order(photos: Photos) -> None:
    batches = make(photos, augment=None, film=None, drop_last=False, batch=8)
    made = list(batches.epoch(0))
    assert [len(batch.gray) for batch in made] == [8, 8, 5]
    assert [n for batch in made for n in batch.names] == photos.names
    assert same(made, list(batches.epoch(3)))
    square = photos.read(2)[20:44, 20:44]  # of 64 x 64
    exact = crop(photos.read(2), center_crop((64, 64)), 64)
    np.testing.assert_array_equal(exact[20:44, 20:44], square)
    tall = Image.fromarray(photos.read(1)).crop((0, 7, 30, 37))  # of 30 x 44
    wanted = np.asarray(tall.resize((24, 24), Image.Resampling.BICUBIC))
    # two levels: at its edges, resampling sees what lies beyond the crop
    np.testing.assert_allclose(made[0].rgb[1].permute(1, 2, 0).mul(255), wanted, atol=2)


# ------------------------------------------------------------------ determinism


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 5}, {"workers": 3, "prefetch": 1}])
def test_threads_change_nothing(photos: Photos, options: dict[str, int]) -> None:
    assert same(list(make(photos).epoch(2)), list(make(photos, **options).epoch(2)))


def test_slow_reads_change_nothing(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = list(make(photos).epoch(0))
    read = Photos.read

    def slow(self: Photos, i: int) -> np.ndarray:
        time.sleep(0.003 * (i * 7 % 5))
        return read(self, i)

    monkeypatch.setattr(Photos, "read", slow)
    assert same(usual, list(make(photos, workers=4).epoch(0)))


@pytest.mark.parametrize("start", range(6))
def test_an_epoch_can_be_entered_anywhere(photos: Photos, start: int) -> None:
    batches = make(photos)
    assert same(list(batches.epoch(1))[start:], list(batches.epoch(1, start)))


def test_skipped_batches_are_not_read(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, reads = make(photos), []
    read = Photos.read
    monkeypatch.setattr(Photos, "read", lambda self, i: (reads.append(i), read(self, i))[1])
    list(batches.epoch(0, 4))
    assert sorted(reads) == sorted(batches.order(0)[16:20].tolist())


def test_seed_and_epoch_change_everything(photos: Photos) -> None:
    first = list(make(photos).epoch(0))
    assert not same(first, list(make(photos).epoch(1)))
    assert not same(first, list(make(photos, seed=6).epoch(0)))


def test_a_sample_does_not_depend_on_its_batch(photos: Photos) -> None:
    def by_name(batches: Batches) -> dict[str, torch.Tensor]:
        return {
            name: gray
            for batch in batches.epoch(0)
            for name, gray in zip(batch.names, batch.gray, strict=True)
        }

    small, large = by_name(make(photos, batch=1)), by_name(make(photos, batch=10))
    assert len(large) == 20
    for name, gray in large.items():
        torch.testing.assert_close(gray, small[name], rtol=0, atol=1.01 / 255)


def test_a_share_is_another_part_each_epoch(photos: Photos) -> None:
    batches = make(photos, share=0.4, drop_last=False)
    parts = [set(batches.order(epoch).tolist()) for epoch in range(12)]
    assert {len(part) for part in parts} == {8}
    assert len(batches) == 2
    assert len({frozenset(part) for part in parts}) > 10
    assert set.union(*parts) == set(range(21))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch(photos: Photos, world: int) -> None:
    alone = make(photos, batch=2 * world)
    ranks = [make(photos, batch=2, rank=rank, world=world) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(alone)}
    for whole, *parts in zip(alone.epoch(0), *(rank.epoch(0) for rank in ranks), strict=True):
        together = [i for part in parts for i in part.indices.tolist()]
        assert sorted(together) == sorted(whole.indices.tolist())


# ------------------------------------------------------------------ when something goes wrong


def test_a_vanished_file_comes_out_named(photos: Photos) -> None:
    batches = make(photos)
    Path(photos.names[batches.order(0)[9]]).unlink()
    epoch = batches.epoch(0)
    next(epoch), next(epoch)
    with pytest.raises(DataError, match=Path(photos.names[batches.order(0)[9]]).name):
        next(epoch)
    assert threads() == []


def test_abandoned_iterators_end_their_threads(photos: Photos) -> None:
    iterator = make(photos, workers=3).epoch(0)
    next(iterator)
    assert len(threads()) == 3
    del iterator
    gc.collect()
    assert threads() == []


def test_closing_does_not_wait_for_whole_batches(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = Photos.read

    def slow(self: Photos, i: int) -> np.ndarray:
        time.sleep(0.02)
        reads.append(i)
        return read(self, i)

    monkeypatch.setattr(Photos, "read", slow)
    epoch = make(photos, batch=10, workers=1).epoch(0)
    next(epoch)
    epoch.close()  # type: ignore[attr-defined]
    assert 10 <= len(reads) <= 15


def test_a_finished_epoch_ends_its_threads(photos: Photos) -> None:
    list(make(photos).epoch(0))
    assert threads() == []


def test_prefetch_is_bounded(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = Photos.read
    monkeypatch.setattr(Photos, "read", lambda self, i: (reads.append(i), read(self, i))[1])
    epoch = make(photos, batch=2, prefetch=2).epoch(0)
    next(epoch)
    time.sleep(0.3)
    assert len(reads) <= 2 * 3  # the one that was taken and two ahead
    epoch.close()  # type: ignore[attr-defined]


def test_waiting_is_counted(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = make(photos, workers=1, prefetch=1)
    read = Photos.read
    monkeypatch.setattr(Photos, "read", lambda self, i: (time.sleep(0.03), read(self, i))[1])
    list(batches.epoch(0))
    assert batches.wait_s > 0.15  # 20 reads of 30 ms by one thread
    assert 0 < batches.busy_s < 1


def test_too_few_for_one_batch(photos: Photos) -> None:
    with pytest.raises(DataError, match="21 photographs do not fill one batch of 8 in each of 3"):
        make(photos, batch=8, world=3)


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"batch": 0}, {"share": 0}, {"share": 1.5}, {"rank": 1}, {"workers": 0}]
)
def test_numbers_out_of_range(photos: Photos, wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        make(photos, **wrong)


def test_no_such_batch(photos: Photos) -> None:
    with pytest.raises(OptionError, match=r"0\.\.5, got 6"):
        next(make(photos).epoch(0, 6))


# ------------------------------------------------------------------ augmentation


def test_crops_stay_inside_and_vary(photos: Photos) -> None:
    augment = Augment()
    shares, aspects = [], []
    for k in range(500):
        draw = augment.draw(np.random.default_rng(k), (120, 80))
        left, top, right, bottom = draw.box
        assert -1e-9 <= left < right <= 120 + 1e-9
        assert -1e-9 <= top < bottom <= 80 + 1e-9
        shares.append((right - left) * (bottom - top))
        aspects.append((right - left) / (bottom - top))
    assert min(aspects) >= 1 / 1.25 - 1e-9
    assert max(aspects) <= 1.25 + 1e-9
    assert max(aspects) > 1.2
    assert min(aspects) < 0.83
    assert min(shares) < 0.45 * 80 * 80 < 0.9 * 80 * 80 < max(shares)


def test_rotation_turns_about_the_middle() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    angle = 10.0
    turned = rotate(torch.stack([x, y])[None], torch.tensor([angle]))[0]
    shrink = 1 / (np.cos(np.deg2rad(angle)) + np.sin(np.deg2rad(angle)))
    cos, sin = np.cos(np.deg2rad(angle)) * shrink, np.sin(np.deg2rad(angle)) * shrink
    # the ramps are linear, so bilinear sampling of them is exact: positions of the sources
    torch.testing.assert_close(turned[0], (cos * x - sin * y).float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(turned[1], (sin * x + cos * y).float(), rtol=0, atol=1e-4)
    assert float(turned.abs().max()) <= 1


def test_no_augmentation_is_no_change() -> None:
    still = Augment((1, 1), 1.0, flip=0, rotate=0, lighting=0, saturation=0)
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    draw = still.draw(np.random.default_rng(0), (32, 32))
    np.testing.assert_array_equal(crop(photo, draw, 32), photo)
    mirrored = Augment((1, 1), 1.0, flip=1, rotate=0, lighting=0, saturation=0)
    draw = mirrored.draw(np.random.default_rng(0), (32, 32))
    np.testing.assert_array_equal(crop(photo, draw, 32), photo[:, ::-1])


def test_lighting_moves_the_logit_and_keeps_hue_order() -> None:
    lit = Augment((1, 1), 1.0, flip=0, rotate=0, lighting=1, saturation=0)
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    for k in range(20):
        draw = lit.draw(np.random.default_rng(k), (16, 16))
        values = crop(ramp, draw, 16)[..., 0].ravel().astype(float)
        assert (np.diff(values) >= 0).all()
        inner = slice(40, 216)
        logit = np.log((np.arange(256) + 0.5) / (255.5 - np.arange(256)))[inner]
        wanted = 256 / (1 + np.exp(-(logit * draw.factor + draw.shift))) - 0.5
        np.testing.assert_allclose(values[inner], wanted, atol=0.51)
        assert values[0] <= 3
        assert values[-1] >= 252


@pytest.mark.gpu
def test_a_gpu_makes_the_same_batches(photos: Photos) -> None:
    on_cpu, on_gpu = make(photos), make(photos, device="cuda")
    for a, b in zip(on_cpu.epoch(0), on_gpu.epoch(0), strict=True):
        assert b.gray.device.type == b.rgb.device.type == "cuda"
        assert a.names == b.names
        # rotation and blur may round to the next level; JPEG spreads that within its block
        assert float((a.rgb - b.rgb.cpu()).abs().max()) <= 1.01 / 255
        assert float((a.gray - b.gray.cpu()).abs().mean()) <= 0.2 / 255
