"""What nobody should send: refused in plain words, or without any effect."""

import io
import json
import socket
import struct
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image
from webtools import finished, photo, problem, send, until

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def bomb(width=50_000, height=50_000):
    """A PNG of some kilobytes that says it has 2500 megapixels, and does: all zero."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(bytes((1 + width // 8) * 2000), 9) * 1
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def folders(desk):
    """What lies in the store."""
    return set(desk.store.run.iterdir())


@pytest.fixture(autouse=True)
def nothing_is_left(desk):
    """A refused upload leaves neither files nor anything set aside."""
    before = folders(desk), dict(desk.store.used), set(desk.jobs)
    yield
    jobs = set(desk.jobs) - before[2]
    assert {f.name for f in folders(desk) - before[0]} == jobs
    assert set(desk.store.used) - set(before[1]) == jobs


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.jpg", b"this is no picture at all\n" * 20),
        ("page.jpg", b"<!doctype html><script>alert(1)</script>"),
        ("vector.svg", SVG),
        ("vector.png", SVG),
        ("empty.jpg", b""),
        ("paper.pdf", b"%PDF-1.7\n"),
        ("program.png", b"\x7fELF" + bytes(200)),
        ("post.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("packed.jpg", b"PK\x03\x04" + bytes(100)),
        ("half.png", photo(format="PNG")[:20]),
    ],
)
def test_what_is_no_picture_is_refused(client, name, content):
    found = problem(send(client, (name, content)), 415, "not_a_picture")
    assert found["file"] == name
    assert found["hint"]
    assert "/" not in found["message"].replace("</", "")


def test_bombs_are_refused_before_they_are_decoded(client):
    packed = bomb()
    assert len(packed) < 100_000
    found = problem(send(client, ("bomb.png", packed)), 413, "too_many_pixels")
    assert "2500.0 megapixels; the limit is 40.0" in found["message"]
    assert "max" not in found["message"]


def test_a_damaged_picture_fails_alone(client):
    whole = photo(200, 150, seed=3)
    files = [("good.jpg", photo()), ("cut.jpg", whole[: len(whole) // 2])]
    view = finished(client, send(client, *files).json())
    good, cut = view["files"]
    assert (view["status"], good["status"], cut["status"]) == ("failed", "done", "failed")
    assert cut["error"]["code"] == "damaged"
    assert cut["error"]["file"] == "cut.jpg"
    assert "cut.jpg" in cut["error"]["message"]
    assert client.get(good["results"][0]["url"]).status_code == 200
    place = f"/download/{view['id']}/1/artistic"
    assert "damaged" in problem(client.get(place), 409, "not_ready")["message"]


def test_a_polyglot_comes_back_as_a_picture_only(client):
    script = b"<script>alert(document.domain)</script>"
    sent = photo(comment=b"*/=alert(1);" + script) + b"PK\x03\x04" + script
    assert script in sent
    view = finished(client, send(client, ("page.html", sent)).json())
    (file,) = view["files"]
    for url in (file["original_url"], file["results"][0]["url"], file["original_view_url"]):
        response = client.get(url)
        assert response.headers["content-type"] == "image/jpeg"
        assert b"script" not in response.content
        assert b"PK" not in response.content[-100:]
        assert "html" not in response.headers["content-disposition"]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("<img src=x onerror=alert(1)>.jpg", "<img src=x onerror=alert(1)>.jpg"),
        ("../../../../etc/passwd.jpg", "passwd.jpg"),
        ("..\\..\\windows\\system.jpg", "system.jpg"),
        ("/etc/cron.d/job.jpg", "job.jpg"),
        ("..", "picture"),
        ("gpj.\u202eexe.jpg", "gpj.exe.jpg"),
        ("été à Paris.jpg", "été à Paris.jpg"),
        ("l" * 500 + ".jpeg", "l" * 95 + ".jpeg"),
        ("CON: |?*.jpg", "CON: |?*.jpg"),
    ],
)
def test_names_are_only_ever_text(client, desk, sent, shown):
    view = finished(client, send(client, (sent, photo(48, 40))).json())
    (file,) = view["files"]
    assert file["name"] == shown
    assert file["status"] == "done"
    folder = desk.jobs[view["id"]].folder
    assert {path.name for path in folder.iterdir()} == {
        "0.upload",
        "0-artistic.jpg",
        "0-artistic.npz",
        "0-artistic.view.jpg",
        "0-original.jpg",
        "0-original.view.jpg",
    }
    page = client.get(view["links"]["page"])
    assert "<img src=x" not in page.text
    assert client.get(file["results"][0]["url"]).status_code == 200


def test_a_name_cannot_add_headers(client):
    name = 'a"; filename="b.exe\r\nSet-Cookie: x=1\r\n\r\n<html>.jpg'
    view = finished(client, send(client, (name, photo(48, 40))).json())
    response = client.get(view["files"][0]["results"][0]["url"])
    assert "set-cookie" not in response.headers
    disposition = response.headers["content-disposition"]
    assert disposition.isascii()
    assert disposition.count('"') == 2
    assert disposition.split('"')[1].endswith("_artistic.jpg")


def test_raw_bytes_in_a_part_cannot_add_headers(client):
    body = (
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nartistic\r\n'
        b'--B\r\nContent-Disposition: form-data; name="size"\r\n\r\n64\r\n'
        b'--B\r\nContent-Disposition: form-data; name="files"; filename="a\rX-A: 1.jpg"\r\n'
        b"Content-Type: text/html\r\n\r\n" + photo(48, 40) + b"\r\n--B--\r\n"
    )
    given = {"Content-Type": "multipart/form-data; boundary=B"}
    response = client.post("/upload", content=body, headers=given)
    if response.status_code == 400:
        problem(response, 400, "bad_request")
        return
    view = finished(client, response.json())
    answer = client.get(view["files"][0]["results"][0]["url"])
    assert "x-a" not in answer.headers
    assert answer.headers["content-type"] == "image/jpeg"


def test_six_pictures_are_too_many(client):
    files = [(f"{i}.jpg", photo(48, 40)) for i in range(6)]
    assert problem(send(client, *files), 422, "too_many_files")["file"] == "5.jpg"


def test_all_models_take_one_picture(client):
    files = [(f"{i}.jpg", photo(48, 40)) for i in range(2)]
    problem(send(client, *files, model="all"), 422, "too_many_files")


def test_a_file_that_is_too_large_is_refused_while_it_comes(client, desk):
    """Nothing says beforehand how long it is, and only what is allowed is kept."""
    most = 0

    def long():
        nonlocal most
        yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="big.jpg"\r\n\r\n'
        yield photo()
        for _ in range(120):
            yield bytes(1 << 20)
            there = [path.stat().st_size for path in desk.store.run.glob("*/0.upload")]
            most = max(most, *there, 0)

    given = {"Content-Type": "multipart/form-data; boundary=B"}
    response = client.post("/upload", content=long(), headers=given)
    assert problem(response, 413, "too_large")["file"] == "big.jpg"
    assert most <= desk.settings.max_bytes


def test_a_length_that_is_too_large_is_refused_at_once(site):
    port = site[1].base_url.port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n"
        kind = b"Content-Type: multipart/form-data; boundary=B\r\n"
        connection.sendall(head + kind + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"model": "artistc"}, "unknown_model", 422),
        ({"model": "../artistic"}, "unknown_model", 422),
        ({"model": None}, "wrong_field", 422),
        ({"size": "8"}, "wrong_field", 422),
        ({"size": "1e9"}, "wrong_field", 422),
        ({"strength": "2"}, "wrong_field", 422),
        ({"strength": "nan"}, "wrong_field", 422),
        ({"strength": "0" * 300}, "wrong_field", 422),
        ({"strenght": "1"}, "wrong_field", 422),
        ({"keep_location": "perhaps"}, "wrong_field", 422),
    ],
)
def test_wrong_fields(client, fields, code, status):
    found = problem(send(client, ("a.jpg", photo(48, 40)), **fields), status, code)
    (name,) = fields
    assert name in found["message"]


def test_forms_that_are_none(client):
    url = "/upload"
    problem(client.post(url, json={"files": []}), 415, "wrong_type")
    problem(client.post(url, content=b""), 415, "wrong_type")
    problem(client.post(url, data={"model": "artistic"}), 415, "wrong_type")
    given = {"Content-Type": "multipart/form-data"}
    problem(client.post(url, content=b"x", headers=given), 400, "bad_request")
    given = {"Content-Type": "multipart/form-data; boundary=B"}
    problem(client.post(url, content=b"", headers=given), 400, "bad_request")
    problem(client.post(url, content=b"nonsense", headers=given), 400, "bad_request")
    part = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    problem(client.post(url, content=part + photo(), headers=given), 400, "bad_request")
    many = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % i for i in range(50)
    )
    problem(client.post(url, content=many + b"--B--\r\n", headers=given), 422, "wrong_field")
    problem(client.post(url, data={"model": "artistic"}, files={"other": b"x"}), 422, "wrong_field")
    problem(client.post(url, files={"model": (None, "artistic")}), 422, "no_files")
    field = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nartistic\r\n'
    nothing_chosen = part.replace(b"a.jpg", b"") + b"\r\n--B--\r\n"
    problem(client.post(url, content=field + nothing_chosen, headers=given), 422, "no_files")


def test_a_type_in_bytes_that_are_no_text(client):
    given = {"Content-Type": b"\xff\xfe/\xff"}
    problem(client.post("/upload", content=b"abc", headers=given), 415, "wrong_type")


def test_made_up_methods_are_counted_as_one(client):
    for number in range(3):
        assert client.request(f"BREW{number}", "/test").status_code == 405
    assert "BREW" not in client.get("/metrics").text


def test_a_client_that_goes_away_leaves_nothing(site, desk):
    port = site[1].base_url.port
    before = folders(desk)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        connection.sendall(head + b"Content-Type: multipart/form-data; boundary=B\r\n\r\n")
        part = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        connection.sendall(part + bytes(5000))
        until(lambda: folders(desk) != before)
    until(lambda: folders(desk) == before)


def test_paths_lead_nowhere(client):
    for path in (
        "/static/../settings.py",
        "/static/x/..%2f..%2fsettings.py",
        "/download/..%2f..%2f/0/artistic",
        "/download/%2e%2e/0/..%2f0.upload",
        "/results/..%2f..%2fetc",
        "/models/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
    ):
        request = httpx.Request("GET", str(client.base_url).rstrip("/") + "/x")
        request.url = request.url.copy_with(raw_path=path.encode())
        response = client.send(request)
        assert response.status_code in (307, 404), path
        assert "root:" not in response.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "a b", "", "[::1"]
)
def test_other_hosts_are_refused(client, host):
    response = client.get("/health", headers={"Host": host})
    if response.status_code == 400 and not response.headers.get("x-request-id"):
        return  # the parser of HTTP itself refused it
    problem(response, 421, "bad_host")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_cannot_send(client, headers):
    problem(send(client, ("a.jpg", photo()), headers=headers), 403, "cross_origin")
    problem(client.delete("/jobs/x", headers=headers), 403, "cross_origin")


def test_pages_of_this_site_can(client):
    own = {"Origin": str(client.base_url).rstrip("/")}
    assert client.post("/test", headers=own).status_code == 200
    assert client.post("/test", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


# ------------------------------------------------------------------ what a picture carries


def located(format="JPEG"):
    """A picture that says where it was taken, and by whom."""
    exif = Image.Exif()
    exif[0x013B] = "A. Photographer"
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)}
    exif[0x8769] = {0x9003: "1936:03:01 10:00:00", 0x927C: b"maker 48.85N"}
    return photo(exif=exif.tobytes(), format=format)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("keep", [False, True])
def test_the_place_is_left_out_unless_it_is_asked_for(client, format, keep):
    name = f"a.{format.lower()}"
    view = send(client, (name, located(format)), keep_location=str(keep).lower()).json()
    (file,) = finished(client, view)["files"]
    tone = "?saturation=1.1"
    for url in (file["results"][0]["url"], file["original_url"], file["results"][0]["url"] + tone):
        with Image.open(io.BytesIO(client.get(url).content)) as image:
            assert image.format == format
            exif = image.getexif()
            assert exif[0x013B] == "A. Photographer"
            assert exif.get_ifd(0x8769)[0x9003] == "1936:03:01 10:00:00"
            assert bool(exif.get_ifd(0x8825)) == keep
            assert (0x927C in exif.get_ifd(0x8769)) == keep
    shown = Image.open(io.BytesIO(client.get(file["results"][0]["view_url"]).content))
    assert not shown.getexif()


def test_notes_say_what_was_left_out(client):
    pages = [Image.fromarray(np.full((40, 48), level, np.uint8)) for level in (50, 150)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    with Image.open(file) as image:
        assert image.n_frames == 2
    view = finished(client, send(client, ("scan.tif", file.getvalue())).json())
    assert view["files"][0]["notes"] == ["it has 2 pages; this is the first"]


def test_nothing_of_a_picture_is_in_the_log(client, capfd, caplog):
    view = finished(client, send(client, ("secret name.jpg", photo())).json())
    client.get(view["files"][0]["results"][0]["url"] + "?saturation=1.2")
    written = caplog.text + json.dumps(capfd.readouterr())
    assert "/upload" in written
    assert "secret" not in written
