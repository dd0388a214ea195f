"""The pages as a server gives them: languages, addresses of files, errors. What they do in a
browser is tested in one.
"""

import gzip
import re

import httpx
import pytest
from webtools import problem

from coloria.models import registry
from coloria.web import texts
from coloria.web.assets import Assets
from coloria.web.errors import RefusedError

PLAIN = ("/", "/models", "/how-it-works", "/about", "/api")
MODELS = [f"/models/{name}" for name in registry.names()]


def files(page):
    """The addresses of the site's own files on a page."""
    return sorted(set(re.findall(r'(?:src|href|poster)="(/static/[^"]+)"', page)))


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("path", [*PLAIN, *MODELS])
def test_every_page_is_there_in_every_language(client, path, language):
    response = client.get(path, params={"lang": language})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-language"] == language
    assert f'<html lang="{language}"' in response.text
    inside = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", response.text)
    assert all('type="application/json"' in attributes for attributes in inside)  # only data
    assert not re.search(r"<[^>]*\s(style|on\w+)=", response.text)
    outside = re.findall(r'(?:src|<link[^>]*href)="(https?:)?//', response.text)
    assert outside == []


@pytest.mark.parametrize("path", [*PLAIN, "/models/artistic"])
def test_what_a_page_needs_is_there_and_small(client, path):
    page = client.get(path)
    total = len(gzip.compress(page.content))
    for url in files(page.text):
        response = client.get(url, headers={"Accept-Encoding": "gzip"})
        assert response.status_code == 200, url
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        if "/examples/" not in url:
            total += int(response.headers["content-length"])
    assert total < 200_000


@pytest.mark.parametrize(
    ("headers", "cookie", "query", "language"),
    [
        ({}, None, "", "en"),
        ({"Accept-Language": "fr-CH, fr;q=0.9, en;q=0.8"}, None, "", "fr"),
        ({"Accept-Language": "de, en;q=0.5, fr;q=0.4"}, None, "", "en"),
        ({"Accept-Language": "en;q=0.1, fr;q=x, fr;q=0.2"}, None, "", "fr"),
        ({"Accept-Language": "de"}, "fr", "", "fr"),
        ({"Accept-Language": "fr"}, "fr", "?lang=en", "en"),
        ({}, "xx", "?lang=../etc", "en"),
    ],
)
def test_the_language(client, headers, cookie, query, language):
    sent = {**headers, **({"Cookie": f"lang={cookie}"} if cookie else {})}
    with httpx.Client(base_url=client.base_url, timeout=60) as fresh:
        response = fresh.get(f"/about{query}", headers=sent)
    assert response.headers["content-language"] == language
    assert "Accept-Language" in response.headers["vary"]
    set_cookie = response.headers.get("set-cookie", "")
    assert set_cookie.startswith(f"lang={language};") == query.endswith(language)


def test_an_error_is_a_page_for_a_browser_and_json_for_a_script(client):
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["x-request-id"] in page.text
    problem(client.get("/nothing"), 404, "not_found")
    problem(client.get("/api/v1/nothing", headers={"Accept": "text/html"}), 404, "not_found")
    problem(client.get("/models/nothing"), 404, "not_found")


def test_an_x_name_leads_to_its_model(client):
    response = client.get("/models/artistix")
    assert (response.status_code, response.headers["location"]) == (308, "/models/artistic")


def test_the_icon_is_where_browsers_look(client):
    response = client.get("/favicon.ico", follow_redirects=True)
    assert response.headers["content-type"].startswith("image/svg+xml")


# ------------------------------------------------------------------ files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "style.css").write_text("body { color: red }" * 100)
    (tmp_path / "icon.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_another_content_has_another_address(folder):
    first = Assets(folder).url("a/style.css")
    assert re.fullmatch(r"/static/[0-9a-f]{12}/a/style\.css", first)
    assert Assets(folder).url("a/style.css") == first
    (folder / "icon.png").write_bytes(b"\x89PNG!")
    assert Assets(folder).url("a/style.css") != first
    with pytest.raises(KeyError):
        Assets(folder).url("b.css")


def ask(assets, digest, name, accept="gzip"):
    from starlette.requests import Request

    scope = {"type": "http", "headers": [(b"accept-encoding", accept.encode())]}
    return assets.respond(Request(scope), digest, name)


def test_text_is_packed_where_that_is_understood(folder):
    assets = Assets(folder)
    packed = ask(assets, assets.digest, "a/style.css")
    assert packed.headers["content-encoding"] == "gzip"
    plain = ask(assets, assets.digest, "a/style.css", "br")
    assert gzip.decompress(packed.body) == plain.body
    assert "content-encoding" not in ask(assets, assets.digest, "icon.png").headers


def test_files_that_are_not_there(folder):
    assets = Assets(folder)
    for digest, name in ((assets.digest, "b"), ("0" * 12, "icon.png"), (assets.digest, "../x")):
        with pytest.raises(RefusedError):
            ask(assets, digest, name)


def test_while_developing_files_are_read_anew(folder):
    assets = Assets(folder, reload=True)
    before = assets.url("a/style.css")
    (folder / "new.js").write_text("1")
    assert assets.url("new.js")
    assert ask(assets, "0" * 12, "new.js").body
    assert assets.url("a/style.css") != before
