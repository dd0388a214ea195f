"""The public face: the names, what importing costs, and the options of every command."""

import subprocess
import sys

import click
import pytest

import coloria
from coloria.cli.main import COMMANDS, cli

FRAMEWORKS = {
    "fastai",
    "fastapi",
    "keras",
    "kornia",
    "numpy",
    "PIL",
    "pydantic",
    "requests",
    "rich",
    "safetensors",
    "scipy",
    "tensorflow",
    "timm",
    "torch",
    "torchvision",
    "uvicorn",
}
"""None of these before there is work for it."""

OPTIONS = {
    "": {"--version", "--traceback"},
    "colorize": {
        "inputs",
        "-o --output",
        "-m --model",
        "-w --weights",
        "--device",
        "--precision",
        "--render-size",
        "--render-factor",
        "--luma",
        "--strength",
        "--saturation",
        "--warmth",
        "--contrast",
        "--brightness",
        "--borders --no-borders",
        "--max-pixels",
        "--format",
        "--quality",
        "--suffix",
        "--overwrite",
        "--skip-existing",
        "-r --recursive",
        "--batch-size",
        "--class",
        "--samples",
        "--seed",
        "--z-std",
        "--json",
        "--side-by-side",
        "-q --quiet",
    },
    "models": {"--json", "--table"},
    "compare": {
        "picture",
        "-o --output",
        "-m --model",
        "-w --weights",
        "--sweep",
        "--class",
        "--samples",
        "--device",
        "--precision",
        "--overwrite",
    },
    "eval": {
        "-m --model",
        "--all",
        "-w --weights",
        "--data",
        "--pred",
        "--truth",
        "--checkpoints",
        "--metric",
        "--list",
        "--limit",
        "--size",
        "--render-size",
        "--seed",
        "--class",
        "--device",
        "--precision",
        "--gpus",
        "--group-by",
        "--save-images",
        "--json",
        "--csv",
        "--report",
        "--download",
        "--fresh",
    },
    "export": {
        "source",
        "-o --output",
        "--model",
        "--stage",
        "--pick",
        "--data",
        "--terms",
        "--overwrite",
    },
    "train": {
        "model",
        "--config",
        "--data",
        "--set",
        "--out",
        "--resume",
        "--device",
        "--gpus",
        "--processes",
        "--dry-run",
        "--list",
    },
    "serve": {
        "--host",
        "--port",
        "--workers",
        "--threads",
        "--worker-mb",
        "--device",
        "--precision",
        "--models",
        "--max-files",
        "--max-mb",
        "--max-megapixels",
        "--keep-minutes",
        "--queue",
        "--per-client",
        "--per-minute",
        "--timeout",
        "--max-disk-mb",
        "--folder",
        "--contact",
        "--origins",
        "--hosts",
        "--proxies",
        "--log-json",
        "--reload",
    },
    "info": {"--json"},
    "completion": {"shell"},
    "weights list": {"--json"},
    "weights download": {"names", "--url", "--sha256"},
    "weights verify": {"names"},
    "weights path": {"names"},
    "weights import": {"name", "file"},
    "weights remove": {"names"},
}
"""A new option is a decision: it is written down here first."""


SHOW = "print('\\n', *{name.partition('.')[0] for name in sys.modules})"

RUN = """
import runpy
try:
    runpy.run_module('coloria', run_name='__main__')
except SystemExit as end:
    assert not end.code, end
"""


def loaded_by(*arguments):
    """Top-level modules of a fresh interpreter after it ran the command, or only the import."""
    code = f"import sys, coloria\n{RUN if arguments else ''}{SHOW}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_list_of_public_names_is_what_can_be_imported():
    for name in coloria.__all__:
        assert getattr(coloria, name) is not None
    own = {"annotations", "import_module", "TYPE_CHECKING", "Any"}
    modules = {name for name in vars(coloria) if f"coloria.{name}" in sys.modules}
    public = {n for n in dir(coloria) if not n.startswith("_")} - own - modules
    assert public | {"__version__"} == set(coloria.__all__)


def test_public_names_are_the_ones_of_their_modules():
    import coloria.colorizer
    import coloria.errors

    assert coloria.load is coloria.colorizer.load
    assert coloria.Colorizer is coloria.colorizer.Colorizer
    assert coloria.ColoriaError is coloria.errors.ColoriaError
    assert "artistic" in coloria.list_models()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lod'"):
        _ = coloria.lod


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), ("--version",), *[(name, "--help") for name in COMMANDS]],
    ids=lambda arguments: " ".join(arguments) or "import coloria",
)
def test_nothing_heavy_is_loaded_before_there_is_work(arguments):
    seen = loaded_by(*arguments)
    assert "coloria" in seen
    assert seen & FRAMEWORKS == set()


def commands(group, name=""):
    """Each command that has options, by the words that call it."""
    context = click.Context(group)
    yield name, group
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        full = f"{name} {word}".strip()
        if isinstance(command, click.Group):
            yield from commands(command, full)
        else:
            yield full, command


def test_the_options_are_those_that_were_decided():
    seen = {
        name: {" ".join(p.opts + p.secondary_opts) for p in command.params}
        for name, command in commands(cli)
    }
    assert {name: options for name, options in seen.items() if options} == OPTIONS


def test_every_option_says_what_it_is_for():
    for name, command in commands(cli):
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"{name} {param.opts}"
        assert command.help, name


def test_the_table_of_commands_has_their_words():
    assert set(COMMANDS) == {
        "colorize",
        "models",
        "weights",
        "compare",
        "eval",
        "train",
        "export",
        "serve",
        "info",
        "completion",
    }
