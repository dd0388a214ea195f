"""Where weight files come from: a real HTTP server on loopback, with all its faults."""

import hashlib
import importlib
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import coloria.fetch
import coloria.released
from coloria import weights
from coloria.errors import (
    DownloadError,
    HashMismatchError,
    OfflineError,
    OptionError,
    UnknownNameError,
    WeightsError,
    WeightsFormatError,
    WeightsMismatchError,
    WeightsMissingError,
)
from coloria.released import released

BODY = bytes(hashlib.shake_256(b"weights").digest(300_000))
HASH = hashlib.sha256(BODY).hexdigest()
HALF = 2 << 16  # bytes: whole chunks, so that none of them is lost
FILE = "ColorizeArtistic_gen.pth"


class Handler(BaseHTTPRequestHandler):
    """Answers by the routes of its server, and writes down what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        try:
            self.server.routes[self.path.partition("?")[0]](self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def handle(self):
        with suppress(ConnectionResetError):  # our client may go without a word
            super().handle()

    def log_message(self, *args):
        pass

    def head(self, status, length=None, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def answer(self, body, status=200, **headers):
        self.head(status, len(body), **headers)
        self.wfile.write(body)

    def drop(self):
        """Cut the connection."""
        self.wfile.flush()
        self.close_connection = True

    def offset(self):
        return int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])

    def rest(self, body=BODY, **headers):
        """The rest of the file, as a correct server gives it."""
        start = self.offset()
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.answer(body[start:], 206, Content_Range=span, **headers)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes, self.asked = {}, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def paths(self):
        return [path for path, _ in self.asked]


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no setting from outside."""
    monkeypatch.setenv("COLORIA_HOME", str(tmp_path / "home"))
    for name in ("COLORIA_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home" / "weights"


@pytest.fixture
def publish(server, monkeypatch):
    """Let `artistic` be a small file on our server."""

    def make(*paths, **changes):
        given = {"bytes": len(BODY), "sha256": HASH, "urls": tuple(map(server.url, paths))}
        entry = replace(released("artistic"), **(given | changes))
        others = [e for e in coloria.released.RELEASED if e.name != "artistic"]
        monkeypatch.setattr(coloria.released, "RELEASED", (entry, *others))
        return entry

    return make


@pytest.fixture
def compact(tmp_path, monkeypatch):
    """A package folder in which embedded weights can be put."""
    root = tmp_path / "package"
    (root / "embedded").mkdir(parents=True)
    monkeypatch.setattr(weights, "files", lambda package: root)
    return root / "embedded"


def left(cache):
    """What lies in the cache, apart from locks."""
    return sorted(p.name for p in cache.glob("*") if p.suffix != ".lock") if cache.exists() else []


def half(handler):
    """Promise everything, send half, cut the connection."""
    handler.head(200, len(BODY), ETag='"v1"')
    handler.wfile.write(BODY[:HALF])
    handler.drop()


# --- it works -----------------------------------------------------------------------------------


def test_download_gives_the_published_file(server, publish, cache):
    publish("/w")
    server.routes["/w"] = lambda h: h.answer(BODY)
    seen = []
    path = weights.download("artistic", progress=lambda *now: seen.append(now))
    assert path == cache / FILE == weights.cached("artistic")
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert left(cache) == [FILE]


def test_what_is_there_is_not_fetched_again(server, publish):
    publish("/w")
    server.routes["/w"] = lambda h: h.answer(BODY)
    weights.download("artistic")
    weights.download("artistic")
    assert server.paths() == ["/w"]


def test_a_body_without_length_is_taken_when_it_is_right(server, publish):
    publish("/w")
    server.routes["/w"] = unannounced(BODY)
    assert weights.download("artistic").read_bytes() == BODY


def test_redirects_are_followed(server, publish):
    publish("/a")
    server.routes["/a"] = lambda h: h.answer(b"", 302, Location="/b")
    server.routes["/b"] = lambda h: h.answer(BODY)
    assert weights.download("artistic").read_bytes() == BODY


def test_an_unpublished_hash_is_written_down_and_held(server, publish, cache, caplog):
    publish("/w", sha256=None, bytes=None)
    server.routes["/w"] = lambda h: h.answer(BODY)
    with caplog.at_level("INFO", "coloria.weights"):
        path = weights.download("artistic")
    assert HASH in caplog.text
    assert weights.pinned("artistic") == HASH
    assert (cache / f"{FILE}.sha256").read_text() == f"{HASH}  {FILE}\n"  # for sha256sum -c
    path.unlink()
    server.routes["/w"] = lambda h: h.answer(BODY[::-1])
    with pytest.raises(HashMismatchError):
        weights.download("artistic")


def test_a_download_form_before_the_file_is_sent(server, publish):
    """Google Drive puts a page with a form before files that it has not scanned."""
    publish("/uc")
    form = (
        b"<!DOCTYPE html><form action='/other'></form><form id='download-form' action='/get?a=b'>"
        b"<input type='hidden' name='confirm' value='t &amp; x'><input type='submit' name='s'>"
    )
    server.routes["/uc"] = lambda h: h.answer(form, Content_Type="text/html; charset=utf-8")
    server.routes["/get"] = lambda h: h.answer(BODY)
    assert weights.download("artistic").read_bytes() == BODY
    assert server.paths() == ["/uc", "/get?a=b&confirm=t+%26+x"]


def test_own_address_and_hash(server, publish):
    publish("/gone", sha256=None)
    server.routes["/mine"] = lambda h: h.answer(BODY)
    path = weights.download("artistic", urls=[server.url("/mine")], sha256=HASH)
    assert path.read_bytes() == BODY
    assert server.paths() == ["/mine"]


def test_a_hash_against_the_published_one_is_refused(publish, server):
    publish("/w")
    with pytest.raises(OptionError, match="the published sha256"):
        weights.download("artistic", sha256="0" * 64)
    assert server.asked == []


# --- the server is wrong ------------------------------------------------------------------------


def refuse(status):
    return lambda h: h.answer(b"no", status)


def page(content_type):
    return lambda h: h.answer(b"<!DOCTYPE html><p>Quota exceeded</p>", Content_Type=content_type)


def unannounced(body):
    """A body that ends where the connection ends."""

    def answer(handler):
        handler.head(200)
        handler.wfile.write(body)
        handler.drop()

    return answer


FAULTS = {
    "not found": (refuse(404), "answered 404"),
    "forbidden": (refuse(403), "answered 403"),
    "busy": (refuse(503), "answered 503"),
    "html": (page("text/html"), "web page"),
    "html by another name": (page("application/octet-stream"), "web page"),
    "html, unannounced": (unannounced(b"\n<html>"), "web page"),
    "html error": (lambda h: h.answer(b"<p>", 404, Content_Type="text/html"), "answered 404"),
    "wrong bytes": (lambda h: h.answer(BODY[::-1]), f"published file has {HASH}"),
    "too short": (lambda h: h.answer(BODY[:-1]), "offers 299999 bytes"),
    "too long": (lambda h: h.answer(BODY + b"x"), "offers 300001 bytes"),
    "too long, unannounced": (unannounced(BODY + b"more"), "more than the 300000 bytes"),
    "partial unasked": (lambda h: h.answer(BODY, 206), "answered 206"),
    "hangs up": (lambda h: h.drop(), "Remote end closed connection|Connection aborted"),
    "redirect loop": (lambda h: h.answer(b"", 302, Location="/w"), "more than 5 redirects"),
    "to a file": (lambda h: h.answer(b"", 302, Location="file:///etc/hostname"), "No connection"),
    "form to ftp": (
        lambda h: h.answer(
            b"<form id='download-form' action='ftp://127.0.0.1/w'>", Content_Type="text/html"
        ),
        "only http and https",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_answer_is_named_and_leaves_nothing(server, publish, cache, fault):
    publish("/w")
    server.routes["/w"], message = FAULTS[fault]
    with pytest.raises(DownloadError, match=message) as caught:
        weights.download("artistic")
    assert isinstance(caught.value, HashMismatchError) == (fault == "wrong bytes")
    for what in (server.url("/w"), str(cache / FILE), "coloria weights import artistic FILE"):
        assert what in str(caught.value)
    assert left(cache) == []
    assert weights.state("artistic") == "absent"


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_makes_up_for_it(server, publish, fault):
    publish("/w", "/mirror")
    server.routes |= {"/w": FAULTS[fault][0], "/mirror": lambda h: h.answer(BODY)}
    assert weights.download("artistic").read_bytes() == BODY


def test_all_mirrors_stand_in_the_message(server, publish):
    publish("/a", "/b")
    server.routes |= {"/a": refuse(404), "/b": page("text/html")}
    with pytest.raises(DownloadError, match=r"(?s)/a: .*404.*/b: .*web page"):
        weights.download("artistic")


def test_nobody_listens(publish):
    publish(urls=("http://127.0.0.1:1/w",))
    with pytest.raises(DownloadError, match="refused"):
        weights.download("artistic")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/w", "file:///etc/hostname", "w.pth", ""])
def test_only_http(publish, url):
    publish(urls=(url,))
    with pytest.raises(DownloadError, match="only http and https"):
        weights.download("artistic")


def test_from_https_to_http_is_refused():
    check = coloria.fetch._check_downgrade
    check(["https://a", "https://b"])
    check(["http://a", "https://b"])
    with pytest.raises(DownloadError, match="not"):
        check(["https://a", "http://b"])


@pytest.mark.parametrize("sent", [0, 1000])
def test_silence_ends_in_an_error(server, publish, monkeypatch, sent):
    publish("/w")
    monkeypatch.setattr(coloria.fetch, "TIMEOUT", (1, 0.1))
    monkeypatch.setattr(coloria.fetch, "MAX_RESUMES", 1)
    awake = threading.Event()

    def silent(handler):
        if sent:
            handler.head(200, len(BODY))
            handler.wfile.write(BODY[:sent])
        awake.wait(20)
        handler.drop()

    server.routes["/w"] = silent
    with pytest.raises(DownloadError, match="timed out"):
        weights.download("artistic")
    awake.set()


# --- it goes on where it stopped ----------------------------------------------------------------


def once_then(first, then):
    """Answer with `first`, from the second time on with `then`."""
    steps = [first]
    return lambda h: (steps.pop() if steps else then)(h)


def test_a_broken_connection_is_taken_up(server, publish):
    publish("/w")
    server.routes["/w"] = once_then(half, lambda h: h.rest(ETag='"v1"'))
    assert weights.download("artistic").read_bytes() == BODY
    (_, first), (_, second) = server.asked
    assert "Range" not in first
    assert second["Range"] == "bytes=131072-"
    assert second["If-Range"] == '"v1"'


def test_it_is_taken_up_again_and_again_while_bytes_come(server, publish):
    publish("/w")

    def bit_by_bit(handler):
        start = handler.offset() if "Range" in handler.headers else 0
        span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        headers = {"Content_Range": span} if start else {}
        handler.head(206 if start else 200, len(BODY) - start, **headers)
        handler.wfile.write(BODY[start : start + (1 << 16)])
        handler.drop()

    server.routes["/w"] = bit_by_bit
    assert weights.download("artistic").read_bytes() == BODY
    assert len(server.asked) == 5


def test_it_does_not_go_on_for_ever(server, publish):
    publish("/w", sha256=None, bytes=None)

    def trickle(handler):  # no validator: every time from the start, and never to the end
        handler.head(200, len(BODY))
        handler.wfile.write(BODY[:HALF])
        handler.drop()

    server.routes["/w"] = trickle
    with pytest.raises(DownloadError, match="Connection broken"):
        weights.download("artistic")
    assert len(server.asked) <= coloria.fetch.MAX_RESUMES + 1


RESTARTS = {
    "range ignored": lambda h: h.answer(BODY),
    "range refused": lambda h: h.answer(b"", 416, Content_Range=f"bytes */{len(BODY)}"),
    "wrong start": lambda h: h.answer(BODY[100:], 206, Content_Range="bytes 100-299999/300000"),
    "wrong end": lambda h: h.answer(BODY[HALF:-9], 206, Content_Range="bytes 131072-9/300000"),
    "wrong total": lambda h: h.answer(BODY, 206, Content_Range="bytes 131072-299998/299999"),
    "wrong unit": lambda h: h.answer(BODY, 206, Content_Range="items 131072-299999/300000"),
    "no range said": lambda h: h.answer(BODY[HALF:], 206),
    "another version": lambda h: h.rest(ETag='"v2"'),
    "wrong rest": lambda h: h.rest(BODY[::-1], ETag='"v1"'),
}


# A server that says "the same version" and lies can be found out by a hash only.
@pytest.mark.parametrize(
    ("kind", "known"), [(k, b) for k in RESTARTS for b in (True, False) if b or k != "wrong rest"]
)
def test_a_rest_that_does_not_fit_starts_anew(server, publish, kind, known):
    publish("/w", sha256=HASH if known else None)

    def afterwards(handler):
        RESTARTS[kind](handler) if "Range" in handler.headers else handler.answer(BODY)

    server.routes["/w"] = once_then(half, afterwards)
    assert weights.download("artistic").read_bytes() == BODY


def test_without_proof_of_the_same_file_it_starts_anew(server, publish):
    publish("/w", sha256=None)

    def weak(handler):
        handler.head(200, len(BODY), ETag='W/"v1"', Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT")
        handler.wfile.write(BODY[:HALF])
        handler.drop()

    server.routes["/w"] = once_then(weak, lambda h: h.answer(BODY))
    weights.download("artistic")
    assert all("Range" not in headers for _, headers in server.asked)


def test_an_unannounced_end_is_noticed_by_the_size(server, publish):
    publish("/w")
    server.routes["/w"] = once_then(unannounced(BODY[:HALF]), lambda h: h.rest())
    assert weights.download("artistic").read_bytes() == BODY
    server.routes["/w"] = once_then(unannounced(BODY[:HALF]), refuse(503))
    weights.remove("artistic")
    with pytest.raises(DownloadError, match="503"):
        weights.download("artistic")
    assert weights.state("artistic") == "partial"


def test_with_a_known_hash_another_mirror_adds_the_rest(server, publish):
    publish("/w", "/mirror")
    server.routes["/w"] = once_then(half, refuse(503))
    server.routes["/mirror"] = lambda h: h.rest()
    assert weights.download("artistic").read_bytes() == BODY
    assert server.asked[-1][1]["Range"] == "bytes=131072-"
    assert "If-Range" not in server.asked[-1][1]


def test_a_download_left_unfinished_goes_on_in_the_next_call(server, publish, cache):
    publish("/w")
    server.routes["/w"] = once_then(half, refuse(503))
    with pytest.raises(DownloadError, match="503"):
        weights.download("artistic")
    assert weights.state("artistic") == "partial"
    assert weights.cached("artistic") is None
    server.routes["/w"] = lambda h: h.rest()
    assert weights.download("artistic").read_bytes() == BODY
    assert left(cache) == [FILE]


def test_damaged_older_bytes_are_fetched_anew(server, publish, cache):
    publish("/w")
    cache.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(bytes(1000))
    server.routes["/w"] = lambda h: h.rest() if "Range" in h.headers else h.answer(BODY)
    assert weights.download("artistic").read_bytes() == BODY
    assert len(server.asked) == 2


def test_more_older_bytes_than_the_file_has_are_dropped(server, publish, cache):
    publish("/w")
    cache.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(BODY + b"x")
    server.routes["/w"] = lambda h: h.answer(BODY)
    assert weights.download("artistic").read_bytes() == BODY


def test_a_finished_part_needs_no_network(server, publish, cache):
    publish("/w")
    cache.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(BODY)
    assert weights.download("artistic").read_bytes() == BODY
    assert server.asked == []


# --- processes ----------------------------------------------------------------------------------

PROGRAM = """
import resource, signal, sys
from contextlib import suppress
from dataclasses import replace
import coloria.released
from coloria import weights
url, size, sha256, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
entry = replace(coloria.released.released("artistic"), urls=(url,), bytes=int(size), sha256=sha256)
coloria.released.RELEASED = (entry,)
try:
    print(weights.download("artistic"))
except coloria.errors.ColoriaError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def start(server, limit=0):
    arguments = [server.url("/w"), str(len(BODY)), HASH, str(limit)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_leaves_no_file_and_the_next_goes_on(server, publish, cache):
    publish("/w")
    sent, killed = threading.Event(), threading.Event()

    def slow(handler):
        handler.head(200, len(BODY), ETag='"v1"')
        handler.wfile.write(BODY[:200_000])
        handler.wfile.flush()
        sent.set()
        killed.wait(20)
        handler.drop()

    server.routes["/w"] = slow
    process = start(server)
    assert sent.wait(20)
    part = cache / f"{FILE}.part"
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed.set()
    assert not (cache / FILE).exists()
    assert weights.cached("artistic") is None
    server.routes["/w"] = lambda h: h.rest() if "Range" in h.headers else h.answer(BODY)
    assert weights.download("artistic").read_bytes() == BODY
    assert "Range" in server.asked[-1][1]
    assert left(cache) == [FILE]


def test_two_processes_at_once_fetch_once(server, cache):
    def slow(handler):
        handler.head(200, len(BODY))
        for start_ in range(0, len(BODY), 50_000):
            handler.wfile.write(BODY[start_ : start_ + 50_000])
            time.sleep(0.1)

    server.routes["/w"] = slow
    processes = [start(server), start(server)]
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert out.strip() == str(cache / FILE)
    assert (cache / FILE).read_bytes() == BODY
    assert server.paths() == ["/w"]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of POSIX systems")
def test_a_full_disk_is_named_and_the_bytes_are_kept(server, publish, cache):
    """The system itself refuses to write past a limit."""
    publish("/w")
    server.routes["/w"] = lambda h: h.answer(BODY)
    process = start(server, limit=100_000)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.startswith("DownloadError")
    assert "the disk is full" in err
    assert "COLORIA_HOME" in err
    assert not (cache / FILE).exists()
    server.routes["/w"] = lambda h: h.rest() if "Range" in h.headers else h.answer(BODY)
    assert weights.download("artistic").read_bytes() == BODY


def test_too_little_room_is_said_before_anything_is_fetched(server, publish, cache):
    publish("/w", bytes=None, sha256=None)
    server.routes["/w"] = lambda h: h.head(200, 10**18)
    with pytest.raises(
        DownloadError, match="the disk is full: 1" + 18 * "0" + " bytes are still to come"
    ):
        weights.download("artistic")
    assert weights.cached("artistic") is None


def test_a_cache_that_cannot_be_made(publish, tmp_path, monkeypatch):
    publish("/w")
    (tmp_path / "file").touch()
    monkeypatch.setenv("COLORIA_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cannot be made.*COLORIA_HOME"):
        weights.download("artistic")


def test_a_part_that_cannot_be_written(server, publish, cache):
    publish("/w")
    server.routes["/w"] = lambda h: h.answer(BODY)
    (cache / FILE).mkdir(parents=True)
    with pytest.raises(DownloadError, match="cannot be written"):
        weights.download("artistic")


# --- offline ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted"), [("1", True), ("yes", True), ("0", False), ("", False), ("False", False)]
)
def test_offline_switch(monkeypatch, value, wanted):
    monkeypatch.setenv("COLORIA_OFFLINE", value)
    assert weights.offline() is wanted


def test_offline_asks_nobody(server, publish, cache, monkeypatch):
    publish("/w")
    monkeypatch.setenv("COLORIA_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        weights.download("artistic")
    for what in (server.url("/w"), str(cache / FILE), "coloria weights import artistic FILE"):
        assert what in str(caught.value)
    assert server.asked == []
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(BODY)
    assert weights.download("artistic") == cache / FILE


def test_importing_the_modules_loads_no_framework_and_no_network():
    code = (
        "import sys, coloria.weights, coloria.weightfile, coloria.cli.weights;"
        "print({'torch', 'requests', 'urllib3', 'numpy', 'rich', 'pooch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- which weights ------------------------------------------------------------------------------


def put(cache, name, content=BODY):
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / released(name).file
    path.write_bytes(content)
    return path


def test_auto_prefers_the_released_file(publish, cache, compact):
    publish("/w")
    (compact / "artistic.safetensors").touch()
    path = put(cache, "artistic")
    found = weights.find("artistic")
    assert (found.path, found.kind, found.name) == (path, "released", "artistic")
    assert "released" in found.note
    assert "--weights embedded" in found.note
    assert "\n" not in found.note


def test_auto_falls_back_to_the_embedded_file(publish, compact):
    publish("/w")
    (compact / "artistic.safetensors").touch()
    found = weights.find("artistic")
    assert (found.path, found.kind) == (compact / "artistic.safetensors", "embedded")
    assert "coloria weights download artistic" in found.note
    assert "\n" not in found.note


def test_auto_says_that_the_released_file_is_damaged(publish, cache, compact):
    publish("/w")
    (compact / "artistic.safetensors").touch()
    put(cache, "artistic", BODY[:-1])
    found = weights.find("artistic")
    assert found.kind == "embedded"
    assert "is damaged" in found.note


def test_auto_where_nothing_was_published(compact):
    (compact / "zhang.safetensors").touch()
    found = weights.find("zhang")
    assert found.kind == "embedded"
    assert "download" not in found.note


def test_embedded_is_taken_although_released_is_there(publish, cache, compact):
    publish("/w")
    (compact / "artistic.safetensors").touch()
    put(cache, "artistic")
    assert weights.find("artistic", "embedded").kind == "embedded"


def test_released_by_name(cache, compact, monkeypatch):
    table = tuple(replace(e, bytes=None) for e in coloria.released.RELEASED)
    monkeypatch.setattr(coloria.released, "RELEASED", table)
    stable, video = put(cache, "stable"), put(cache, "video")
    assert weights.find("stable", "released").path == stable
    found = weights.find("stable", "released:video")
    assert (found.path, found.name) == (video, "video")


def test_averaged_parameters_come_along_when_they_are_there(cache):
    put(cache, "bigcolor")
    assert weights.find("bigcolor", "released").companion is None
    averaged = put(cache, "bigcolor-ema")
    assert weights.find("bigcolor", "released").companion == averaged


@pytest.mark.parametrize("choice", ["auto", "embedded", "released"])
def test_missing_weights_name_the_command(cache, compact, choice):
    with pytest.raises(WeightsMissingError) as caught:
        weights.find("artistic", choice)
    assert "coloria weights download artistic" in str(caught.value)
    assert str(cache / FILE) in str(caught.value)


def test_missing_says_damaged_or_partial(publish, cache, compact):
    publish("/w")
    path = put(cache, "artistic", b"short")
    with pytest.raises(WeightsMissingError, match="5 bytes instead of 300000"):
        weights.find("artistic", "released")
    path.rename(path.with_name(f"{FILE}.part"))
    with pytest.raises(WeightsMissingError, match="only partly fetched"):
        weights.find("artistic", "released")


@pytest.mark.parametrize("choice", ["auto", "embedded", "released"])
def test_nothing_was_ever_published(compact, choice):
    with pytest.raises(WeightsMissingError, match="zhang"):
        weights.find("zhang", choice)


@pytest.mark.parametrize("name", ["video", "artistic-critic"])
def test_released_weights_of_another_model_or_role(name):
    with pytest.raises(WeightsMismatchError, match="'artistic'"):
        weights.find("artistic", f"released:{name}")


def test_unknown_released_name():
    with pytest.raises(UnknownNameError, match="did you mean 'video'"):
        weights.find("stable", "released:vidio")


def test_a_file_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    for choice in ("mine.safetensors", tmp_path / "mine.safetensors"):
        found = weights.find("artistic", choice)
        assert (found.kind, found.name) == ("file", "mine")
        assert found.path.is_file()


@pytest.mark.parametrize("choice", ["mine.pth", "folder/mine"])
def test_a_file_that_is_not_there(choice):
    with pytest.raises(WeightsMissingError, match="there is no weight file"):
        weights.find("artistic", choice)


def test_a_misspelt_choice():
    with pytest.raises(OptionError, match="did you mean 'embedded'"):
        weights.find("artistic", "embeded")


def test_the_embedded_folder_is_the_package_s():
    root = weights.files("coloria")
    for path in (root / "embedded").glob("*.safetensors"):
        assert weights.embedded(path.stem) == path
    assert weights.embedded("no-such-model") is None


def test_home(tmp_path, monkeypatch):
    assert weights.home() == tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLORIA_HOME", "relative")
    assert weights.home() == tmp_path / "relative"
    monkeypatch.delenv("COLORIA_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert weights.home() == tmp_path / "xdg" / "coloria"
    else:
        assert weights.home().name == "coloria"


def test_all_public_names_exist():
    module = importlib.import_module("coloria.weights")
    assert all(hasattr(module, name) for name in module.__all__)


# --- verify, import, remove ---------------------------------------------------------------------


def test_verify(publish, cache):
    publish("/w")
    with pytest.raises(WeightsMissingError, match="weights download artistic"):
        weights.verify("artistic")
    put(cache, "artistic")
    seen = weights.verify("artistic")
    assert (seen.sha256, seen.against) == (HASH, "published")
    for wrong in (BODY[::-1], BODY[:-1]):
        path = put(cache, "artistic", wrong)
        with pytest.raises(HashMismatchError, match=HASH):
            weights.verify("artistic")
        assert path.exists()


def test_verify_without_a_published_hash(publish, cache):
    publish("/w", sha256=None)
    put(cache, "artistic")
    assert weights.verify("artistic").against == "nothing"
    weights.import_file("artistic", cache / FILE)  # where it lies: the hash is written down
    assert weights.verify("artistic").against == "first download"
    put(cache, "artistic", BODY[::-1])
    with pytest.raises(HashMismatchError):
        weights.verify("artistic")


def test_import(publish, cache, tmp_path):
    publish("/w")
    source = tmp_path / "download (1).pth"
    source.write_bytes(BODY)
    assert weights.import_file("artistic", source) == cache / FILE
    assert (cache / FILE).read_bytes() == BODY
    assert source.exists()
    assert left(cache) == [FILE]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (BODY[::-1], HashMismatchError, "nothing was imported"),
        (BODY[:-1], HashMismatchError, "299999 bytes"),
        (b"<html>", WeightsFormatError, "web page"),
    ],
)
def test_import_of_a_wrong_file(publish, cache, tmp_path, content, error, message):
    publish("/w")
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(error, match=message):
        weights.import_file("artistic", tmp_path / "w")
    assert left(cache) == []


def test_import_tells_whose_file_it_is(publish, tmp_path, monkeypatch):
    publish("/w")
    (tmp_path / "w").write_bytes(BODY)
    monkeypatch.setattr(weights, "RELEASED", coloria.released.RELEASED)
    with pytest.raises(HashMismatchError, match="it is the file of 'artistic'"):
        weights.import_file("stable", tmp_path / "w")


def test_import_of_nothing(tmp_path):
    with pytest.raises(WeightsMissingError, match="no file"):
        weights.import_file("artistic", tmp_path / "absent")


def test_import_into_a_cache_that_cannot_be_written(publish, tmp_path, monkeypatch):
    publish("/w")
    (tmp_path / "w").write_bytes(BODY)
    monkeypatch.setenv("COLORIA_HOME", str(tmp_path / "w"))
    with pytest.raises(WeightsError, match="cannot be written"):
        weights.import_file("artistic", tmp_path / "w")


def test_remove_takes_everything_of_the_file(publish, server, cache):
    publish("/w", sha256=None)
    server.routes["/w"] = lambda h: h.answer(BODY)
    weights.download("artistic")
    assert weights.remove("artistic")[0] == cache / FILE
    assert list(cache.iterdir()) == []
    with pytest.raises(WeightsMissingError, match="nothing to remove"):
        weights.remove("artistic")
