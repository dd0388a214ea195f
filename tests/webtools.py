"""What the tests of the web site share: a real server on a real port, and pictures for it."""

import io
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
from PIL import Image

from coloria.web.errors import CODES
from coloria.web.run import SiteServer
from coloria.web.settings import Settings

WAIT_S = 120
"""Longest wait for anything: machines that test may be slow."""


@contextmanager
def serving(**settings):
    """A server in a thread; gives it and a client."""
    server = SiteServer(Settings(port=0, **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, thread.is_alive)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            yield server, client
    finally:
        server.handle_exit(0, None)
        thread.join(WAIT_S)
        assert not thread.is_alive()


def until(done, possible=lambda: True, seconds=WAIT_S):
    """Waits until something is so, and gives it."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen in time"
        assert possible(), "it will not happen any more"
        time.sleep(0.02)
    return found


def finished(client, job):
    """The job when nothing of it changes any more."""

    def final():
        view = client.get(job["links"]["self"]).raise_for_status().json()
        return view if view["status"] in ("done", "failed", "cancelled") else None

    return until(final)


def photo(width=96, height=64, seed=0, format="JPEG", **options):
    """The bytes of a smooth grey picture."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def send(client, *files, base="", headers=None, **fields):
    """Uploads (name, bytes) pairs; small, so that it is quick."""
    data = {"model": "artistic", "size": "64"} | fields
    sent = [("files", (name, content, "image/jpeg")) for name, content in files]
    given = {name: value for name, value in data.items() if value is not None}
    return client.post(f"{base}/upload", data=given, files=sent, headers=headers)


def problem(response, status, code):
    """The error of a refusal that is as it should be."""
    assert response.status_code == status == CODES[code], response.text
    body = response.json()
    assert set(body) == {"error", "request_id"}
    assert set(body["error"]) == {"code", "message", "file", "hint"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["error"]["code"] == code
    return body["error"]
