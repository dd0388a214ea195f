"""The command as a whole: exit codes, errors, interruption, pipes, completion."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import coloria
from coloria.cli import main
from coloria.cli.main import COMMANDS, cli
from coloria.errors import DeviceError, OfflineError, OptionError

COMMAND = [sys.executable, "-m", "coloria"]


def run(*arguments, **more):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, **more
    )


@pytest.fixture
def failing(monkeypatch):
    """Puts a command `fail` into the table that raises what one likes."""

    def make(error):
        @click.command()
        def fail():
            raise error

        monkeypatch.setattr(main, "fail", fail, raising=False)
        monkeypatch.setitem(COMMANDS, "fail", ("coloria.cli.main", "fail", "Fails."))

    return make


def invoke(*arguments, **more):
    return CliRunner().invoke(cli, arguments, prog_name="coloria", **more)


def test_help_lists_every_command_and_is_quick(capfd):
    start = time.perf_counter()
    done = run("--help")
    with capfd.disabled():
        print(f" [coloria --help: {time.perf_counter() - start:.2f} s]", end="")
    assert done.returncode == 0
    for name, (_, _, text) in COMMANDS.items():
        assert any(line.split() == [name, *text.split()] for line in done.stdout.splitlines())


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"coloria {coloria.__version__}\n")


def test_the_console_script_is_the_same_command():
    script = Path(sys.executable).with_name("coloria")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == run("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["colorise", "x.jpg"], "'colorize'"),
        (["--versoin"], "--version"),
        (["colorize", "x.jpg", "--streng", "1"], "--strength"),
        (["colorize", "x.jpg", "--model", "artistik"], "'artistix'"),
        (["colorize", "x.jpg", "--model", "stabel"], "'stable'"),
        (["colorize", "x.jpg", "--device", "cud"], "'cuda'"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_wrong_use_exits_2_and_names_the_nearest(arguments, hint):
    done = run(*arguments)
    assert done.returncode == 2
    assert "did you mean" in done.stderr.lower()
    assert hint in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OfflineError("the network is off"), 1),
        (OptionError("the network is off"), 2),
        (DeviceError("the network is off"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_library_are_one_red_line(failing, error, code):
    failing(error)
    result = invoke("fail", color=True)
    assert result.exit_code == code
    assert result.stderr == click.style("error: the network is off", fg="red") + "\n"
    assert result.stdout == ""


def test_no_color_is_obeyed(failing, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    failing(OptionError("wrong"))
    assert invoke("fail", color=True).stderr == "error: wrong\n"


def test_an_unexpected_error_says_where_to_report_it(failing):
    failing(ZeroDivisionError("by zero"))
    result = invoke("fail")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    for part in ("ZeroDivisionError: by zero", "report", "coloria info", "--traceback"):
        assert part in result.stderr


@pytest.mark.parametrize("way", ["option", "variable"])
def test_the_traceback_can_be_seen(failing, way):
    failing(ZeroDivisionError("by zero"))
    option = ["--traceback"] if way == "option" else []
    result = invoke(*option, "fail", env={"COLORIA_DEBUG": "1"} if way == "variable" else None)
    assert result.exit_code == 1
    assert "raise error\nZeroDivisionError: by zero" in result.stderr


def test_a_broken_command_breaks_no_other(monkeypatch):
    monkeypatch.setitem(COMMANDS, "broken", ("coloria.cli.absent", "broken", "Is broken."))
    assert "Is broken." in invoke("--help").stdout
    assert invoke("models").exit_code == 0
    result = invoke("broken")
    assert result.exit_code == 1
    assert "coloria.cli.absent" in result.stderr


def test_interruption_exits_130_without_a_traceback(tmp_path):
    """The child waits for stdin, so the signal comes while it works."""
    child = subprocess.Popen(
        [*COMMAND, "colorize", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with child:
        until = time.monotonic() + 30
        while not list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        assert child.stderr.read().decode().split() == ["interrupted"]
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_quiet():
    child = subprocess.Popen(
        [*COMMAND, "weights", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with child:
        child.stdout.close()
        assert child.wait(30) == 1
        assert child.stderr.read() == b""


def test_a_broken_pipe_inside_is_an_error_like_others(failing):
    failing(BrokenPipeError("a worker has gone"))
    result = invoke("fail")
    assert result.exit_code == 1
    assert "a worker has gone" in result.stderr


def complete(*words):
    """What bash would offer for the last word."""
    env = {
        **os.environ,
        "_COLORIA_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["coloria", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, check=True, timeout=60)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_shells_complete_commands_options_and_models():
    assert complete("comple") == ["completion"]
    assert complete("colorize", "--render-f") == ["--render-factor"]
    assert complete("colorize", "--model", "st") == ["stable"]
    assert complete("colorize", "--model", "artistix") == ["artistix"]
    assert complete("colorize", "--weights", "rel") == ["released"]
    assert complete("colorize", "--device", "c") == ["cpu", "cuda"]
    assert complete("weights", "download", "vid") == [
        "video",
        "video-critic",
        "video-pretrain",
        "video-pretrain-critic",
    ]


def test_the_completion_script_is_one_that_bash_takes(tmp_path):
    script = tmp_path / "script"
    script.write_text(run("completion", "bash").stdout)
    check = f"source {script} && complete -p coloria"
    done = subprocess.run(["bash", "-c", check], capture_output=True, text=True, check=True)
    assert "_coloria_completion" in done.stdout
    assert "_COLORIA_COMPLETE=zsh_complete" in run("completion", "zsh").stdout
    assert "_COLORIA_COMPLETE=fish_complete" in run("completion", "fish").stdout
