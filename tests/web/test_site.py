"""The API as a script uses it: over HTTP, against a running server."""

import io
import json
import re
import zipfile
from datetime import datetime

import numpy as np
import pytest
from PIL import Image
from webtools import finished, photo, problem, send

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


# ------------------------------------------------------------------ pictures in, pictures out


def test_an_upload_becomes_a_job(client):
    response = send(client, ("a.jpg", photo(seed=1)), ("b.png", photo(seed=2, format="PNG")))
    assert response.status_code == 202
    view = response.json()
    assert response.headers["location"] == view["links"]["self"] == f"/jobs/{view['id']}"
    assert len(view["id"]) >= 22  # 128 bits
    assert datetime.fromisoformat(view["created"]).tzinfo is not None
    assert [file["name"] for file in view["files"]] == ["a.jpg", "b.png"]
    done = finished(client, view)
    assert done["status"] == "done"
    assert done["progress"] == 1
    assert 590 < done["expires_in_s"] <= 600
    names = [file["results"][0]["filename"] for file in done["files"]]
    assert names == ["a_artistic.jpg", "b_artistic.png"]


def test_a_result_is_a_picture_in_colour_of_the_same_size(client, job):
    (file,) = job["files"]
    (result,) = file["results"]
    response = client.get(result["url"])
    assert response.headers["content-type"] == "image/jpeg"
    assert int(response.headers["content-length"]) == len(response.content) == result["bytes"]
    with Image.open(io.BytesIO(response.content)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 64))
        assert np.ptp(np.asarray(image, float), axis=2).mean() > 1
    assert (result["width"], result["height"]) == (file["width"], file["height"]) == (96, 64)


def test_the_original_is_as_it_was_sent(client, job):
    response = client.get(job["files"][0]["original_url"])
    sent = np.asarray(Image.open(io.BytesIO(photo())), float)
    there = np.asarray(Image.open(io.BytesIO(response.content)), float)
    assert np.abs(sent - there).max() <= 3  # saved once more as JPEG


def test_a_view_is_small_and_shown(client):
    view = send(client, ("large.png", photo(2000, 1000, format="PNG"))).json()
    (file,) = finished(client, view)["files"]
    response = client.get(file["results"][0]["view_url"])
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-disposition"].startswith("inline")
    assert Image.open(io.BytesIO(response.content)).size == (1024, 512)
    assert Image.open(io.BytesIO(client.get(file["original_view_url"]).content)).size == (1024, 512)
    assert Image.open(io.BytesIO(client.get(file["results"][0]["url"]).content)).size == (
        2000,
        1000,
    )


def test_a_tone_is_changed_without_the_network(client, desk, job):
    done = desk.outcomes["done"]
    (result,) = job["files"][0]["results"]
    grey = Image.open(io.BytesIO(client.get(result["url"], params={"strength": 0}).content))
    assert np.ptp(np.asarray(grey, float), axis=2).mean() < 2
    vivid = client.get(result["view_url"], params={"saturation": 2})
    assert vivid.status_code == 200
    assert vivid.content != client.get(result["view_url"]).content
    assert desk.outcomes["done"] == done
    assert not list(desk.jobs[job["id"]].folder.glob("render-*"))


def test_tones_of_the_upload_hold_for_the_download(client, job):
    view = finished(client, send(client, ("photo.jpg", photo()), saturation="1.5").json())
    url = view["files"][0]["results"][0]["url"]
    same = client.get(job["files"][0]["results"][0]["url"], params={"saturation": 1.5})
    assert client.get(url).content == same.content
    assert view["options"]["saturation"] == 1.5


def test_all_results_in_one_file(client):
    files = [("a.jpg", photo(seed=3)), ("a.jpg", photo(seed=4)), ("c.png", photo(format="PNG"))]
    view = finished(client, send(client, *files).json())
    response = client.get(view["links"]["zip"])
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a_artistic.jpg", "a_artistic-2.jpg", "c_artistic.png"]
        for name, file in zip(archive.namelist(), view["files"], strict=True):
            assert archive.read(name) == client.get(file["results"][0]["url"]).content
        assert archive.infolist()[0].date_time[0] >= 2026
    other = client.get(view["links"]["zip"], params={"strength": 0})
    with zipfile.ZipFile(io.BytesIO(other.content)) as archive:
        assert archive.testzip() is None
        grey = Image.open(io.BytesIO(archive.read("c_artistic.png")))
        assert np.ptp(np.asarray(grey, int), axis=2).max() == 0


def test_all_models(client):
    view = finished(client, send(client, ("photo.jpg", photo()), model="all").json())
    models = client.get("/api/v1/models").json()["offers"]
    assert [r["model"] for r in view["files"][0]["results"]] == [m["name"] for m in models]
    assert view["status"] == "done"


def test_events_tell_until_the_end(client):
    view = send(client, *[(f"{i}.jpg", photo(seed=i)) for i in range(3)]).json()
    with client.stream("GET", view["links"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    found = [json.loads(line) for line in re.findall(r"^data: (.*)$", text, re.MULTILINE)]
    shares = [event["progress"] for event in found]
    assert len(found) > 3
    assert shares == sorted(shares)
    assert (found[-1]["status"], shares[-1]) == ("done", 1)
    assert text.rpartition("\n\nid: end\nevent: job\ndata: ")[1]
    again = client.get(view["links"]["events"], headers={"Last-Event-ID": "end"})
    assert again.status_code == 204  # what tells a browser to stay away


def test_the_versioned_api_is_the_same(client):
    response = send(client, ("photo.jpg", photo()), base="/api/v1", headers={"Accept": "text/html"})
    assert response.status_code == 202
    view = finished(client, response.json())
    links = [view["links"][n] for n in ("self", "events", "zip", "delete")]
    assert all(link.startswith("/api/v1/") for link in links)
    assert view["files"][0]["results"][0]["url"].startswith("/api/v1/download/")
    assert client.get(view["files"][0]["results"][0]["url"]).status_code == 200


def test_a_form_without_scripts_is_sent_to_the_results(client):
    response = send(client, ("a.jpg", photo()), headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 303
    place = response.headers["location"]
    assert re.fullmatch(r"/results/[\w-]+", place)
    page = client.get(place)
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_what_is_deleted_is_gone(client, desk):
    view = finished(client, send(client, ("a.jpg", photo())).json())
    folder = desk.jobs[view["id"]].folder
    assert folder.is_dir()
    assert client.delete(view["links"]["delete"]).status_code == 204
    assert not folder.exists()
    assert view["id"] not in desk.store.used
    for url in (view["links"]["self"], view["links"]["zip"], view["files"][0]["results"][0]["url"]):
        assert "deleted" in problem(client.get(url), 410, "expired")["message"]
    page = client.get(view["links"]["page"], headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"][:9]) == (410, "text/html")
    problem(client.delete(view["links"]["delete"]), 410, "expired")


def test_a_form_deletes_too(client):
    view = send(client, ("a.jpg", photo())).json()
    response = client.post(f"/jobs/{view['id']}/delete")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    problem(client.get(view["links"]["self"]), 410, "expired")


# ------------------------------------------------------------------ other routes


@pytest.mark.parametrize("base", ["", "/api/v1"])
def test_posts_arrive(client, base):
    assert client.post(f"{base}/test", content=b"x" * 1234).json() == {"ok": True, "received": 1234}
    problem(client.post(f"{base}/test", content=b"x" * 1_000_001), 413, "too_large")


def test_health(client, job):
    found = client.get("/health").json()
    assert (found["status"], found["workers"]) == ("ok", 1)


def test_metrics_are_prometheus_text(client, job):
    client.get("/models/artistic/nothing/there")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'coloria_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+')
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not sample.fullmatch(line)] == []
    values = dict(line.rsplit(" ", 1) for line in lines)
    assert int(values['coloria_pictures_total{outcome="done"}']) >= 1
    assert int(values['coloria_http_requests_total{method="POST",route="/upload",status="202"}'])
    assert not [name for name in values if job["id"] in name or "nothing" in name]


def test_head_is_get_without_a_body(client, job):
    for url in ("/", job["files"][0]["results"][0]["url"]):
        got, head = client.get(url), client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(got.content))


def test_the_description_has_every_route(client):
    document = client.get("/api/v1/openapi.json").json()
    assert set(document["paths"]) == {
        f"/api/v1/{path}"
        for path in (
            "upload",
            "jobs/{job}",
            "jobs/{job}/events",
            "download/{job}.zip",
            "download/{job}/{index}/{name}",
            "view/{job}/{index}/{name}",
            "test",
            "health",
            "models",
        )
    }
    upload = document["paths"]["/api/v1/upload"]["post"]
    fields = upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    tones = client.get("/api/v1/models").json()["tones"]
    own = {"files", "model", "size", "samples", "class", "keep_location"}
    assert set(fields) == {*own, *tones}
    assert fields["samples"] | {"minimum": 1, "maximum": 5, "default": 1} == fields["samples"]
    assert "HTTPValidationError" not in json.dumps(document)


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/jobs/AAAAAAAAAAAAAAAAAAAAAA", 404, "not_found"),
        ("GET", "/upload", 405, "method_not_allowed"),
        ("DELETE", "/jobs/AAAAAAAAAAAAAAAAAAAAAA", 404, "not_found"),
        ("GET", "/download/AAAAAAAAAAAAAAAAAAAAAA.zip", 404, "not_found"),
        ("GET", "/download/A/x/artistic", 422, "wrong_field"),
    ],
)
def test_wrong_addresses(client, method, url, status, code):
    problem(client.request(method, url), status, code)


def test_parts_of_a_job_that_are_not_there(client, job):
    for place in ("1/artistic", "-1/artistic", "0/stable", "0/..", "99999999999999999999/original"):
        response = client.get(f"/download/{job['id']}/{place}")
        assert response.status_code == 404, place


@pytest.mark.parametrize(
    "query", ["saturation=5", "saturation=nan", "strength=-0.1", "hue=1", "warmth="]
)
def test_wrong_tones(client, job, query):
    problem(client.get(f"{job['files'][0]['results'][0]['url']}?{query}"), 422, "wrong_field")


def test_the_id_of_a_request_is_echoed(client):
    given = {"X-Request-ID": "my-request.1"}
    assert client.get("/health", headers=given).headers["x-request-id"] == "my-request.1"
    wrong = client.get("/health", headers={"X-Request-ID": "a b\x7f" * 40})
    assert re.fullmatch(r"[0-9a-f]{16}", wrong.headers["x-request-id"])


def test_every_answer_is_guarded(client, job):
    for url in ("/", "/nothing", "/health", job["links"]["self"]):
        response = client.get(url)
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in response.headers
        assert "server" not in response.headers
    picture = client.get(job["files"][0]["results"][0]["url"])
    assert picture.headers["content-security-policy"].endswith("sandbox")
    assert picture.headers["cache-control"] == "no-store"
