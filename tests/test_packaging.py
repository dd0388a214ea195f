"""The installed package, from a checkout or from a wheel: seen from an isolated interpreter.

``python -I`` leaves out the working folder and PYTHONPATH, so what is found is what is installed.
.ci/run runs this file against the built wheel, too.
"""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LARGEST_FILE = 10_000_000
"""Bytes of a weight file inside the package, at most."""

LARGEST_TOGETHER = 40_000_000
"""Bytes of all of them."""


def isolated(code, *, cwd):
    """What the code prints, as JSON, in a fresh interpreter that sees installed packages only."""
    command = [sys.executable, "-I", "-c", f"import json\n{code}"]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_stands_beside_the_package(tmp_path):
    # Not "tests": torch-fidelity installs a package of that name; the next test holds it for us.
    code = """
from importlib.util import find_spec
print(json.dumps([n for n in ("cli", "configs", "docs", "src") if find_spec(n)]))
"""
    assert isolated(code, cwd=tmp_path) == []


def test_only_the_package_and_the_command_are_installed(tmp_path):
    code = """
from importlib.metadata import files
print(json.dumps(sorted({f.parts[0] for f in files("coloria-colorizer")})))
"""
    allowed = {"coloria", "..", "_coloria_colorizer.pth", "__pycache__"}
    tops = isolated(code, cwd=tmp_path)
    assert [t for t in tops if t not in allowed and not t.endswith(".dist-info")] == []


def test_recipes_are_there_as_package_data(tmp_path):
    code = """
from importlib.resources import files
recipe = files("coloria.configs") / "artistic-compact.yaml"
print(json.dumps(recipe.read_text(encoding="utf-8")))
"""
    wanted = (ROOT / "configs" / "artistic-compact.yaml").read_text(encoding="utf-8")
    assert isolated(code, cwd=tmp_path) == wanted


def test_every_recipe_of_the_checkout_is_installed(tmp_path):
    code = """
from coloria.config import list_recipes
print(json.dumps([recipe.name for recipe in list_recipes()]))
"""
    folder = ROOT / "configs"
    wanted = {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml")}
    assert set(isolated(code, cwd=tmp_path)) == wanted


def test_the_pages_of_the_site_are_installed(tmp_path):
    code = """
from importlib.resources import files
web = files("coloria.web")
names = ("templates/home.html", "static/favicon.svg")
print(json.dumps([(web / name).is_file() for name in names]))
"""
    assert isolated(code, cwd=tmp_path) == [True, True]


def test_type_information_is_installed(tmp_path):
    code = """
from importlib.resources import files
print(json.dumps((files("coloria") / "py.typed").is_file()))
"""
    assert isolated(code, cwd=tmp_path)


def test_weights_and_an_example_picture_are_installed(tmp_path):
    code = """
from importlib.resources import files
root = files("coloria")
print(json.dumps({
    "weights": {p.name: len(p.read_bytes()) for p in (root / "embedded").iterdir()},
    "pictures": [p.name for p in (root / "assets").iterdir()],
}))
"""
    found = isolated(code, cwd=tmp_path)
    weights = {n: size for n, size in found["weights"].items() if n.endswith(".safetensors")}
    assert "artistic.safetensors" in weights
    assert max(weights.values()) <= LARGEST_FILE
    assert sum(weights.values()) <= LARGEST_TOGETHER
    assert [name for name in found["pictures"] if name.endswith(".jpg")]


def test_the_entry_point_is_the_command(tmp_path):
    code = """
from importlib.metadata import entry_points
[point] = entry_points(group="console_scripts", name="coloria")
from coloria.cli.main import main
print(json.dumps([point.value, point.load() is main]))
"""
    assert isolated(code, cwd=tmp_path) == ["coloria.cli.main:main", True]


def test_the_installed_command_says_its_version(tmp_path):
    command = [str(Path(sys.executable).with_name("coloria")), "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"coloria {declared()}\n"


def declared():
    """The version in pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_all_places_agree_on_the_version(tmp_path):
    code = """
import coloria
from importlib.metadata import version
print(json.dumps([coloria.__version__, version("coloria-colorizer")]))
"""
    headings = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    versions = {*isolated(code, cwd=tmp_path), declared(), headings[0], cited[1]}
    assert versions == {declared()}


def test_the_licence_comes_with_the_package(tmp_path):
    code = """
from importlib.metadata import distribution
about = distribution("coloria-colorizer")
print(json.dumps([about.metadata["License-Expression"], about.read_text("licenses/LICENSE")]))
"""
    name, text = isolated(code, cwd=tmp_path)
    assert name == "MIT"
    assert text == (ROOT / "LICENSE").read_text("utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive of the checkout, and the wheel of that archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [archive], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


@pytest.mark.slow
def test_the_wheel_holds_every_module_once(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
    modules = {name for name in names if name.endswith((".py", ".yaml"))}
    places = {"src/coloria": "coloria", "cli": "coloria/cli", "configs": "coloria/configs"}
    wanted = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in places.items()
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".yaml") and not path.is_symlink()
    }
    assert modules == wanted
    assert len(names) == len(set(names))
    assert {n.partition("/")[0] for n in names if ".dist-info/" not in n} == {"coloria"}


@pytest.mark.slow
def test_the_source_archive_is_complete_and_clean(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "CHANGELOG.md", "Makefile", "tests/test_packaging.py", "docs/index.md"}
    assert wanted <= names
    unwanted = (".venv", "runs", "dist", "demo", ".hypothesis", ".mypy_cache", ".git")
    assert [name for name in names if name.partition("/")[0] in unwanted] == []
    assert [name for name in names if "__pycache__" in name] == []
