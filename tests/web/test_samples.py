"""Several colourings of a photograph, and what it shows: asked for over HTTP."""

import io
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from webtools import finished, photo, problem, send

from coloria.cli.main import cli


def made(client, **fields):
    """The job of one PNG, done."""
    sent = send(client, ("photo.png", photo(format="PNG")), **fields)
    assert sent.status_code == 202, sent.text
    view = finished(client, sent.json())
    assert view["status"] == "done", view
    return view


def content(client, result):
    return client.get(result["url"]).content


def test_samples_are_those_of_the_command_line(client, drawing, bigcolor_weights, tmp_path):
    view = made(client, model="bigcolor", samples="3")
    results = view["files"][0]["results"]
    assert [r["filename"] for r in results] == [f"photo_bigcolor_s{i}.png" for i in (1, 2, 3)]
    assert [(r["model"], r["sample"]) for r in results] == [("bigcolor", i) for i in (1, 2, 3)]
    (tmp_path / "photo.png").write_bytes(photo(format="PNG"))
    words = ["colorize", str(tmp_path / "photo.png"), "-m", "bigcolor", "--samples", "3"]
    words += ["--weights", str(bigcolor_weights[False]), "--render-size", "64"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    for result in results:
        with Image.open(io.BytesIO(content(client, result))) as ours:
            theirs = Image.open(tmp_path / result["filename"])
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert len({content(client, r) for r in results}) == 3
    with zipfile.ZipFile(io.BytesIO(client.get(view["links"]["zip"]).content)) as archive:
        assert archive.namelist() == [r["filename"] for r in results]
    (alone,) = made(client, model="bigcolor")["files"][0]["results"]
    assert (alone["filename"], alone["sample"]) == ("photo_bigcolor.png", None)
    assert content(client, alone) == content(client, results[0])


def test_a_class_by_name_or_number(client, drawing):
    named, numbered, other = (
        made(client, model="bigcolorx", **{"class": wanted})
        for wanted in ("Strawberry", "949", "7")
    )
    assert named["options"]["class"] == "Strawberry"
    pictures = [content(client, v["files"][0]["results"][0]) for v in (named, numbered, other)]
    assert [pictures[0] == each for each in pictures[1:]] == [True, False]


def test_what_a_classifier_saw_is_told(client, drawing):
    view = made(client, model="bigcolorx", samples="2")
    (note,) = view["files"][0]["notes"]
    assert note.startswith("class ")
    assert note.endswith("%)")


def test_of_all_models_only_those_take_it_that_can(client, drawing, monkeypatch):
    for name in set(drawing) - {"artistic", "bigcolor", "bigcolorx"}:
        monkeypatch.delitem(drawing, name)  # quick
    view = made(client, model="all", samples="2", **{"class": "3"})
    found = [(r["model"], r["sample"]) for r in view["files"][0]["results"]]
    drawn = [(name, i) for name in ("bigcolor", "bigcolorx") for i in (1, 2)]
    assert sorted(found, key=str) == sorted([("artistic", None), *drawn], key=str)
    assert view["files"][0]["notes"] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"samples": "2"}, "artistic gives one answer"),
        ({"class": "3"}, "artistic knows no classes"),
        ({"class": "3", "model": "bigcolor"}, "bigcolor knows no classes"),
        ({"class": "strawbery", "model": "bigcolorx"}, "did you mean 'strawberry'"),
        ({"class": "1000", "model": "bigcolorx"}, "0..999"),
        ({"class": "x" * 101, "model": "bigcolorx"}, "at most 100 characters"),
        ({"samples": "6", "model": "bigcolor"}, "less than or equal to 5"),
        ({"samples": "0", "model": "bigcolor"}, "greater than or equal to 1"),
        ({"class_": "3", "model": "bigcolorx"}, "did you mean 'class'"),
    ],
)
def test_what_cannot_be_is_refused(client, drawing, fields, words):
    said = problem(send(client, ("a.png", photo(format="PNG")), **fields), 422, "wrong_field")
    assert words in said["message"]


def test_what_says_nothing_is_no_mistake(client):
    response = send(client, ("a.png", photo(format="PNG")), samples="1", **{"class": ""})
    assert finished(client, response.json())["status"] == "done"


def test_more_than_may_ever_wait_is_refused(client, desk, drawing, monkeypatch):
    monkeypatch.setattr(desk, "settings", desk.settings.model_copy(update={"per_client": 20}))
    files = [(f"{i}.png", photo(format="PNG")) for i in range(5)]
    said = problem(send(client, *files, model="bigcolor", samples="5"), 422, "too_many_files")
    assert "25" in said["message"]


def test_the_choices_say_who_takes_what(client, drawing):
    found = client.get("/api/v1/models").json()
    takes = {o["name"]: (o["draws"], o["classes"]) for o in found["offers"]}
    assert takes["artistic"] == (False, 0)
    assert (takes["bigcolor"], takes["bigcolorx"]) == ((True, 0), (True, 1000))
    assert found["limits"]["samples"] == 5
