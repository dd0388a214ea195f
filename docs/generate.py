"""Writes the parts of README.md and docs/ that the code knows better: ``make reference``.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; :data:`PARTS` says what
makes each. tests/test_docs.py compares every part with what the code says now.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from coloria import errors
from coloria.config import Recipe
from coloria.metrics.table import MEASURES
from coloria.models.registry import MODELS
from coloria.released import RELEASED, generators
from coloria.weights import embedded

ROOT = Path(__file__).resolve().parent.parent

PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """README.md and everything in docs/, in the order of the names."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


# ------------------------------------------------------------------ models and weights


def models() -> str:
    """The models, for README.md."""
    rows = [
        (
            " or ".join(f"`{name}`" for name in (m.name, *m.aliases)),
            f"{m.title}, {m.year}: {m.summary}",
            _megabytes(path.stat().st_size) if (path := embedded(m.name)) else "none",
            f"{m.architecture.parameters / 1e6:.0f} M parameters",
            ", ".join(f"`{e.name}` ({_megabytes(e.bytes)})" for e in generators(m.name)) or "none",
            m.licence,
        )
        for m in MODELS.values()
    ]
    titles = "model", "what it is", "embedded", "full network", "released weights", "their licence"
    return table(titles, rows)


def released() -> str:
    """The published weight files."""
    rows = [
        (f"`{e.name}`", e.model, e.role, _megabytes(e.bytes), e.license, e.project, e.note)
        for e in RELEASED
    ]
    return table(("name", "model", "role", "size", "licence", "project", "note"), rows)


def _megabytes(size: int | None) -> str:
    return "not stated" if size is None else f"{size / 1e6:.0f} MB"


def measures() -> str:
    """The measures that a set of pictures can be judged by."""
    rows = [
        (
            f"`{m.name}`",
            ", ".join(f"`{alias}`" for alias in m.aliases),
            f"{m.title}{f', in {m.unit}' if m.unit else ''}: {m.summary}",
            {"lower": "lower", "higher": "higher", "none": "neither"}[m.better],
            "the set" if m.scope == "set" else "a picture",
            f"`{m.extra}`" if m.extra else "",
        )
        for m in MEASURES.values()
    ]
    return table(("name", "aliases", "what it is", "better", "figure of", "extra"), rows)


# ------------------------------------------------------------------ command line


def commands() -> str:
    """Every command with its arguments and options."""
    from coloria.cli.main import cli

    return "\n".join(_command(name, command) for name, command in walk(cli, "coloria"))


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, by the words that call them."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            assert below is not None
            yield from walk(below, f"{name} {word}")


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, help_option_names=["-h", "--help"])
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    text = [" ".join(p.split()) for p in paragraphs if not p.startswith("\b")]
    options = [p for p in command.params if isinstance(p, click.Option)]
    rows = [_option(option, context) for option in options]
    shown = [table(("option", "meaning"), rows)] if rows else []
    return "\n\n".join([f"## {name}", f"`{usage}`", *text, *shown]).strip() + "\n"


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    assert record is not None
    return f"`{record[0]}`", record[1]


# ------------------------------------------------------------------ recipes


def recipe() -> str:
    """Every field of a NoGAN recipe, by its place."""
    from coloria.train.schedule import NoGanRecipe

    return _recipe_table(NoGanRecipe)


def recipe_chroma() -> str:
    """What a recipe of eccv16 or siggraph17 has beside the fields of all recipes."""
    from coloria.train.chroma_recipe import ChromaRecipe

    return _recipe_table(ChromaRecipe, own=True)


def recipe_keras() -> str:
    """What a recipe of zhang has beside the fields of all recipes."""
    from coloria.train.keras_recipe import KerasRecipe

    return _recipe_table(KerasRecipe, own=True)


def recipe_bigcolor() -> str:
    """What a recipe of bigcolor has beside the fields of all recipes."""
    from coloria.train.bigcolor_recipe import BigColorRecipe

    return _recipe_table(BigColorRecipe, own=True)


def _recipe_table(kind: type[Recipe], *, own: bool = False) -> str:
    """The fields of a recipe, or only those that not every recipe has, or has so."""
    common = _recipe_rows(Recipe) if own else []
    return table(HEAD, [row for row in _recipe_rows(kind) if row not in common])


def _recipe_rows(kind: type[Recipe]) -> list[tuple[str, ...]]:
    schema = kind.model_json_schema()
    return list(_fields(schema, schema, ""))


def stages() -> str:
    """What each kind of stage takes."""
    from coloria.train.schedule import NoGanRecipe

    schema = NoGanRecipe.model_json_schema()
    parts = []
    for one in schema["properties"]["stages"]["items"]["oneOf"]:
        kind = schema["$defs"][one["$ref"].rpartition("/")[2]]
        name = kind["properties"].pop("kind")["const"]
        rows = list(_fields(schema, kind, ""))
        text = kind["description"].partition("\n")[0]
        parts.append(f"### kind: {name}\n\n{text}\n\n{table(HEAD, rows)}")
    return "\n".join(parts)


HEAD = ("key", "value", "default", "meaning")


def _fields(whole: dict[str, Any], part: dict[str, Any], place: str) -> Iterator[tuple[str, ...]]:
    for name, field in part["properties"].items():
        below = field.get("items", {}).get("$ref") or field.get("$ref")
        default = _default(name, field, part)
        key = f"{place}{name}"
        yield f"`{key}`", _kind(field), "" if below else default, field.get("description", "")
        if below:
            step = f"{key}.N." if "items" in field else f"{key}."
            yield from _fields(whole, whole["$defs"][below.rpartition("/")[2]], step)


def _default(name: str, field: dict[str, Any], part: dict[str, Any]) -> str:
    if name in part.get("required", ()):
        return "required"
    value = field.get("default")
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return _value(value)


def _value(value: Any) -> str:
    """As a recipe has it."""
    words = {None: "none", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _kind(field: dict[str, Any]) -> str:
    """The values that a field takes, in words."""
    if "anyOf" in field:
        kinds = dict.fromkeys(_kind(one) for one in field["anyOf"])
        return " or ".join(kinds)
    if "$ref" in field:
        return "keys below"
    if "enum" in field or "const" in field:
        return ", ".join(map(str, field.get("enum", [field.get("const")])))
    if field["type"] == "array":
        return _list_kind(field)
    names = {
        "string": "text",
        "boolean": "true or false",
        "integer": "whole number",
        "null": "none",
    }
    return names.get(field["type"], "number") + _bounds(field)


def _list_kind(field: dict[str, Any]) -> str:
    if "prefixItems" in field:
        return f"{len(field['prefixItems'])} numbers"
    return "list of stages" if "oneOf" in field["items"] else f"list of {_kind(field['items'])}"


def _bounds(field: dict[str, Any]) -> str:
    signs = {
        "minimum": "≥ ",
        "exclusiveMinimum": "> ",
        "maximum": "≤ ",
        "exclusiveMaximum": "< ",
        "multipleOf": "multiple of ",
    }
    said = [f"{sign}{field[key]:.12g}" for key, sign in signs.items() if key in field]
    return f" ({', '.join(said)})" if said else ""


def recipes() -> str:
    """The package's own recipes."""
    from coloria.config import list_recipes

    rows = [(f"`{r.name}`", r.model, r.description) for r in list_recipes()]
    return table(("recipe", "model", "what it is"), rows)


# ------------------------------------------------------------------ errors and tones


def error_tree() -> str:
    """Every error: its place in the tree, its exit code, its meaning."""
    return table(("error", "exit code", "when"), list(_errors(errors.ColoriaError, 0)))


def _errors(kind: type[errors.ColoriaError], depth: int) -> Iterator[tuple[str, ...]]:
    text = " ".join(inspect.getdoc(kind).split())  # type: ignore[union-attr]
    yield f"{'&emsp;' * depth}`{kind.__name__}`", str(kind.exit_code), text
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _errors(below, depth + 1)


def tones() -> str:
    """What can be changed after the network has run."""
    from coloria.cli.colorize import TONES

    rows = [
        (f"`{name}`", f"{low:g} to {high:g}", f"{default:g}", text)
        for name, (low, high, default, text) in TONES.items()
    ]
    return table(("option", "range", "default", "meaning"), rows)


def formats() -> str:
    """What files can be written, and what they hold."""
    from coloria.saving import FORMATS

    rows = [
        (
            name,
            " ".join(about.suffixes),
            "yes" if about.alpha else "no",
            str(about.quality or "no loss"),
            f"{about.longest:,}",
        )
        for name, about in FORMATS.items()
    ]
    return table(("format", "suffixes", "alpha", "quality", "longest side"), rows)


# ------------------------------------------------------------------ web site


def routes() -> str:
    """What can be asked of the web site."""
    from coloria.web.api import ALWAYS

    rows = []
    for path, methods in _openapi()["paths"].items():
        for method, about in methods.items():
            given = about.get("parameters", ())
            fields = [f"`{field['name']}`" for field in given if field["in"] == "query"]
            body = about.get("requestBody", {"content": {}})["content"]
            for form in body.values():
                fields += [f"`{name}`" for name in form["schema"]["properties"]]
            always = {str(status) for status in ALWAYS}
            statuses = ", ".join(sorted(set(about["responses"]) - always))
            short = f"`{method.upper()} {path.removeprefix('/api/v1')}`"
            rows.append((short, about["description"], " ".join(fields), statuses))
    return table(("route", "what for", "fields", "statuses"), rows)


def _openapi() -> dict[str, Any]:
    from coloria.web.app import create_app
    from coloria.web.settings import Settings

    return create_app(Settings()).openapi()


def job() -> str:
    """The JSON of a job, place by place."""
    from coloria.web.jobs import JobView

    schema = JobView.model_json_schema(mode="serialization")
    return table(("key", "value", "meaning"), list(_views(schema, schema, "")))


def _views(whole: dict[str, Any], part: dict[str, Any], place: str) -> Iterator[tuple[str, ...]]:
    for name, field in part["properties"].items():
        places = [field, *field.get("anyOf", ()), field.get("items", {})]
        refs = [one["$ref"].rpartition("/")[2] for one in places if "$ref" in one]
        kind = "text" if field.get("format") == "date-time" else _view_kind(field)
        yield f"`{place}{name}`", kind, field.get("description", "")
        if refs and refs[0] not in ("Problem", "Options"):
            step = f"{place}{name}[]." if "items" in field else f"{place}{name}."
            yield from _views(whole, whole["$defs"][refs[0]], step)


def _view_kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        words = {"Problem": "error, as below", "Options": "the fields of an upload"}
        return words.get(field["$ref"].rpartition("/")[2], "keys below")
    if "anyOf" in field:
        return " or ".join(_view_kind(one) for one in field["anyOf"])
    if field.get("type") == "array":
        text = field["items"].get("type") == "string"
        return "list of text" if text else "list, keys below"
    return _kind(field)


def codes() -> str:
    """Why a request is refused."""
    from coloria.web.errors import CODES, MEANINGS

    return table(
        ("code", "status", "when"),
        [(f"`{code}`", str(status), MEANINGS[code]) for code, status in CODES.items()],
    )


PARTS: dict[str, Callable[[], str]] = {
    "models": models,
    "released": released,
    "commands": commands,
    "recipe": recipe,
    "recipe-chroma": recipe_chroma,
    "recipe-keras": recipe_keras,
    "recipe-bigcolor": recipe_bigcolor,
    "recipes": recipes,
    "stages": stages,
    "errors": error_tree,
    "measures": measures,
    "tones": tones,
    "formats": formats,
    "routes": routes,
    "job": job,
    "codes": codes,
}


def renewed(text: str) -> str:
    """A page with every generated part as the code has it now."""
    return PART.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]().strip()}\n\n{m[3]}", text)


def main() -> int:
    """Rewrite the pages; say which have changed."""
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = renewed(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"renewed {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
