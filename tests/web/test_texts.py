"""Texts, colours and example pictures of the pages."""

import re
import string
import tomllib
from html.parser import HTMLParser
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from coloria.models import registry
from coloria.web import errors
from coloria.web.pages import HERE
from coloria.web.texts import LANGUAGES, texts, translate

TEMPLATES = {path.name: path.read_text("utf-8") for path in (HERE / "templates").iterdir()}
SCRIPTS = {path.name: path.read_text("utf-8") for path in (HERE / "static").glob("*.js")}
STYLES = {path.name: path.read_text("utf-8") for path in (HERE / "static").glob("*.css")}
EXAMPLES = HERE / "static" / "examples"
ASSETS = HERE.parent / "assets"

FRENCH_ONLY = re.compile(r"model\.\w+\.summary|route\.\w+")
"""In English these lines are those of the registry."""

OF_PICTURES = {
    *("damaged", "timed_out", "worker_crashed", "out_of_memory", "cannot_write"),
    *("weights", "cancelled", "internal", "too_many_pixels"),
}
"""Codes of a picture in a job."""


# ------------------------------------------------------------------ texts


def test_both_languages_say_the_same():
    english, french = (texts(language) for language in LANGUAGES)
    assert [key for key in french if key not in english and not FRENCH_ONLY.fullmatch(key)] == []
    assert [key for key in english if key not in french] == []
    assert [key for key in english if holes(english[key]) != holes(french[key])] == []
    assert [key for key in (*english, *french) if not french[key]] == []


def holes(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_each_has_as_many_lines_in_both_languages():
    english, french = (texts(language) for language in LANGUAGES)
    assert [k for k in english if len(english[k].split("\n")) != len(french[k].split("\n"))] == []


def test_french_is_set_as_french_is():
    wrong = [
        k for k, text in texts("fr").items() if re.search(r"'|\.\.\.|[^\s][;!?»]|«[^\s]", text)
    ]
    assert wrong == []


def test_a_text_with_a_value_and_one_that_is_not_there():
    assert translate("fr", "time.minutes", n=10) == "10 minutes"
    assert translate("en", "model.nobody.how", default="x") == "x"
    with pytest.raises(KeyError):
        translate("en", "model.nobody.how")


def test_no_text_is_left_over_and_none_is_missing():
    known = set(texts("en")) | set(texts("fr"))
    code = "".join([*TEMPLATES.values(), *SCRIPTS.values()])
    named = set(re.findall(r"""["']([a-z]+(?:\.[\w-]+)+)["']""", code))
    joined = set(re.findall(r"""["']([a-z]+\.)["'] ~""", code)) | {"error."}
    unused = {k for k in known if k not in named and not k.startswith(tuple(joined))}
    assert unused == set()
    assert set(re.findall(r"""\bt\(["']([\w.-]+\w)["']""", code)) <= known


def test_every_error_is_told():
    told = {key.removeprefix("error.") for key in texts("en")}
    assert (OF_PICTURES | set(errors.CODES)) - told == set()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("model", registry.names())
def test_every_model_is_explained(model, language):
    for part in ("how", "strengths", "weaknesses"):
        assert len(translate(language, f"model.{model}.{part}")) > 60
    assert language == "en" or translate(language, f"model.{model}.summary")


def test_every_route_is_told_in_french(client):
    """In English its own description is shown."""
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    names = {route["summary"].lower() for path in paths.values() for route in path.values()}
    told = {key.removeprefix("route.") for key in texts("fr") if key.startswith("route.")}
    assert names == told


@pytest.mark.parametrize("path", ["/", "/results"])
def test_scripts_say_only_what_their_page_has(client, job, path):
    entry = {"/": "upload.js", "/results": "results.js"}[path]
    page = client.get(
        path if path == "/" else job["links"]["page"], headers={"Accept": "text/html"}
    )
    block = re.search(r'data-texts="([^"]*)"', page.text)[1]
    said = set()
    for name in loaded(entry):
        said |= set(re.findall(r'"((?:check|sending|results|form)\.\w+)"', SCRIPTS[name]))
    assert [key for key in said if f"&#34;{key}&#34;:" not in block] == []


def loaded(name):
    """A script and those that it imports."""
    found = {name}
    for other in re.findall(r'(?:from|import) "\./(\w+\.js)"', SCRIPTS[name]):
        found |= loaded(other)
    return found


# ------------------------------------------------------------------ the pages as documents


class Document(HTMLParser):
    """What is needed of a page to look after its labels, links and headings."""

    VOID: ClassVar = {"meta", "link", "img", "input", "br", "path", "rect", "circle"}

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.unlabelled = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        assert len(pairs) == len(attributes), (tag, pairs)
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, pairs):
        self.tags.append((tag, dict(pairs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


PAGES = ("/", "/models", "/how-it-works", "/about", "/api", "/nothing", "/results")


@pytest.fixture
def document(client, job, request):
    path = job["links"]["page"] if request.param == "/results" else request.param
    return Document(client.get(path, headers={"Accept": "text/html"}).text)


each_document = pytest.mark.parametrize(
    "document", [*PAGES, *(f"/models/{name}" for name in registry.names())], indirect=True
)


@each_document
def test_a_page_is_one_that_screen_readers_can_use(document):
    ids = [a["id"] for _, a in document.tags if "id" in a]
    assert len(ids) == len(set(ids))
    labelled = {a["for"] for a in document.all("label")}
    for field in document.all("input"):
        assert field.get("id") in labelled or field.get("aria-label"), field
    for picture in document.all("img"):
        assert "alt" in picture, picture
    for _, a in document.tags:
        for name in ("for", "aria-labelledby", "aria-describedby", "aria-controls"):
            assert set(a.get(name, "").split()) <= set(ids), a
    heads = [int(tag[1]) for tag, _ in document.tags if re.fullmatch("h[1-6]", tag)]
    assert heads.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(heads))
    assert len(document.all("main")) == 1


@each_document
def test_a_page_marks_itself_in_the_menu(document, request):
    current = [a for a in document.all("a") if "aria-current" in a]
    path = request.node.callspec.params["document"]
    assert len(current) == (path != "/nothing")
    if path.startswith("/models/"):
        assert (current[0]["href"], current[0]["aria-current"]) == ("/models", "true")
    elif current:
        assert current[0]["aria-current"] == "page"


@each_document
def test_links_lead_somewhere(document, client):
    for href in {a["href"] for a in document.all("a")}:
        if href.startswith("#"):
            assert href[1:] in {a.get("id") for _, a in document.tags}
        elif not href.startswith("mailto:"):
            assert client.get(href).status_code == 200, href


def test_nothing_is_fetched_from_elsewhere():
    for name, text in {**TEMPLATES, **SCRIPTS, **STYLES}.items():
        inside = re.sub(r"http://www\.w3\.org/2000/svg", "", text)
        assert not re.search(r"https?://|url\(['\"]?//", inside), name


# ------------------------------------------------------------------ colours


def colours(scheme):
    """The custom properties of a scheme that are plain colours."""
    light, dark = STYLES["tokens.css"].split("@media (prefers-color-scheme: dark)")
    pattern = re.compile(r"--([\w-]+): (#[0-9a-f]{6});")
    return dict(pattern.findall(light)) | (dict(pattern.findall(dark)) if scheme == "dark" else {})


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def contrast(one, other):
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_ON = {
    "ink": ("paper", "surface", "sunk", "tint"),
    "muted": ("paper", "surface", "sunk", "tint", "error-tint"),
    "accent": ("paper", "surface", "sunk", "tint", "error-tint"),
    "accent-strong": ("paper", "surface", "tint"),
    "on-accent": ("accent", "accent-strong"),
    "error": ("paper", "surface", "sunk", "error-tint"),
    "forest": ("paper", "forest-tint"),
    "earth": ("paper", "earth-tint"),
}
"""Which colour is written on which."""

EDGES_ON = {
    "control": ("paper", "surface"),
    "accent": ("paper", "surface", "tint", "sunk"),
    "focus": ("paper", "surface", "tint"),
    "error": ("error-tint",),
}
"""Edges that tell what can be used."""


def test_contrast_is_measured_as_published():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # WebAIM


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT_ON, 4.5), (EDGES_ON, 3)], ids=["text", "edges"])
def test_contrasts_are_aa(scheme, pairs, least):
    found = colours(scheme)
    low = {
        (one, other): round(contrast(found[one], found[other]), 2)
        for one, others in pairs.items()
        for other in others
        if contrast(found[one], found[other]) < least
    }
    assert low == {}


def test_style_sheets_use_the_tokens_and_no_other_colours():
    used = {v for text in STYLES.values() for v in re.findall(r"var\(--([\w-]+)", text)}
    given = {v for text in STYLES.values() for v in re.findall(r"--([\w-]+):", text)}
    assert used <= given | {"width", "aspect"}  # set by results.js
    others = {
        (name, colour)
        for name, text in STYLES.items()
        for colour in re.findall(r"#[0-9a-f]{3,8}\b", text)
        if name != "tokens.css"
    }
    assert others <= {("compare.css", "#fff")}  # on a photograph, whatever the scheme


# ------------------------------------------------------------------ examples


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.jpg")), ids=lambda path: path.stem)
def test_an_example_is_the_photograph_and_its_result(path):
    original = ASSETS / f"{path.stem.rpartition('_')[0] or path.stem}.jpg"
    if "_" not in path.stem:
        assert path.read_bytes() == original.read_bytes()
        return
    with Image.open(path) as result, Image.open(original) as before:
        coloured, gray = np.asarray(result), np.asarray(before.convert("RGB"))
    assert np.ptp(coloured, axis=2).mean() > 5
    lightness = np.abs(rgb2lab(coloured)[..., 0] - rgb2lab(gray)[..., 0])
    assert lightness.mean() < 3  # JPEG at quality 80


def test_the_pages_show_the_examples_that_are_there():
    parts = TEMPLATES["_parts.html"]
    named = set(re.findall(r'"([\w-]+)": \((\d+), (\d+)\)', parts))
    models = re.search(r"set examples_by = (\[.*?\])", parts)[1]
    shown = {f"{name}.jpg" for name, _, _ in named}
    shown |= {f"{n}_{m}.jpg" for n, _, _ in named for m in tomllib.loads(f"x = {models}")["x"]}
    assert shown == {path.name for path in EXAMPLES.iterdir()}
    for name, width, height in named:
        with Image.open(EXAMPLES / f"{name}.jpg") as image:
            assert image.size == (int(width), int(height))
