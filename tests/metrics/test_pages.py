"""The report and the sheet in the system's Chromium, as people see them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coloria import compare
from coloria.metrics.evaluate import evaluate
from coloria.metrics.report import report
from coloria.metrics.rows import ModelRow

pytestmark = pytest.mark.system

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync"]
WIDTHS = (1280, 390)
"""A desk, and a phone; CSS pixels."""
BROKEN = """[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    for seed, name in enumerate(("a", "b", "<img src=x onerror=alert(1)>")):
        small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC).save(
            place / f"{name}.png"
        )
    return place


def opened(chromium: Any, path: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """The page, and what it asked of the network or complained of."""
    said: list[str] = []
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.on("request", lambda r: said.append(r.url) if not r.url.startswith("data:") else None)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report(chromium: Any, folder: Path, tmp_path: Path, scheme: str) -> None:
    row = ModelRow("artistic", "artistic")
    target = tmp_path / "report.html"
    report(evaluate(data=folder, rows=[row], metrics=["dE00", "cf"]), [row], target)
    for width in WIDTHS:
        page, said = opened(chromium, target, width, scheme)
        assert said == [target.as_uri()]  # itself, and nothing else
        assert page.evaluate(BROKEN) == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg").count() == 2
        assert page.locator("svg >> nth=0 >> circle").count() == 4 * 3
        body, text = page.evaluate(
            "[getComputedStyle(document.body), getComputedStyle(document.querySelector('td'))]"
            ".map((style, i) => i ? style.color : style.backgroundColor)"
        )
        assert (brightness(body) > brightness(text)) == (scheme == "light")


def brightness(color: str) -> int:
    """Of "rgb(r, g, b)"."""
    return sum(int(part) for part in color[4:-1].split(","))


def test_the_slider_of_the_sheet(chromium: Any, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheet.html"
    compare.write(compare.cells(folder / "a.png", ["artistic"], sweep=True), target)
    for width in WIDTHS:
        page, said = opened(chromium, target, width, "light")
        assert said == [target.as_uri()]
        assert page.evaluate(BROKEN) == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        slider, after = page.locator("input >> nth=1"), page.locator(".after >> nth=1")
        assert "50%" in after.evaluate("e => getComputedStyle(e).clipPath")
        slider.focus()
        page.keyboard.press("End")
        assert "100%" in after.evaluate("e => getComputedStyle(e).clipPath")
        box = slider.bounding_box()
        page.mouse.click(box["x"] + 1, box["y"] + box["height"] / 2)
        assert " 0%)" in after.evaluate("e => getComputedStyle(e).clipPath")
        other = page.locator(".after >> nth=0")
        assert "50%" in other.evaluate("e => getComputedStyle(e).clipPath")
