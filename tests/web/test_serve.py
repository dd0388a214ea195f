"""``coloria serve`` as a process: how it starts, what it writes, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from webtools import WAIT_S, photo, send, until

from coloria.cli import serve as command
from coloria.cli.main import cli
from coloria.web.settings import Settings


class Served:
    """The command in a process of its own, and what it writes to stderr."""

    def __init__(self, folder, *options, log):
        self.log = log
        with log.open("wb") as file:
            arguments = ["serve", "--port", "0", "--folder", str(folder), *options]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "coloria", *arguments], stderr=file, start_new_session=True
            )

    def workers(self):
        """Their process ids."""
        here = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in here.read_text().split()]

    def __enter__(self):
        address = re.compile(r"serving at (http://[\d.:]+)")
        try:
            found = until(
                lambda: address.search(self.log.read_text()), lambda: self.process.poll() is None
            )
        except BaseException:
            self.end()
            raise
        self.client = httpx.Client(base_url=found[1], timeout=WAIT_S)
        return self

    def __exit__(self, *error):
        self.client.close()
        self.end()

    def end(self):
        self.process.kill()
        self.process.wait(WAIT_S)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


@pytest.mark.slow
def test_a_killed_server_leaves_no_worker_and_the_next_one_cleans_up(tmp_path):
    folder = tmp_path / "web"
    with Served(folder, log=tmp_path / "1.log") as served:
        client = served.client
        until(lambda: client.get("/health").status_code == 200)
        files = [(f"{i}.png", photo(1500, 1000, seed=i, format="PNG")) for i in range(5)]
        view = send(client, *files, size="256").json()
        until(lambda: client.get(view["links"]["self"]).json()["progress"] > 0.2)
        (run,) = [path for path in folder.iterdir() if path.is_dir()]
        assert run.stat().st_mode & 0o777 == 0o700
        workers = served.workers()
        assert workers
        served.process.kill()  # in the midst of a picture
        served.process.wait(WAIT_S)
        until(lambda: not any(map(alive, workers)), seconds=20)
        assert (run / view["id"] / "0.upload").exists()
    with Served(folder, log=tmp_path / "2.log") as served:
        assert not run.exists()
        (new,) = [path for path in folder.iterdir() if path.is_dir()]
        assert list(new.iterdir()) == []
        assert served.client.get(view["links"]["self"]).status_code == 404
        assert f"deleted {run}" in (tmp_path / "2.log").read_text()
        with Served(folder, log=tmp_path / "3.log"):  # two at once leave each other alone
            assert new.exists()
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(WAIT_S)
        assert not new.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_it_ends_in_time_though_somebody_watches(tmp_path, sent, code):
    with Served(tmp_path / "web", "--log-json", log=tmp_path / "log") as served:
        view = send(served.client, ("a.jpg", photo())).json()
        with served.client.stream("GET", view["links"]["events"]) as response:
            lines = response.iter_lines()
            next(lines)
            served.process.send_signal(sent)
            served.process.wait(30)
        assert served.process.returncode == code
        assert list((tmp_path / "web").iterdir()) == []
        assert not any(map(alive, served.workers() if alive(served.process.pid) else []))
    lines = [
        json.loads(line)
        for line in (tmp_path / "log").read_text().splitlines()
        if line.startswith("{")
    ]
    (upload,) = [line for line in lines if line.get("url") == "/upload"]
    assert set(upload) == {
        "time",
        "level",
        "client",
        "method",
        "url",
        "status",
        "duration_ms",
        "request_id",
    }
    assert (upload["client"], upload["method"], upload["status"]) == ("127.0.0.1", "POST", 202)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_server_itself_loads_no_framework():
    code = "import sys, coloria.web.run; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def run(*arguments, **environment):
    return CliRunner().invoke(cli, ["serve", *arguments], env=environment, prog_name="coloria")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--max-mb", "many"], {}, "--max-mb (COLORIA_WEB_MAX_MB): input should be a valid number"),
        (["--port", "70000"], {}, "--port (COLORIA_WEB_PORT): input should be less than"),
        ([], {"COLORIA_WEB_PROT": "80"}, "COLORIA_WEB_PROT is no setting; there are: host, port"),
        ([], {"COLORIA_WEB_WORKERS": "0"}, "--workers (COLORIA_WEB_WORKERS)"),
        (["--device", "gpu"], {}, "it must be one of auto, cpu, cuda, mps; got 'gpu'"),
        (["--models", "artistc"], {}, "unknown model 'artistc', did you mean 'artistic'?"),
        (["--keep-minutes", "inf"], {}, "--keep-minutes"),
    ],
)
def test_wrong_use(arguments, environment, message):
    result = run(*arguments, **environment)
    assert result.exit_code == 2
    assert message in result.stderr


def test_models_without_weights_are_refused():
    result = run("--models", "artistix")
    assert result.exit_code == 1
    assert "coloria weights download artistic" in result.stderr


def test_without_the_extra_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "coloria.web.run", raising=False)
    result = run()
    assert result.exit_code == 2
    assert "pip install '.[web]'" in result.stderr


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("x")
    result = run("--port", "0", "--folder", str(tmp_path / "file"))
    assert result.exit_code == 2
    assert "name another one with --folder" in result.stderr


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port), "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in result.stderr
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ settings


def test_the_defaults_of_the_flags_are_those_of_the_settings():
    default = Settings().model_dump()
    words = {"none": ("", ()), "web in the cache folder": (None,), "processors / workers": (None,)}
    words |= {"all whose weights are there": ((),), "local names, or any": ((),)}
    for name, (shown, _) in command.FLAGS.items():
        value = default[name.replace("-", "_")]
        assert (
            value in words[shown]
            if shown in words
            else f"{value:g}" == shown
            if isinstance(value, float)
            else str(value) == shown
        ), name
    flags = {name.replace("-", "_") for name in command.FLAGS}
    assert flags | {"log_json", "reload"} == set(default)


def test_flags_come_before_the_environment():
    environment = {"COLORIA_WEB_PORT": "9000", "COLORIA_WEB_HOSTS": "a.org, b.org", "PATH": "/bin"}
    found = Settings.load({"port": "8001"}, environment)
    assert (found.port, found.hosts) == (8001, ("a.org", "b.org"))


def test_the_environment_of_settings_gives_them_again():
    given = {"port": 0, "hosts": ("a.org", "b.org"), "threads": 3, "log_json": True, "max_mb": 1.5}
    settings = Settings(**given)
    assert Settings.load({}, settings.environment()) == settings
    assert Settings().environment() == {}
