"""The table of measures: what its rows promise holds for each of them."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from coloria.errors import MissingExtraError, UnknownNameError
from coloria.metrics import table
from coloria.metrics.sets import MeanOver, merged
from coloria.metrics.table import MEASURES, get, names

WITHOUT_WEIGHTS = [name for name in MEASURES if name not in ("lpips", "fid")]
every_measure = pytest.mark.parametrize("name", WITHOUT_WEIGHTS)


def pictures(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, 256, (count, 24, 32, 3)).astype(np.uint8)
    noise = rng.integers(-20, 21, truths.shape)
    return list(zip((truths + noise).clip(0, 255).astype(np.uint8), truths, strict=True))


def test_names_and_aliases_lead_to_one_measure_each() -> None:
    every = [a.casefold() for m in MEASURES.values() for a in {m.name, *m.aliases}]
    assert len(every) == len(set(every))
    assert names() == list(MEASURES)
    for alias in ("ciede2000", "deltaE00", "DELTAe00", "dE00", "delta_e00", "de2000", "ΔE00"):
        assert get(alias).name == "ciede2000"
    assert get("CF").name == "colorfulness"


def test_unknown_name_has_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'psnr'"):
        get("pnsr")


def test_the_table_loads_no_framework() -> None:
    code = (
        "import sys, coloria.metrics; coloria.metrics.get('deltaE00'); "
        "assert not {'torch', 'numpy', 'colour', 'torchmetrics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@every_measure
def test_equal_pictures_are_best(name: str) -> None:
    measure = get(name)
    metric = measure.metric()
    for _, truth in pictures(3):
        metric.update(truth, truth)
    best = {"psnr": math.inf, "ssim": 1.0, "auc": 100.0}
    if measure.better == "none":
        assert metric.compute() > 0
    else:
        assert metric.compute() == pytest.approx(best.get(name, 0.0), abs=1e-9)


@every_measure
def test_a_set_is_the_same_in_any_parts(name: str) -> None:
    """Three processes with unequal shares, sent by pickle, in another order."""
    pairs = pictures(7)
    whole = get(name).metric()
    for pair in pairs:
        whole.update(*pair)
    parts = [get(name).metric() for _ in range(3)]
    for part, share in zip(parts, (pairs[5:], pairs[1:5], pairs[:1]), strict=True):
        for pair in share:
            part.update(*pair)
    together = merged([pickle.loads(pickle.dumps(part)) for part in parts])
    assert together.compute() == whole.compute()
    assert together.title == get(name).title
    together.reset()
    assert math.isnan(together.compute())


@every_measure
def test_the_figure_of_a_set_is_that_of_its_pictures(name: str) -> None:
    measure = get(name)
    if measure.scope == "set":
        return
    pairs = pictures(3)
    function, metric = measure.load(), measure.metric()
    for pair in pairs:
        metric.update(*pair)
    of_truth = measure.scope == "pair"
    one_by_one = [function(*pair) if of_truth else function(pair[0]) for pair in pairs]
    assert all(type(value) is float for value in one_by_one)
    assert metric.compute() == pytest.approx(sum(one_by_one) / 3, rel=1e-12)
    assert isinstance(metric, MeanOver)


@pytest.mark.parametrize("name", [m.name for m in MEASURES.values() if m.extra])
def test_without_the_extra_it_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "find_spec", lambda package: None)
    for call in (get(name).check, get(name).load, get(name).metric):
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[eval\]'"):
            call()


def test_base_measures_need_no_extra() -> None:
    base = {m.name for m in MEASURES.values() if m.extra is None}
    assert base == {
        "ciede2000",
        "psnr",
        "colorfulness",
        "colorfulness-absolute",
        "delta-colorfulness",
        "delta-colorfulness-mean",
        "auc",
        "ab-mse",
    }
