"""Progress on a terminal and in a log file; times in the report's form."""

from __future__ import annotations

import csv
import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from coloria.train.preflight import PlannedStage, plan_table
from coloria.train.progress import Progress
from coloria.train.timing import StageTime, Timing, clock, timing_table


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=120, _environ={}), out


def rendered(table: object) -> str:
    screen, out = console(False)
    screen.print(table)
    return out.getvalue()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip()[1:-1].split("│")]


def test_plain_lines_now_and_then() -> None:
    screen, out = console(False)
    with Progress("gen-64", 6, done=2, console=screen, every=3600) as bar:
        bar.advance(8, loss=0.123456)
        bar.note("[checkpoint] written")
        for _ in range(3):
            bar.advance(8)
    lines = out.getvalue().splitlines()
    assert lines[0] == "[checkpoint] written"
    assert re.fullmatch(r"gen-64: 6/6  [\d.]+ pictures/s  00:00:00 left  loss 0\.1235", lines[1]), (
        lines
    )
    assert len(lines) == 2


def test_a_line_a_step_when_asked() -> None:
    screen, out = console(False)
    with Progress("a", 3, console=screen, every=0) as bar:
        for _ in range(3):
            bar.advance()
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["1/3", "2/3", "3/3"]


def test_time_left_comes_from_the_steps_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    screen, out = console(False)
    with Progress("a", 1000, done=800, console=screen, every=10) as bar:
        now = 1050.0
        for _ in range(50):
            bar.advance(2)  # one step a second, 149 steps left after the first 51
        now = 1051.0
        bar.advance(2)
        now = 1061.0
        bar.advance(2)
    assert out.getvalue().splitlines() == [
        "a: 801/1000  0.0 pictures/s  02:45:50 left",
        "a: 852/1000  1.7 pictures/s  00:02:54 left",
    ]


def test_a_bar_on_a_terminal() -> None:
    screen, out = console(True)
    with Progress("gen [64]", 2, console=screen) as bar:
        bar.advance(8, loss=0.5)
        bar.advance(8, loss=0.25)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "gen [64]" in text
    assert "2/2" in text
    assert "pictures/s" in text
    assert "loss 0.25" in text


def test_quiet_is_quiet() -> None:
    for terminal in (False, True):
        screen, out = console(terminal)
        with Progress("a", 1, console=screen, every=0, quiet=True) as bar:
            bar.advance()
            bar.note("b")
        assert out.getvalue() == ""


def test_nothing_is_added_after_an_error() -> None:
    screen, out = console(False)
    bar = Progress("a", 9, console=screen, every=3600)
    with pytest.raises(KeyboardInterrupt), bar:
        raise KeyboardInterrupt
    assert out.getvalue() == ""


# ------------------------------------------------------------------ times


def test_times_are_written_as_in_the_report() -> None:
    assert [clock(s) for s in (0, 59.6, 5564, 36 * 3600 + 61)] == [
        "00:00:00",
        "00:01:00",
        "01:32:44",  # the report's figure 1, Stable at 64 px
        "36:01:01",
    ]


def test_time_and_waiting_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    stage = StageTime("gen-64", 64)
    with stage.running():
        with stage.wait():
            now += 1
        now += 3
        stage.step(8)
        assert stage.seconds == 4
        now += 6
    assert (stage.seconds, stage.waiting, stage.steps, stage.pictures) == (10, 1, 1, 8)
    assert (stage.rate, stage.wait_share) == (0.8, 0.1)
    now += 100  # an interruption
    with stage.running():
        now += 5
    assert stage.seconds == 15


def test_a_stage_that_is_left_out_has_a_question_mark(tmp_path: Path) -> None:
    timing = Timing(tmp_path / "timing.csv")
    stage = timing.stage("gen-64", 64)
    stage.seconds, stage.waiting, stage.steps, stage.pictures, stage.epochs = 5564, 556, 9, 1800, 1
    timing.skip("gen-128", 128)
    lines = rendered(timing_table(list(timing.stages.values()))).splitlines()
    wanted = ["gen-64", "64", "1,800", "1", "9", "01:32:44", "0.3", "10%"]
    assert cells(lines[4]) == wanted
    assert cells(lines[5]) == ["gen-128", "128", "", "", "", "?", "", ""]
    timing.write()
    with timing.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["seconds"], row["skipped"]) for row in rows] == [
        ("gen-64", "5564", "False"),
        ("gen-128", "0.0", "True"),
    ]
    again = Timing(timing.path)
    again.load_state_dict(timing.state_dict())
    assert again.stages == timing.stages
    assert again.stage("gen-64", 64).steps == 9


def test_the_plan_has_sums() -> None:
    stages = [
        PlannedStage("gen-64", 64, 88, 1, 1000, 88_000, 2 * 10**9),
        PlannedStage("gen-128", 128, 22, 2, 8000, 176_000, note="skipped"),
    ]
    lines = rendered(plan_table(stages)).splitlines()
    assert cells(lines[4]) == ["gen-64", "64", "88", "1", "1,000", "88,000", "2.0 GB", ""]
    assert cells(lines[5])[-1] == "skipped"
    assert cells(lines[7]) == ["all", "", "", "", "9,000", "264,000", "", ""]
