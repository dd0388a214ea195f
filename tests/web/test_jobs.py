"""Workers that die or take too long, queues that are full, results that expire."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest
from webtools import WAIT_S, finished, photo, problem, send, serving, until

from coloria.web import desk as desk_module


@pytest.fixture
def stopped(desk):
    """The worker, stopped in the middle of whatever it does; it goes on when the test ends."""
    (worker,) = desk.pool.workers
    until(lambda: worker.ready)
    process = worker.process
    process.send_signal(signal.SIGSTOP)
    yield worker
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)


def changed(monkeypatch, part, **settings):
    """Other settings for a while."""
    monkeypatch.setattr(part, "settings", part.settings.model_copy(update=settings))


def at_work(desk, view):
    """Waits until the first picture of a job has been taken out of the line."""
    tasks = [result.task for _, result in desk.jobs[view["id"]].results]
    until(lambda: tasks[0] not in desk.pool.colors)


@pytest.mark.slow  # a new worker has to load
def test_a_killed_worker_fails_its_picture_and_is_replaced(client, desk):
    (worker,) = desk.pool.workers
    until(lambda: worker.ready)
    view = send(client, ("large.png", photo(3000, 2000, format="PNG"))).json()
    until(lambda: client.get(view["links"]["self"]).json()["progress"] > 0)
    os.kill(worker.process.pid, signal.SIGSTOP)
    others = [send(client, (f"{i}.jpg", photo(seed=i))).json() for i in range(2)]
    killed, crashes = worker.process.pid, desk.pool.crashes
    os.kill(killed, signal.SIGKILL)
    view = finished(client, view)
    assert view["status"] == "failed"
    error = view["files"][0]["error"]
    assert (error["code"], error["file"]) == ("worker_crashed", "large.png")
    assert error["hint"]
    assert [finished(client, other)["status"] for other in others] == ["done", "done"]
    assert worker.process.pid != killed
    assert desk.pool.crashes == crashes + 1
    folder = desk.jobs[view["id"]].folder
    left = {path.suffix for path in folder.iterdir()} - {".upload", ".npz", ".part"}
    assert left == set()
    problem(client.get(f"/download/{view['id']}/0/artistic"), 409, "not_ready")


@pytest.mark.slow  # a new worker has to load
def test_a_worker_that_dies_while_it_waits_harms_nobody(client, desk):
    (worker,) = desk.pool.workers
    until(lambda: worker.ready and not worker.busy)
    os.kill(worker.process.pid, signal.SIGKILL)
    view = finished(client, send(client, ("a.jpg", photo())).json())
    assert view["status"] == "done"


@pytest.mark.slow  # a new worker has to load
def test_a_picture_that_takes_too_long(client, desk, stopped, monkeypatch):
    changed(monkeypatch, desk.pool, timeout=0.3)
    view = finished(client, send(client, ("slow.jpg", photo())).json())
    error = view["files"][0]["error"]
    assert (view["status"], error["code"]) == ("failed", "timed_out")
    assert "0.3 seconds" in error["message"]
    monkeypatch.undo()
    assert finished(client, send(client, ("a.jpg", photo())).json())["status"] == "done"


@pytest.mark.slow  # a new worker has to load
def test_a_cancelled_picture_frees_its_worker(client, desk, stopped):
    timeouts, crashes = desk.pool.timeouts, desk.pool.crashes
    view = send(client, ("slow.jpg", photo())).json()
    folder = desk.jobs[view["id"]].folder
    at_work(desk, view)
    waiting = send(client, ("next.jpg", photo())).json()
    assert client.get(waiting["links"]["self"]).json()["position"] == 0
    assert client.delete(view["links"]["delete"]).status_code == 204
    problem(client.get(view["links"]["self"]), 410, "expired")
    assert finished(client, waiting)["status"] == "done"
    assert not folder.exists()
    assert (desk.pool.timeouts, desk.pool.crashes) == (timeouts, crashes)


def test_a_cancelled_picture_in_line_is_never_begun(client, desk, stopped):
    first = send(client, ("a.jpg", photo())).json()
    at_work(desk, first)
    jobs = [send(client, (f"{i}.jpg", photo())).json() for i in range(3)]
    assert client.get(jobs[2]["links"]["self"]).json()["position"] == 2
    client.delete(jobs[0]["links"]["delete"])
    assert client.get(jobs[2]["links"]["self"]).json()["position"] == 1
    assert len(desk.pool.colors) == 2
    for job in jobs[1:]:
        client.delete(job["links"]["delete"])
    assert len(desk.pool.colors) == 0
    stopped.process.send_signal(signal.SIGCONT)
    assert finished(client, first)["status"] == "done"


def test_whoever_watches_a_deleted_job_is_told(client, desk, stopped):
    view = send(client, ("a.jpg", photo())).json()
    threading.Timer(0.5, lambda: client.delete(view["links"]["delete"])).start()
    with client.stream("GET", view["links"]["events"]) as response:
        assert response.read().decode().count("event: job") >= 2


def test_too_many_waiting_pictures(client, desk, stopped, monkeypatch):
    changed(monkeypatch, desk, queue=2)
    first = send(client, ("a.jpg", photo())).json()
    at_work(desk, first)
    jobs = [first] + [send(client, (f"{i}.jpg", photo())).json() for i in range(2)]
    response = send(client, ("one too many.jpg", photo()))
    problem(response, 503, "queue_full")
    assert int(response.headers["retry-after"]) >= 1
    for job in jobs:
        client.delete(job["links"]["delete"])


def test_too_many_pictures_of_one_client(client, desk, stopped, monkeypatch):
    changed(monkeypatch, desk, per_client=3)
    job = send(client, *[(f"{i}.jpg", photo()) for i in range(2)]).json()
    response = send(client, *[(f"{i}.jpg", photo()) for i in range(2)])
    problem(response, 429, "too_many_requests")
    assert int(response.headers["retry-after"]) >= 1
    assert [path.name for path in desk.store.run.iterdir()].count(job["id"]) == 1
    client.delete(job["links"]["delete"])


def test_a_full_disk(client, desk, monkeypatch):
    monkeypatch.setattr(desk.store, "max_bytes", desk.store.bytes + 100_000)
    response = send(client, ("a.png", photo(800, 600, format="PNG")))
    problem(response, 503, "disk_full")
    assert response.headers["retry-after"] == "60"


def test_what_is_set_aside_is_what_is_there(client, desk):
    job = finished(client, send(client, ("a.png", photo(300, 200, format="PNG"))).json())
    there = sum(path.stat().st_size for path in desk.jobs[job["id"]].folder.iterdir())
    assert there <= desk.store.used[job["id"]] < 5 * there


def test_results_expire(client, desk, monkeypatch):
    changed(monkeypatch, desk, keep_minutes=1 / 60)
    view = finished(client, send(client, ("a.jpg", photo())).json())
    folder = desk.jobs[view["id"]].folder
    assert 0 < view["expires_in_s"] <= 1
    until(lambda: client.get(view["links"]["self"]).status_code == 410)
    until(lambda: not folder.exists(), seconds=5)
    assert view["id"] not in desk.store.used


def test_what_was_deleted_is_not_remembered_for_ever(client, desk, monkeypatch):
    monkeypatch.setattr(desk_module, "REMEMBERED", 1)
    views = [finished(client, send(client, ("a.jpg", photo())).json()) for _ in range(2)]
    for view in views:
        client.delete(view["links"]["delete"])
    problem(client.get(views[0]["links"]["self"]), 404, "not_found")
    problem(client.get(views[1]["links"]["self"]), 410, "expired")


def test_too_many_uploads_in_a_minute(site, client, monkeypatch):
    state = site[0].app.state
    monkeypatch.setattr(state.uploads, "per_minute", 0.5)
    response = send(client, ("a.jpg", photo()))
    problem(response, 429, "too_many_requests")
    assert int(response.headers["retry-after"]) > 1


def test_too_many_slow_uploads_at_once(site, client, desk):
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=B\r\n\r\n--B\r\n"
    with contextlib.ExitStack() as stack:
        for number in range(desk_module.RECEIVING):
            place = ("127.0.0.1", client.base_url.port)
            connection = stack.enter_context(socket.create_connection(place, timeout=WAIT_S))
            connection.sendall(head)
            until(lambda count=number + 1: desk.receiving.total() == count)
        error = problem(send(client, ("a.jpg", photo())), 429, "too_many_requests")
        assert "received at this moment" in error["message"]
    until(lambda: not desk.receiving)
    assert finished(client, send(client, ("a.jpg", photo())).json())["status"] == "done"


def test_many_jobs_cancelled_at_once(client, desk):
    views = [send(client, (f"{i}.jpg", photo(seed=i))).json() for i in range(12)]
    statuses = []

    def cancel(view):
        statuses.append(client.delete(view["links"]["delete"]).status_code)

    threads = [threading.Thread(target=cancel, args=(view,)) for view in views for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(statuses) == [204] * 12 + [410] * 24
    until(lambda: not any((desk.store.run / view["id"]).exists() for view in views))
    assert not any(view["id"] in desk.store.used for view in views)
    assert finished(client, send(client, ("a.jpg", photo())).json())["status"] == "done"


def test_too_many_renderings_in_a_minute(site, client, job, monkeypatch):
    monkeypatch.setattr(site[0].app.state.renders, "per_minute", 0.5)
    url = job["files"][0]["results"][0]["url"]
    problem(client.get(url, params={"saturation": 1.2}), 429, "too_many_requests")
    assert client.get(url).status_code == 200  # nothing has to be made for it


def test_renderings_at_once_all_come(client, desk, job):
    url = job["files"][0]["results"][0]["view_url"]
    answers = {}

    def ask(number):
        answers[number] = client.get(url, params={"saturation": 1 + number / 10}).status_code

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert answers == dict.fromkeys(range(6), 200)
    # A file is removed when its answer has been sent, which may be after the client has it.
    until(lambda: not list(desk.jobs[job["id"]].folder.glob("render-*")))


# ------------------------------------------------------------------ servers of their own


def test_uploads_are_taken_in_before_the_first_worker_is_ready(tmp_path):
    with serving(folder=str(tmp_path)) as (_, client):
        health = client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "starting")
        view = send(client, ("a.jpg", photo())).json()
        assert view["status"] == "queued"
        page = client.get(view["links"]["page"], headers={"Accept": "text/html"})
        assert page.status_code == 200
    assert list(tmp_path.iterdir()) == []  # a server that ends leaves nothing


def test_a_server_whose_workers_do_not_start_says_so(tmp_path, monkeypatch):
    # Their weights are not there: the file was deleted after the server had looked.
    with serving(folder=str(tmp_path)) as (server, client):
        pool = server.app.state.desk.pool
        pool.workers[0].failures = 5
        time.sleep(0.1)
        assert client.get("/health").json()["status"] == "down"
        problem(send(client, ("a.jpg", photo())), 503, "unavailable")


def test_other_sites_that_are_allowed(tmp_path):
    other = "https://example.org"
    with serving(folder=str(tmp_path), origins=other, hosts="photos.example.org,127.0.0.1") as (
        _,
        client,
    ):
        asked = {"Origin": other, "Access-Control-Request-Method": "POST"}
        preflight = client.options("/api/v1/upload", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == other
        response = send(client, ("a.jpg", photo()), headers={"Origin": other})
        assert response.status_code == 202
        assert response.headers["access-control-allow-origin"] == other
        assert "access-control-allow-credentials" not in response.headers
        foreign = {"Origin": "https://evil.example"}
        problem(send(client, ("a.jpg", photo()), headers=foreign), 403, "cross_origin")
        named = client.post("/test", headers={"Host": "photos.example.org"})
        assert named.status_code == 200
        problem(client.get("/", headers={"Host": "localhost"}), 421, "bad_host")


def test_clients_behind_a_proxy_are_told_apart(tmp_path):
    settings = {"folder": str(tmp_path), "per_minute": 1, "proxies": "127.0.0.1"}
    with serving(**settings) as (_, client):
        for address in ("192.0.2.1", "192.0.2.2"):
            given = {"X-Forwarded-For": address}
            assert send(client, ("a.jpg", photo()), headers=given).status_code == 202
            problem(send(client, ("a.jpg", photo()), headers=given), 429, "too_many_requests")


def test_a_client_cannot_pass_itself_off_as_another(tmp_path):
    with serving(folder=str(tmp_path), per_minute=1) as (_, client):
        assert send(client, ("a.jpg", photo())).status_code == 202
        given = {"X-Forwarded-For": "192.0.2.1"}
        problem(send(client, ("a.jpg", photo()), headers=given), 429, "too_many_requests")
