"""``coloria weights`` against a real server: data on stdout, words on stderr."""

import hashlib
import json
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

import coloria.cli.weights
import coloria.released
from coloria.cli.weights import weights
from coloria.errors import (
    DownloadError,
    HashMismatchError,
    OptionError,
    UnknownNameError,
    WeightsError,
    WeightsMissingError,
)

BODY = b"weights" * 1000
HASH = hashlib.sha256(BODY).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path):
    """A folder and the address under which it is served."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def table(site, tmp_path, monkeypatch):
    """A table of two files on that server: `artistic` with a hash, `stable` without one."""
    monkeypatch.setenv("COLORIA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COLORIA_OFFLINE", raising=False)
    folder, url = site
    entries = []
    for name, digest in {"artistic": HASH, "stable": None}.items():
        (folder / f"{name}.pth").write_bytes(BODY)
        entry = coloria.released.released(name)
        urls = (f"{url}/{name}.pth",)
        entries.append(replace(entry, urls=urls, sha256=digest, bytes=len(BODY)))
    for module in (coloria.released, coloria.cli.weights):
        monkeypatch.setattr(module, "RELEASED", tuple(entries))
    return entries


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "home" / "weights"


def run(*arguments, error=None):
    """Run the command; errors of the library pass through, for the main command to print."""
    result = CliRunner().invoke(weights, [str(a) for a in arguments])
    if error is None:
        assert result.exception is None, result.exception
    else:
        assert type(result.exception) is error, result.output
    return result


def test_download_prints_the_path_alone(cache):
    result = run("download", "artistic")
    assert result.stdout == f"{cache / 'ColorizeArtistic_gen.pth'}\n"
    assert result.stderr == ""
    assert (cache / "ColorizeArtistic_gen.pth").read_bytes() == BODY


def test_download_shows_the_hash_that_nobody_published(cache):
    result = run("download", "artistic", "stable")
    assert len(result.stdout.splitlines()) == 2
    assert HASH in result.stderr


def test_one_failure_does_not_stop_the_rest(site, cache):
    (site[0] / "artistic.pth").unlink()
    result = run("download", "artistic", "stable", error=DownloadError)
    assert "404" in str(result.exception)
    assert result.stdout == f"{cache / 'ColorizeStable_gen.pth'}\n"
    (site[0] / "stable.pth").unlink()
    run("remove", "stable")
    result = run("download", "artistic", "stable", error=WeightsError)
    assert str(result.exception).count("404") == 2


def test_download_from_elsewhere(site):
    (site[0] / "mine").write_bytes(BODY)
    run("download", "stable", "--url", f"{site[1]}/mine", "--sha256", HASH)
    run("download", "artistic", "stable", "--url", f"{site[1]}/mine", error=OptionError)


def test_unknown_names():
    for verb in ("download", "verify", "path", "remove"):
        result = run(verb, "artistik", error=UnknownNameError)
        assert "did you mean 'artistic'" in str(result.exception)


def test_a_name_is_needed():
    assert CliRunner().invoke(weights, ["download"]).exit_code == 2
    assert CliRunner().invoke(weights, ["remove"]).exit_code == 2


def test_list_as_json_follows_the_cache(cache):
    assert [row["state"] for row in json.loads(run("list", "--json").stdout)] == ["absent"] * 2
    run("download", "artistic")
    artistic, stable = json.loads(run("list", "--json").stdout)
    assert artistic["state"] == "present"
    assert artistic["path"] == str(cache / "ColorizeArtistic_gen.pth")
    assert artistic["sha256"] == HASH
    assert artistic["license"] == "MIT"
    assert stable["state"] == "absent"


def test_list_is_a_table_of_whole_words(monkeypatch):
    monkeypatch.undo()  # the real table, the widest there is
    result = run("list")
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + len(coloria.released.RELEASED)
    for entry, line in zip(coloria.released.RELEASED, lines[1:], strict=True):
        assert line.split()[0] == entry.name
        assert line.split()[-1] == entry.project
        assert entry.license in line


def test_path(cache):
    assert run("path").stdout == f"{cache}\n"
    result = run("path", "artistic", "stable")
    assert result.stdout.splitlines() == [
        str(cache / "ColorizeArtistic_gen.pth"),
        str(cache / "ColorizeStable_gen.pth"),
    ]
    assert "coloria weights download artistic" in result.stderr
    run("download", "artistic")
    assert run("path", "artistic").stderr == ""


def test_verify(cache):
    assert "no released weights" in run("verify").stderr
    run("download", "artistic", "stable")
    result = run("verify")
    assert [line.split()[0] for line in result.stdout.splitlines()] == [HASH, HASH]
    assert "as published" in result.stderr
    assert "as first download" in result.stderr
    (cache / "ColorizeStable_gen.pth.sha256").unlink()
    assert "not checked" in run("verify", "stable").stderr
    (cache / "ColorizeArtistic_gen.pth").write_bytes(BODY[::-1])
    result = run("verify", error=HashMismatchError)
    assert len(result.stdout.splitlines()) == 1
    run("verify", "artistic", "stable", error=HashMismatchError)


def test_import(tmp_path, cache):
    (tmp_path / "fetched.pth").write_bytes(BODY)
    result = run("import", "artistic", tmp_path / "fetched.pth")
    assert result.stdout == f"{cache / 'ColorizeArtistic_gen.pth'}\n"
    assert HASH in run("import", "stable", tmp_path / "fetched.pth").stderr
    (tmp_path / "fetched.pth").write_bytes(b"other")
    run("import", "artistic", tmp_path / "fetched.pth", error=HashMismatchError)
    result = CliRunner().invoke(weights, ["import", "artistic", str(tmp_path / "absent")])
    assert result.exit_code == 2


def test_remove(cache):
    run("download", "artistic")
    result = run("remove", "artistic")
    assert result.stdout == ""
    assert "ColorizeArtistic_gen.pth" in result.stderr
    assert not (cache / "ColorizeArtistic_gen.pth").exists()
    run("remove", "artistic", error=WeightsMissingError)


def test_names_are_completed():
    complete = ShellComplete(weights, {}, "weights", "_WEIGHTS_COMPLETE")
    for verb in ("download", "verify", "path", "import", "remove"):
        values = [item.value for item in complete.get_completions([verb], "art")]
        assert values == ["artistic"]


def test_a_terminal_sees_a_progress_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with coloria.cli.weights.progress_bar("artistic") as progress:
        progress(500_000, 1_000_000)
    err = capsys.readouterr().err
    assert "artistic" in err
    assert "0.5/1.0 MB" in err
