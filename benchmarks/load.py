"""The web site under load: is anything lost, how long does it take, does its memory stay flat?

``python benchmarks/load.py`` starts ``coloria serve`` on this machine and lets clients send
pictures to it over the loopback, each client one upload after the other: send, wait until it is
done, fetch every result, check it, delete. Meanwhile ``/health`` is asked all the time. It prints
figures, and fails if a picture was lost or damaged. Memory is read from ``/proc`` (Linux). It needs
the extra `web` and httpx.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

WAIT_S = 600.0
HEALTH_EVERY_S = 0.05
MEMORY_EVERY_S = 1.0
WARM_SHARE = 0.1
"""Of the pictures: until then caches fill, and memory is not expected to be flat."""


@dataclass
class Figures:
    """What was measured; lists of seconds."""

    upload: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    memory: list[tuple[int, float, float]] = field(default_factory=list)
    """Pictures done, megabytes of the server, megabytes of its workers."""
    peak: float = 0
    """Most megabytes that a worker ever had."""
    pictures: int = 0
    waits: Counter[int] = field(default_factory=Counter)
    """Refusals with Retry-After, by status."""
    lost: list[str] = field(default_factory=list)


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--uploads", type=int, default=200, help="of all clients together")
    parser.add_argument("--pictures", type=int, default=5, help="of one upload")
    parser.add_argument("--size", type=int, default=96, help="short side for the network")
    parser.add_argument("--side", type=int, default=480, help="width of a picture; 4:3")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder, Server(folder, arguments.workers) as server:
        begun = time.monotonic()
        stop = threading.Event()
        watchers = [
            threading.Thread(target=watch_health, args=(server.url, figures, stop)),
            threading.Thread(target=watch_memory, args=(server.process.pid, figures, stop)),
        ]
        for watcher in watchers:
            watcher.start()
        with ThreadPoolExecutor(arguments.clients) as clients:
            for number in range(arguments.clients):
                count = len(range(number, arguments.uploads, arguments.clients))
                clients.submit(client, server.url, number, count, arguments, figures)
        stop.set()
        for watcher in watchers:
            watcher.join()
        seconds = time.monotonic() - begun
        left = list(Path(folder).glob("run-*/*"))
    report(figures, arguments, seconds, left)
    whole = figures.pictures == arguments.uploads * arguments.pictures
    return 0 if whole and not figures.lost and not left else 1


class Server:
    """``coloria serve`` in a process of its own, ready to colour."""

    def __init__(self, folder: str, workers: int) -> None:
        options = ["--port", "0", "--folder", folder, "--workers", str(workers)]
        options += ["--proxies", "127.0.0.1", "--models", "artistic"]
        self.log = Path(folder, "log")
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "coloria", "serve", *options]
            self.process = subprocess.Popen(command, stderr=log)
        address = re.compile(r"serving at (http://[\d.:]+)")
        while not (found := address.search(self.log.read_text())):
            time.sleep(0.1)
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
        self.url = found[1]
        while httpx.get(f"{self.url}/health").status_code != 200:
            time.sleep(0.1)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def client(
    url: str, number: int, uploads: int, arguments: argparse.Namespace, figures: Figures
) -> None:
    """One client, told apart from the others by its address as a proxy would tell it."""
    address = {"X-Forwarded-For": f"192.0.2.{number + 1}"}
    with httpx.Client(base_url=url, headers=address, timeout=WAIT_S) as http:
        for upload in range(uploads):
            try:
                one_upload(http, number * 1000 + upload, arguments, figures)
            except Exception as error:
                figures.lost.append(f"client {number}, upload {upload}: {error!r}")


def one_upload(
    http: httpx.Client, seed: int, arguments: argparse.Namespace, figures: Figures
) -> None:
    """Sends, waits, fetches, checks, deletes."""
    count, side = arguments.pictures, arguments.side
    pictures = [picture(side, seed * 100 + i) for i in range(count)]
    begun = time.monotonic()
    job = send(http, pictures, arguments.size, figures)
    while job["status"] in ("queued", "running"):
        time.sleep(0.2)
        job = http.get(job["links"]["self"]).raise_for_status().json()
    figures.done.append(time.monotonic() - begun)
    for file in job["files"]:
        if file["status"] != "done":
            raise ValueError(f"{file['name']}: {file['error']}")
        content = http.get(file["results"][0]["url"]).raise_for_status().content
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.size != (side, side * 3 // 4) or image.mode != "RGB":
                raise ValueError(f"{file['name']}: {image.size}, {image.mode}")
        figures.pictures += 1
    http.delete(job["links"]["delete"]).raise_for_status()


def send(http: httpx.Client, pictures: list[bytes], size: int, figures: Figures) -> dict:
    """Uploads, as often as the server asks to come back later."""
    files = [("files", (f"{i}.jpg", data, "image/jpeg")) for i, data in enumerate(pictures)]
    while True:
        begun = time.monotonic()
        answer = http.post("/upload", data={"model": "artistic", "size": str(size)}, files=files)
        if answer.status_code not in (429, 503):
            figures.upload.append(time.monotonic() - begun)
            return answer.raise_for_status().json()
        figures.waits[answer.status_code] += 1
        time.sleep(min(5.0, float(answer.headers["retry-after"])))


def picture(side: int, seed: int) -> bytes:
    """A grey JPEG that no other is equal to."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)
    image = Image.fromarray(small).resize((side, side * 3 // 4), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def watch_health(url: str, figures: Figures, stop: threading.Event) -> None:
    """How long the server takes to say how it is."""
    with httpx.Client(base_url=url, timeout=WAIT_S) as http:
        while not stop.wait(HEALTH_EVERY_S):
            begun = time.monotonic()
            http.get("/health").raise_for_status()
            figures.health.append(time.monotonic() - begun)


def watch_memory(pid: int, figures: Figures, stop: threading.Event) -> None:
    """What the server and its workers hold."""
    while not stop.wait(MEMORY_EVERY_S):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        workers = sum(resident_mb(int(child)) for child in children)
        figures.memory.append((figures.pictures, resident_mb(pid), workers))
        figures.peak = max([figures.peak, *(resident_mb(int(c), "VmHWM") for c in children)])


def resident_mb(pid: int, key: str = "VmRSS") -> float:
    """Megabytes of a process in memory, now or at most; 0 for one that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(rf"{key}:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


def report(
    figures: Figures, arguments: argparse.Namespace, seconds: float, left: list[Path]
) -> None:
    """Prints it."""
    wanted = arguments.uploads * arguments.pictures
    print(f"{arguments.uploads} uploads of {arguments.clients} clients, {wanted} pictures of")
    print(f"{arguments.side} px at size {arguments.size}, {arguments.workers} worker(s)\n")
    print(f"coloured and fetched  {figures.pictures} of {wanted} in {seconds:.0f} s")
    print(f"asked to come back    {dict(figures.waits) or 'never'}")
    print(f"left on disk          {len(left)}")
    print(f"{'seconds':22}{'p50':>8}{'p95':>8}{'max':>8}")
    for name, values in (
        ("upload", figures.upload),
        ("until it is done", figures.done),
        ("/health", figures.health),
    ):
        p50, p95, top = np.percentile(values, [50, 95, 100]) if values else (0, 0, 0)
        print(f"{name:22}{p50:8.3f}{p95:8.3f}{top:8.3f}")
    warm = [m for m in figures.memory if m[0] >= WARM_SHARE * wanted]
    if len(warm) > 1:
        print(f"\n{'memory (MB)':22}{'warm':>8}{'end':>8}{'growth over 1,000 pictures':>30}")
        for name, column in (("server", 1), ("workers", 2)):
            slope = np.polyfit([m[0] for m in warm], [m[column] for m in warm], 1)[0] * 1000
            print(f"{name:22}{warm[0][column]:8.0f}{warm[-1][column]:8.0f}{slope:30.1f}")
    print(f"{'most of one worker':22}{figures.peak:8.0f}")
    for line in figures.lost:
        print(f"LOST: {line}")


if __name__ == "__main__":
    sys.exit(main())
