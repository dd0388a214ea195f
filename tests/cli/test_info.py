"""``coloria info``: each fact compared with what the system itself says."""

import json
import platform
import subprocess
import sys
from importlib import metadata

import pytest
import torch
from click.testing import CliRunner

from coloria import weights
from coloria.cli import info as module
from coloria.cli.info import info


def run(*arguments):
    result = CliRunner().invoke(info, arguments)
    assert result.exception is None, result.exception
    return result.stdout


def test_versions_are_the_installed_ones():
    facts = json.loads(run("--json"))
    assert facts["python"] == platform.python_version()
    for name, version in facts["packages"].items():
        assert version == metadata.version(name)


def test_what_auto_picks_is_what_a_computation_gets():
    facts = json.loads(run("--json"))
    from coloria.device import pick_device, pick_precision

    where = pick_device("auto")
    assert facts["auto_device"] == where.type
    assert facts["auto_precision"] == str(pick_precision("auto", where)).split(".")[1]


@pytest.mark.parametrize(
    ("able", "dtype", "why"),
    [
        ({}, "float32", "neither AMX nor AVX512-BF16"),
        ({"avx512_bf16": True}, "bfloat16", "AVX512-BF16"),
        ({"avx512_bf16": True, "amx_bf16": True}, "bfloat16", "AMX and AVX512-BF16"),
    ],
    ids=["old", "avx512", "amx"],
)
def test_the_reason_is_the_processor(monkeypatch, able, dtype, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    line = next(line for line in run().splitlines() if line.startswith("precision"))
    assert f"{dtype}: this CPU has {why}" in line


def test_threads_are_those_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = subprocess.run(
        [sys.executable, "-m", "coloria", "info", "--json"],
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["threads"] == 1


def test_the_cache_and_what_is_in_it(monkeypatch):
    assert "no released weights in it" in run()
    path = weights.path_of("artistic")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"short")
    facts = json.loads(run("--json"))
    assert facts["cache"]["folder"] == str(path.parent)
    assert [(f["name"], f["state"]) for f in facts["cache"]["files"]] == [("artistic", "damaged")]
    assert "artistic: damaged" in run()
    assert "COLORIA_OFFLINE" in run()
    monkeypatch.setenv("COLORIA_OFFLINE", "0")
    assert "COLORIA_OFFLINE" not in run()


def test_embedded_weights_are_named(monkeypatch, tiny_weights):
    monkeypatch.setattr(weights, "embedded", lambda model: tiny_weights)
    assert "embedded:   artistic (" in run()


def test_a_missing_extra_has_its_install_line(monkeypatch):
    wanted = ["numpy>=1", "absent-package>=2; extra == 'scan'", 'click; extra == "train"']
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    lines = run().splitlines()
    assert "extra:      train: installed" in lines
    line = next(line for line in lines if "scan" in line and "extra" in line)
    assert "absent-package missing" in line
    assert "pip install '.[scan]'" in line


def test_the_extras_are_those_of_the_project():
    assert {"train", "scan"} <= set(json.loads(run("--json"))["extras"])


def test_a_copy_that_pip_does_not_know(monkeypatch):
    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "requires", unknown)
    assert json.loads(run("--json"))["extras"] == {}
