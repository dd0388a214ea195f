"""Everything that is missing is said in one message."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coloria.errors import DataError, TrainingError
from coloria.train.preflight import Preflight
from coloria.train.sources import resolve_sources


def test_nothing_missing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("")
    needs = Preflight()
    with needs.collect():
        resolve_sources(str(tmp_path))
    needs.gpus(torch.cuda.device_count())
    needs.extra("json", "train", "the log")  # noqa: S610 - not of Django
    needs.file(tmp_path / "weights.pth", "weights", "fetch them")
    needs.space(tmp_path / "not" / "yet", 1000)
    needs.check()


def test_all_that_is_missing_comes_in_one_message(tmp_path: Path) -> None:
    needs = Preflight()
    with needs.collect():
        resolve_sources(str(tmp_path / "photos"))
    needs.gpus(1000)
    needs.extra("no_such_module", "train", "the TensorBoard log")  # noqa: S610 - not of Django
    needs.file(tmp_path / "vgg.pth", "feature network", "fetch it with 'coloria weights download'")
    needs.space(tmp_path / "runs", 10**18)
    needs.add("one more")
    needs.add("one more")
    with pytest.raises(TrainingError) as caught:
        needs.check()
    title, *lines = str(caught.value).splitlines()
    assert not isinstance(caught.value, DataError)
    assert title == "training cannot start; 6 things are missing:"
    assert "photos (from --data) not found" in lines[0]
    assert "GPUs: wanted 1000" in lines[1]
    assert "pip install '.[train]'" in lines[2]
    assert lines[3].endswith("vgg.pth not found; fetch it with 'coloria weights download'")
    assert "needs about 1000000000.0 GB" in lines[4]
    assert lines[5] == "  - one more"


def test_missing_data_alone_are_a_data_error() -> None:
    needs = Preflight()
    with needs.collect():
        resolve_sources(None, None, {})
    with pytest.raises(DataError, match="training cannot start: no training data was given"):
        needs.check()


def test_other_errors_are_not_collected() -> None:
    with pytest.raises(ZeroDivisionError), Preflight().collect():
        1 / 0  # noqa: B018
