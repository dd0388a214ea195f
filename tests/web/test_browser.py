"""The pages in the system's Chromium, as people use them.

Playwright's driver keeps an event loop in its thread, so it lives only as long as this module.
"""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webtools import photo, serving

pytestmark = pytest.mark.system

CHROMIUM = "/usr/bin/chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync"]
WAIT_MS = 60_000

PATHS = ("/", "/models", "/models/artistic", "/how-it-works", "/about", "/api", "/nothing")

WATCH = """
window.seen = [];
addEventListener("securitypolicyviolation", (event) => {
  seen.push(`${event.violatedDirective} ${event.blockedURI}`);
});
window.urls = 0;
const { createObjectURL, revokeObjectURL } = URL;
URL.createObjectURL = (file) => { urls += 1; return createObjectURL.call(URL, file); };
URL.revokeObjectURL = (url) => { urls -= 1; revokeObjectURL.call(URL, url); };
"""
"""Counts what the page must not leave behind; it comes from the driver, so the policy allows it."""

DROP = """(target, [names, data]) => {
  const transfer = new DataTransfer();
  names.forEach((name, i) => {
    const bytes = Uint8Array.from(atob(data[i]), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  });
  const send = (kind) => target.dispatchEvent(
    new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  send("dragenter");
  const over = document.body.classList.contains("dragging");
  const taken = !send("dragover");
  send("drop");
  return [over, taken, document.body.classList.contains("dragging")];
}"""


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, client):
    """Opens pages that must stay without errors; gives a function that does."""
    contexts, told = [], []

    def opened(path="/", width=1280, base=client.base_url, **options):
        context = chromium.new_context(
            base_url=str(base), viewport={"width": width, "height": 800}, locale="en", **options
        )
        contexts.append((context, options.get("java_script_enabled", True)))
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and told.append(m.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(path)
        return page

    yield opened
    for context, scripts in contexts:
        for page in context.pages if scripts else ():
            told.extend(page.evaluate("window.seen ?? []"))
        context.close()
    # Browsers log every refusal that they are given as an error of the page.
    assert [text for text in told if "responded with a status of 4" not in text] == []


@pytest.fixture
def page(open_page):
    return open_page()


def given(name, data, type="image/jpeg"):
    """A file as Playwright takes it."""
    return {"name": name, "mimeType": type, "buffer": data}


def small(page):
    """Has the network run at a small size, so that it is quick."""
    page.locator(".options summary").click()
    page.fill("#size", "64")


def coloured(page, count=1):
    """Sends, and waits for the results."""
    page.click("#submit")
    page.wait_for_url("**/results/*")
    page.locator("#zip").wait_for()
    assert page.locator("img[data-view]").count() == count


def problems(page):
    """What is written in red beside the files."""
    return [text for text in page.locator(".pick .problem").all_text_contents() if text]


def fetched(page, locator):
    """The bytes of a download, and its name."""
    with page.expect_download() as download:
        locator.click()
    return Path(download.value.path()).read_bytes(), download.value.suggested_filename


# ------------------------------------------------------------------ from the drop to the download


def test_two_photographs_are_dropped_coloured_compared_and_downloaded(page, client):
    import base64

    sent = [photo(seed=1), photo(seed=2)]
    data = [base64.b64encode(content).decode() for content in sent]
    drop = page.locator(".drop")
    assert drop.evaluate(DROP, [["one.jpg", "two.jpg"], data]) == [True, True, False]
    assert page.locator(".pick-name").all_text_contents() == ["one.jpg", "two.jpg"]
    page.locator("label[for=model-artistic]").click()
    small(page)
    coloured(page, 2)

    job = client.get(page.locator("#results").get_attribute("data-self")).json()
    assert job["status"] == "done"
    assert job["model"] == "artistic"
    assert job["options"]["size"] == 64
    assert page.locator(".picture h2").all_text_contents() == ["one.jpg", "two.jpg"]
    for file, link in zip(job["files"], page.locator("a[data-url]:not(#zip)").all(), strict=True):
        content, name = fetched(page, link)
        (result,) = file["results"]
        assert name == result["filename"]
        assert content == client.get(result["url"]).content
    archive, name = fetched(page, page.locator("#zip"))
    assert name == "coloria.zip"
    with zipfile.ZipFile(io.BytesIO(archive)) as whole:
        assert whole.read("two_artistic.jpg") == content


@pytest.fixture
def results(open_page, job):
    page = open_page(job["links"]["page"])
    page.locator("img[data-view]").first.wait_for()
    return page


def at(page):
    found = page.locator(".compare").first.evaluate("e => e.style.getPropertyValue('--at')")
    assert found.endswith("%")
    return int(found[:-1])


def test_the_slider_follows_pointer_and_keys(results):
    compare = results.locator(".compare").first
    box = compare.bounding_box()
    results.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    results.mouse.down()
    results.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    results.mouse.up()
    moved = at(results)
    assert moved == pytest.approx(25, abs=1)  # the mouse goes by whole pixels
    results.keyboard.press("ArrowRight")
    assert at(results) == moved + 1
    results.keyboard.press("End")
    assert at(results) == 100
    slider = results.get_by_role("slider", name="Compare photo.jpg")
    assert slider.get_attribute("aria-valuetext") == "100 % original"


def test_the_slider_shows_grey_on_one_side_and_colour_on_the_other(results):
    picture = results.locator(".compare").first
    picture.scroll_into_view_if_needed()
    results.locator("img.compare-after").first.evaluate("image => image.decode()")
    image = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), float)
    colour = np.ptp(image, axis=2)
    quarter = image.shape[1] // 4
    inner = slice(image.shape[0] // 4, image.shape[0] // 2)
    assert colour[inner, : quarter - 10].mean() < 1
    assert colour[inner, -quarter + 10 :].mean() > 2


def test_the_slider_follows_a_finger(open_page, job):
    page = open_page(job["links"]["page"], width=390, has_touch=True)
    box = page.locator(".compare").first.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + 20)
    assert at(page) == pytest.approx(75, abs=1)


def test_tones_are_changed_afterwards_and_put_back(results, client, job):
    (result,) = job["files"][0]["results"]
    shown = results.locator("img[data-view]").first
    slider = results.get_by_label("Saturation")
    slider.fill("1.5")
    results.locator(f"img[src='{result['view_url']}?saturation=1.5']").wait_for()
    content, _ = fetched(results, results.locator("a[data-url]:not(#zip)"))
    assert content == client.get(result["url"], params={"saturation": 1.5}).content
    assert content != client.get(result["url"]).content
    assert results.locator(".tone output").nth(1).text_content() == "150 %"
    archive, _ = fetched(results, results.locator("#zip"))
    with zipfile.ZipFile(io.BytesIO(archive)) as whole:
        assert whole.read(result["filename"]) == content
    results.get_by_role("button", name="Reset").click()
    results.locator(f"img[src='{result['view_url']}']").wait_for()
    assert slider.input_value() == "1"
    assert shown.get_attribute("src") == result["view_url"]


def test_every_model_on_one_photograph(page, client):
    page.set_input_files("#files", [given("one.jpg", photo(seed=3))])
    page.locator("label[for=model-all]").click()
    assert page.locator("#submit").text_content() == "Colour with all models"
    small(page)
    offers = client.get("/api/v1/models").json()["offers"]
    coloured(page, len(offers))
    names = [text.split("\n")[0].strip() for text in page.locator(".result-name").all_inner_texts()]
    assert [re.sub(" (own weights|pre-trained)$", "", name) for name in names] == [
        "Original",
        *sorted(offer["title"] for offer in offers),
    ]
    assert page.locator("figure .badge").count() == len(offers)
    job = client.get(page.locator("#results").get_attribute("data-self")).json()
    for result in job["files"][0]["results"]:
        content, _ = fetched(page, page.locator(f"a[data-url='{result['url']}']"))
        assert content == client.get(result["url"]).content
    original, _ = fetched(page, page.get_by_role("link", name="Download the original"))
    assert original == client.get(job["files"][0]["original_url"]).content


def test_colourings_are_asked_for_where_the_model_gives_several(drawing, open_page, client):
    page = open_page()
    samples, label = page.locator("#samples"), page.locator("#class")

    def chosen(model):
        page.locator(f"label[for=model-{model}]").click()
        seen = [field.is_visible() for field in (samples, label)]
        assert seen == [field.is_enabled() for field in (samples, label)]
        return seen

    page.set_input_files("#files", [given("one.jpg", photo(seed=3))])
    found = [chosen(model) for model in ("bigcolorx", "all", "artistic", "bigcolor")]
    assert found == [[True, True], [True, True], [False, False], [True, False]]
    page.locator("label[for=model-bigcolorx]").click()
    label.fill("strawbery")
    page.locator("label[for=model-bigcolor]").click()  # what was written there is not sent
    samples.fill("2")
    small(page)
    coloured(page, 2)
    names = [text.split("\n")[0] for text in page.locator(".result-name").all_inner_texts()]
    assert names[0] == "Original"
    assert [name[:15] for name in names[1:]] == ["BigColor, no. 1", "BigColor, no. 2"]
    job = client.get(page.locator("#results").get_attribute("data-self")).json()
    assert (job["options"]["samples"], job["options"]["class"]) == (2, None)
    for result in job["files"][0]["results"]:
        content, name = fetched(page, page.locator(f"a[data-url='{result['url']}']"))
        assert (name, content) == (result["filename"], client.get(result["url"]).content)


# ------------------------------------------------------------------ refusals, in words


def test_six_files_are_refused(page):
    files = [given(f"{i}.jpg", photo(seed=i)) for i in range(6)]
    page.set_input_files("#files", files)
    page.locator(".pick.refused").wait_for()
    (words,) = problems(page)
    assert words.startswith("Only 5 photographs can be sent at a time.")
    page.get_by_role("button", name="Remove 0.jpg").click()
    assert problems(page) == []
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove 1.jpg"


def test_all_models_take_one(page):
    page.set_input_files("#files", [given(f"{i}.jpg", photo(seed=i)) for i in range(2)])
    page.locator("label[for=model-all]").click()
    (words,) = problems(page)
    assert "takes one photograph" in words
    page.locator("label[for=model-artistic]").click()
    assert problems(page) == []


@pytest.mark.parametrize(
    ("name", "data", "type", "words"),
    [
        ("notes.jpg", b"only words" * 99, "image/jpeg", "This is not a picture"),
        ("notes.txt", b"only words", "text/plain", ".txt files are not taken. Use JPG"),
        ("page.jpg", b"<html>", "text/html", "This is not a picture"),
        ("drawing.svg", b"<svg/>", "image/svg+xml", ".svg files are not taken"),
        ("photo", photo(), "image/jpeg", "no ending such as .jpg"),
        ("empty.jpg", b"", "image/jpeg", "The file is empty"),
        ("half.jpg", photo()[:200], "image/jpeg", "The picture cannot be opened"),
    ],
    ids=["text", "suffix", "html", "svg", "no suffix", "empty", "damaged"],
)
def test_what_cannot_be_sent_says_why(page, name, data, type, words):
    page.set_input_files("#files", [given(name, data, type)])
    page.locator(".pick.refused .problem", has_text=words).wait_for()
    (said,) = problems(page)
    assert said.endswith("It is not sent.")
    page.click("#submit")
    assert "None of these files can be sent" in page.locator("#problem").text_content()
    assert page.url.endswith("/")


def test_a_file_of_too_many_bytes(page):
    page.locator("#files").evaluate("""(input) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(26e6)], "big.jpg", { type: "image/jpeg" }));
      input.files = transfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }""")
    (said,) = problems(page)
    assert said == "The file has 26 MB; at most 25 MB are taken. It is not sent."


def test_the_message_stands_beside_its_file_in_red(page):
    page.set_input_files("#files", [given("good.jpg", photo()), given("bad.jpg", b"words" * 9)])
    item = page.locator(".pick", has_text="bad.jpg")
    item.locator(".problem:not(:empty)").wait_for()
    red, green, blue = map(
        int, re.findall(r"\d+", item.locator(".problem").evaluate("e => getComputedStyle(e).color"))
    )
    assert red > 2 * max(green, blue)
    assert page.locator(".pick", has_text="good.jpg").locator(".problem").text_content() == ""


def test_what_only_the_server_notices_is_told_beside_the_file(page):
    whole = photo(900, 700, format="TIFF")
    page.set_input_files("#files", [given("scan.tif", whole[:5000], "image/tiff")])
    page.locator(".pick").wait_for()
    page.click("#submit")
    page.locator("#problem:not([hidden]), .picture .problem:visible").first.wait_for()
    if page.locator("#problem").count():
        assert problems(page) != []
    else:
        assert "cannot be read" in page.locator(".picture .problem:visible").first.text_content()


def test_a_file_name_is_shown_as_text(page):
    name = "<img src=x onerror=alert(1)>.jpg"
    page.on("dialog", lambda dialog: pytest.fail("the name was run"))
    page.set_input_files("#files", [given(name, photo())])
    assert page.locator(".pick-name").text_content() == name
    small(page)
    coloured(page)
    assert page.locator(".picture h2").text_content() == name
    assert page.locator("img[onerror], img[src=x]").count() == 0


def test_a_large_photograph_is_made_smaller_unless_one_says_no(page, client):
    large = given("large.jpg", photo(2000, 1000))
    for kept, size in ((False, (1024, 512)), (True, (2000, 1000))):
        page.goto("/")
        page.set_input_files("#files", [large])
        page.set_checked("#shrink", not kept)
        small(page)
        coloured(page)
        job = client.get(page.locator("#results").get_attribute("data-self")).json()
        assert (job["files"][0]["width"], job["files"][0]["height"]) == size


# ------------------------------------------------------------------ the end of results


def test_delete_now_and_the_link_afterwards(page):
    page.set_input_files("#files", [given("one.jpg", photo())])
    small(page)
    coloured(page)
    link = page.url
    page.get_by_role("button", name="Delete now").click()
    page.wait_for_url(lambda url: url.endswith("/"))
    assert page.request.get(link, headers={"Accept": "text/html"}).status == 410
    assert (
        "These results are gone" in page.request.get(link, headers={"Accept": "text/html"}).text()
    )


@pytest.mark.slow
def test_the_time_that_is_left_runs_down(open_page, tmp_path):
    with serving(folder=str(tmp_path), keep_minutes=0.1) as (_, client):
        page = open_page(base=client.base_url)
        page.set_input_files("#files", [given("one.jpg", photo())])
        small(page)
        coloured(page)
        assert re.fullmatch(r"Deleted in 0:0\d", page.locator(".leaves").text_content())
        page.locator("#gone").wait_for()
        assert page.locator(".picture").count() == 0
        page.context.close()


# ------------------------------------------------------------------ every page


@pytest.mark.parametrize("width", [360, 390])
@pytest.mark.parametrize("path", [*PATHS, "/results"])
def test_nothing_is_wider_than_a_phone(open_page, job, path, width):
    page = open_page(job["links"]["page"] if path == "/results" else path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert not page.locator("#menu").is_visible()
    button = page.get_by_role("button", name="Menu")
    button.press("Enter")
    assert page.locator("#menu").is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.keyboard.press("Escape")
    assert not page.locator("#menu").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_pages_load_without_a_complaint(open_page, path, scheme):
    page = open_page(path, color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_load_state("networkidle")
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper))) > 600
    assert light == (scheme == "light")
    # the test of complaints is in open_page


def test_the_keyboard_reaches_what_matters(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert [one for one in reached if one in ("range", "files", "shrink", "model-artistic")] == [
        *("range", "files", "shrink", "model-artistic"),
    ]


def test_it_works_without_scripts(open_page):
    page = open_page(java_script_enabled=False)
    page.set_input_files("#files", [given("one.jpg", photo())])
    small(page)
    page.click("#submit")
    page.wait_for_url("**/results/*")
    page.locator("img[data-view]").wait_for()  # the page asks for itself anew
    page.locator(".adjust input[name=warmth]").fill("0.5")
    link = page.get_by_role("button", name="Download with these settings")
    content, name = fetched(page, link)
    assert name == "one_artistic.jpg"
    assert Image.open(io.BytesIO(content)).size == (96, 64)


def test_a_refusal_without_scripts_is_a_page(open_page):
    page = open_page(java_script_enabled=False)
    page.set_input_files("#files", [given("notes.jpg", b"only words")])
    page.click("#submit")
    assert page.locator("h1").text_content() == "That did not work"
    assert "not a picture" in page.locator(".lead").text_content()


# ------------------------------------------------------------------ memory


def test_fifty_rounds_of_adding_and_removing_leave_memory_flat(page):
    session = page.context.new_cdp_session(page)
    files = [given(f"{i}.jpg", photo(400, 300, seed=i)) for i in range(3)]

    def rounds(count):
        for _ in range(count):
            page.set_input_files("#files", files)
            page.locator(".pick").nth(2).wait_for()
            for _ in files:
                page.locator(".pick button").first.click()
            page.locator(".pick").first.wait_for(state="detached")
        for _ in range(3):
            session.send("HeapProfiler.collectGarbage")
        return (
            session.send("Runtime.getHeapUsage")["usedSize"],
            session.send("Memory.getDOMCounters"),
        )

    rounds(5)  # until everything is compiled
    before, counted = rounds(5)
    after, counted_after = rounds(50)
    assert page.evaluate("urls") == 0
    assert after - before < 300_000, (before, after)
    assert counted_after["nodes"] - counted["nodes"] < 50, (counted, counted_after)
    assert counted_after["jsEventListeners"] <= counted["jsEventListeners"]
