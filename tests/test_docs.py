"""README.md and docs/: every code block runs, every link leads somewhere, nothing is out of date.

A block that cannot be run has ``<!-- not run: REASON -->`` on the line before it; one that is the
content of a file of the following examples has ``<!-- file: NAME -->``. The blocks of a page are
one session, in a folder with the files that docs/index.md names.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

import coloria
from coloria.cli.main import cli
from coloria.weightfile import Card

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SLOW = {
    "docs/how-to/train-bigcolor.md",
    "docs/how-to/train-with-keras.md",
    "docs/how-to/train-your-own.md",
}
"""Pages whose blocks train."""

BLOCK = re.compile(
    r"^(?:<!-- (?P<what>not run|file): (?P<text>[^\n]+) -->\n)?"
    r"```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARKER = re.compile(r"<!-- (not run|file):")


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = load_generator()
PAGES = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in generator.pages()}
every_page = pytest.mark.parametrize("name", PAGES)
runnable_page = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, text in PAGES.items()
        if "```" in text
    ],
)


# ------------------------------------------------------------------ the blocks


@dataclass(frozen=True)
class Block:
    """One fenced block, and what the comment before it says."""

    place: str
    what: str | None
    text: str | None
    language: str
    code: str


def blocks(name: str) -> list[Block]:
    text = PAGES[name]
    return [
        Block(f"{name}:{text.count(chr(10), 0, m.start()) + 1}", *m.groups())
        for m in BLOCK.finditer(text)
    ]


def smooth(height: int, width: int, seed: int) -> Image.Image:
    """A colour picture without sharp edges, which no photograph it resembles."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """The files that the examples name, in the working folder."""
    names = ("photo.jpg", "portrait.jpg", "album/1.jpg", "album/2.png", "album/summer/3.jpg")
    for seed, name in enumerate((*names, "scans/1.tif", "scans/2.tif")):
        Path(tmp_path, name).parent.mkdir(parents=True, exist_ok=True)
        smooth(48, 64, seed).convert("L").save(tmp_path / name)
    (tmp_path / "photos").mkdir()
    for seed in range(24):
        smooth(60, 72, seed).save(tmp_path / "photos" / f"{seed}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@runnable_page
def test_every_block_runs_as_it_stands(name, examples):
    names = {"__name__": "example"}
    for block in blocks(name):
        if block.what == "not run":
            continue
        if block.what == "file":
            Path(block.text).write_text(block.code, encoding="utf-8")
        else:
            assert block.language in RUNNERS, (
                f"{block.place}: a {block.language or 'nameless'} block is not run; "
                "put <!-- not run: REASON --> before it"
            )
            RUNNERS[block.language](block, names)


def run_python(block: Block, names: dict[str, object]) -> None:
    exec(compile(block.code, block.place, "exec"), names)  # noqa: S102  (our own pages)


def run_shell(block: Block, names: dict[str, object]) -> None:
    for line in joined(block.code):
        invoke(line, block.place)


def run_console(block: Block, names: dict[str, object]) -> None:
    """Lines after ``$`` are commands; the others must come out of the one before."""
    output = ""
    for line in joined(block.code):
        if line.startswith("$ "):
            output = invoke(line[2:], block.place).output
        else:
            assert line in output.splitlines(), f"{block.place}: {output}"


RUNNERS: dict[str, Callable[[Block, dict[str, object]], None]] = {
    "python": run_python,
    "sh": run_shell,
    "console": run_console,
}


def joined(code: str) -> list[str]:
    """The lines, those that end in a backslash with the next."""
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip()]


def invoke(line: str, place: str) -> Result:
    """A line as a shell runs it: variables before the command, < and > after it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
    lexer.whitespace_split = True
    words, files = list(lexer), {}
    for sign in ("<", ">"):
        if sign in words:
            at = words.index(sign)
            files[sign] = Path(words[at + 1])
            del words[at : at + 2]
    variables = {}
    while "=" in words[0]:
        key, _, variables[key] = words.pop(0).partition("=")
    assert words[0] == "coloria", f"{place}: only coloria is run here; mark the block: {line}"
    given = files["<"].read_bytes() if "<" in files else None
    result = CliRunner().invoke(cli, words[1:], input=given, env=variables, prog_name="coloria")
    assert result.exit_code == 0, f"{place}: {line}\n{result.output}"
    if ">" in files:
        files[">"].write_bytes(result.stdout_bytes)
    return result


@every_page
def test_a_marker_stands_directly_before_a_block(name):
    marked = [block for block in blocks(name) if block.what]
    assert len(marked) == len(MARKER.findall(PAGES[name]))
    fences = re.findall(r"^ *```", PAGES[name], re.MULTILINE)
    assert len(fences) == 2 * len(blocks(name))


def test_an_unmarked_block_of_another_language_is_refused(examples, monkeypatch):
    monkeypatch.setitem(PAGES, "x", "```ruby\nputs 1\n```\n")
    with pytest.raises(AssertionError, match="x:1: a ruby block is not run"):
        test_every_block_runs_as_it_stands("x", examples)


@pytest.mark.parametrize(
    "text",
    ["```sh\ncoloria colorize missing.jpg\n```\n", "```console\n$ coloria models\nnonsense\n```\n"],
    ids=["fails", "prints something else"],
)
def test_a_block_that_is_not_true_is_noticed(text, examples, monkeypatch):
    monkeypatch.setitem(PAGES, "x", text)
    with pytest.raises(AssertionError, match="x:1: "):
        test_every_block_runs_as_it_stands("x", examples)


# ------------------------------------------------------------------ the pages


@every_page
def test_what_is_taken_from_the_code_is_as_the_code_has_it(name):
    assert generator.renewed(PAGES[name]) == PAGES[name], "run: make reference"


def test_every_generated_part_is_used_once():
    used = re.findall(r"<!-- generated: ([\w-]+) -->", "".join(PAGES.values()))
    assert sorted(used) == sorted(generator.PARTS)


@every_page
def test_links_lead_to_files(name):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", PAGES[name])
    missing = [t for t in targets if not (ROOT / name).parent.joinpath(t).exists()]
    assert missing == []


def test_every_page_is_in_the_index_and_in_the_navigation():
    pages = {n.removeprefix("docs/") for n in PAGES if n.startswith("docs/")} - {"index.md"}
    index = set(re.findall(r"\]\(([\w/-]+\.md)\)", PAGES["docs/index.md"]))
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    assert index == pages
    assert set(listed(nav)) == pages | {"index.md"}


def listed(nav):
    for entry in nav:
        if isinstance(entry, dict):
            for below in entry.values():
                yield from listed(below)
        else:
            yield entry


@every_page
def test_no_install_line_takes_the_other_project_of_this_name(name):
    assert not re.search(r"pip3? install (-\S+ )*coloria\b(?!-colorizer)", PAGES[name])


def test_every_variable_of_the_environment_is_explained():
    own = [*(ROOT / "src" / "coloria").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    used = {v for path in own for v in re.findall(r"\bCOLORIA_[A-Z_]+", path.read_text("utf-8"))}
    page = PAGES["docs/reference/options.md"]
    assert [v for v in used if f"`{v}`" not in page] == []


def test_the_python_page_has_every_public_name_and_parameter():
    page = PAGES["docs/reference/python.md"]
    assert [n for n in coloria.__all__ if f"`{n}" not in page and f"coloria.{n}" not in page] == []
    parameters = inspect.signature(coloria.load).parameters.values()
    given = [p.name if p.default is p.empty else f'{p.name}="{p.default}"' for p in parameters]
    assert f"coloria.load({', '.join(given)})" in page


def test_the_options_page_has_every_option_of_colorize():
    page = PAGES["docs/reference/options.md"]
    parameters = inspect.signature(coloria.Colorizer.colorize_batch).parameters
    names = set(parameters) - {"self", "sources", "tone"}
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_the_weight_file_page_has_every_key_of_the_card():
    page = PAGES["docs/reference/weight-files.md"]
    assert [f.name for f in fields(Card) if f"| `{f.name}` |" not in page] == []
