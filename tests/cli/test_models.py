"""``coloria models``: what the table says is what the registry and the store know."""

import io
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from coloria import weights
from coloria.cli.models import _mark, megabytes, models
from coloria.models.registry import MODELS
from coloria.released import generators
from coloria.weightfile import read_card


def run(*arguments):
    result = CliRunner().invoke(models, arguments)
    assert result.exception is None, result.exception
    return result.stdout


def rows(text):
    """Cells of each line but the first; a cell ends at two spaces."""
    return {line.split()[0]: line for line in text.splitlines()[1:]}


def test_every_model_has_its_line():
    lines = rows(run())
    assert list(lines) == list(MODELS)
    for name, model in MODELS.items():
        assert model.summary in lines[name]
        assert all(alias in lines[name] for alias in model.aliases)
        assert ("absent" if generators(name) else "none") in lines[name]


def test_the_state_follows_the_cache():
    path = weights.path_of("stable")
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(874_066_230)  # the published size; sparse
    assert "present, 874 MB" in rows(run())["stable"]
    assert "absent, 255 MB" in rows(run())["artistic"]


def test_embedded_weights_are_measured(monkeypatch, tiny_weights):
    monkeypatch.setattr(
        weights, "embedded", lambda model: tiny_weights if model == "artistic" else None
    )
    size = Path(tiny_weights).stat().st_size
    first, *others = json.loads(run("--json"))
    assert first["embedded"]["bytes"] == size
    assert first["embedded"]["terms"] == read_card(tiny_weights).terms
    assert [record["embedded"] for record in others] == [None] * (len(MODELS) - 1)
    assert f"{size / 1e6:.1f} MB" in rows(run())["artistic"]


def test_json_names_every_released_file():
    stable = next(record for record in json.loads(run("--json")) if record["name"] == "stable")
    assert [file["name"] for file in stable["released"]] == ["stable", "video"]
    assert stable["architecture"]["resnet"] == 101
    assert stable["aliases"] == ["stablex"]


def test_the_comparison_is_the_one_by_architecture():
    text = run("--table")
    assert text.split("\n")[0].split() == [
        *("model", "U-Net", "ResNet-34", "ResNet-101", "CNN", "GAN", "supervised", "parameters")
    ]
    lines = rows(text)
    assert lines["artistic"].split()[1:] == ["✓", "✓", "–", "–", "✓", "–", "63.6", "M"]
    assert lines["stable"].split()[1:] == ["✓", "–", "✓", "–", "✓", "–", "218.2", "M"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_the_parameters_are_those_of_the_network(name):
    """Without the u and v of spectral norms, which are buffers."""
    net = MODELS[name].family().build(name)
    seen = sum(p.numel() for p in net.parameters())
    assert seen == MODELS[name].architecture.parameters


def test_marks_on_a_terminal_without_them(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp437"))
    assert (_mark(True), _mark(False)) == ("x", "-")


def test_sizes():
    assert [megabytes(n) for n in (None, 9_640_000, 255_144_681)] == ["?", "9.6 MB", "255 MB"]
