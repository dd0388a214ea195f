"""A worker process, asked as the server asks it: how much memory it may have."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from webtools import photo

from coloria.errors import OutOfMemoryError
from coloria.web.orders import Color, Done, Load
from coloria.web.worker import Studio

LOAD = Load(model="artistic", weights="embedded")
LEAST_MB = 1300
"""Enough to colour at a usual size in float32, not at the largest."""


def order(folder, name, size, **more):
    fields = {"name": name, "tone": {}, "keep_location": False, "max_pixels": 10**8, "size": size}
    fields |= {"source": str(folder / name), "model": "artistic", "weights": "embedded"}
    stems = {"stem": f"{folder}/{name}-{size}", "original_stem": f"{folder}/{name}-o"}
    return Color(**fields | stems | more)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce the limit")
def test_a_picture_that_needs_too_much_memory_fails_alone(tmp_path):
    (tmp_path / "large.png").write_bytes(photo(1000, 2000, format="PNG"))
    (tmp_path / "small.png").write_bytes(photo(format="PNG"))
    (tmp_path / "deep.tif").write_bytes(photo(12_000, 8_000, format="TIFF", compression="tiff_lzw"))
    orders = [order(tmp_path, "large.png", 1024), order(tmp_path, "deep.tif", 64)]
    command = [sys.executable, "-m", "coloria.web.worker", "cpu", "fp32", str(LEAST_MB * 10**6)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin
        assert worker.stdout

        def ask(message):
            worker.stdin.write(message.model_dump_json().encode() + b"\n")
            worker.stdin.flush()
            while (answer := json.loads(worker.stdout.readline()))["kind"] == "progress":
                pass
            return answer

        assert ask(LOAD)["kind"] == "done"
        large = ask(orders[0])["problem"]
        assert (large["code"], large["file"]) == ("out_of_memory", "large.png")
        assert "render_size" not in large["message"]
        assert ask(order(tmp_path, "small.png", 64))["kind"] == "done"
        ask(orders[1])
        assert ask(order(tmp_path, "small.png", 96))["kind"] == "done"
        peak = resident_peak_mb(worker.pid)
        worker.stdin.close()
    assert peak < LEAST_MB + 300  # code and weights that are mapped are not counted by the limit


def resident_peak_mb(pid):
    """The most that it ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


@pytest.mark.parametrize(("others", "kind"), [(1, "done"), (0, "failed")])
def test_models_that_are_not_needed_make_room(tmp_path, monkeypatch, others, kind):
    studio = Studio("cpu", "fp32", 10**10)
    wanted, tried = ("artistic", "embedded"), []
    studio.loaded = {wanted: "wanted"} | {(f"{i}", "released"): "other" for i in range(others)}

    def do(order, progress):
        tried.append(dict(studio.loaded))
        if len(studio.loaded) > 1 or not others:
            raise OutOfMemoryError("no room")
        return Done()

    monkeypatch.setattr(studio, "do", do)
    answer = studio.answer(order(tmp_path, "a.png", 64), lambda share: None)
    assert answer.kind == kind
    assert studio.loaded == {wanted: "wanted"}
    assert len(tried) == 1 + others
