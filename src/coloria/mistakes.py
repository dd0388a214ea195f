"""What is wrong with a recipe, in plain words: each mistake with its place and the value given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from coloria.errors import did_you_mean

__all__ = ["mistakes", "models_at", "show"]

Place = tuple[str, ...]
"""Keys and indices from the top of the recipe."""


def mistakes(errors: Sequence[ErrorDetails], data: Any, schema: type[BaseModel]) -> list[str]:
    """One line a place that is wrong, in the order of the file's schema.

    The alternatives of a place that takes several kinds are joined, and left out where a mistake
    further inside tells more.

    Args:
        errors: what pydantic found.
        data: the recipe as it was read.
        schema: what it should look like.
    """
    places: dict[Place, list[ErrorDetails]] = {}
    for error in errors:
        places.setdefault(_place(error, data), []).append(error)
    return [
        f"{'.'.join(place) or 'the recipe'}: {_words(place, found, data, schema)}"
        for place, found in places.items()
        if not (all(map(_of_type, found)) and any(_inside(other, place) for other in places))
    ]


def _of_type(error: ErrorDetails) -> bool:
    return error["type"].endswith("_type")


def _inside(inner: Place, outer: Place) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _place(error: ErrorDetails, data: Any) -> Place:
    """Where it is in the file: pydantic's place without the kinds it tried on the way."""
    path: list[str] = []
    here, last = data, len(error["loc"]) - 1
    for number, part in enumerate(error["loc"]):
        if _has(here, part):
            path.append(str(part))
            here = here[part]
        elif number == last and error["type"] == "missing":
            path.append(str(part))
    return tuple(path)


def _has(here: Any, part: str | int) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)


def _words(place: Place, found: Sequence[ErrorDetails], data: Any, schema: type[BaseModel]) -> str:
    first = found[0]
    if first["type"] == "extra_forbidden":
        return _unknown_key(place, data, schema)
    if first["type"] == "missing":
        return "missing; it has no default"
    came = first.get("ctx", {}).get("tag", first["input"])
    came = "" if isinstance(came, dict) else f"got {show(came)}"
    if first["type"] in {"value_error", "assertion_error"}:
        return "; ".join(filter(None, (str(first["ctx"]["error"]), came)))
    wanted = "wanted " + " or ".join(dict.fromkeys(_wanted(error) for error in found))
    return ", ".join(filter(None, (wanted, came))) + _near_choice(first)


def _unknown_key(place: Place, data: Any, schema: type[BaseModel]) -> str:
    models = _matching(models_at(schema, place[:-1]), _at(data, place[:-1]))
    known = [name for model in models for name in model.model_fields]
    near = did_you_mean(place[-1], known)
    return f"unknown key{near}" if near else f"unknown key; there are: {', '.join(known)}"


_WANTED: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text",
    "bool_type": lambda _: "true or false",
    "list_type": lambda _: "a list",
    "tuple_type": lambda _: "a list",
    "dict_type": lambda _: "keys and values",
    "model_type": lambda _: "keys and values",
    "greater_than": lambda c: f"more than {c['gt']}",
    "greater_than_equal": lambda c: f"{c['ge']} or more",
    "less_than": lambda c: f"less than {c['lt']}",
    "less_than_equal": lambda c: f"{c['le']} or less",
    "multiple_of": lambda c: f"a multiple of {c['multiple_of']}",
    "literal_error": lambda c: f"{c['expected']}",
    "enum": lambda c: f"{c['expected']}",
    "too_short": lambda c: f"a list of at least {c['min_length']}",
    "too_long": lambda c: f"a list of at most {c['max_length']}",
    "string_pattern_mismatch": lambda c: f"text that the pattern {c['pattern']} fits",
    "union_tag_invalid": lambda c: f"{_key_of(c)} one of {c['expected_tags']}",
    "union_tag_not_found": lambda c: f"the key {_key_of(c)}",
}
"""pydantic's kinds of mistakes in our words; others keep pydantic's."""


def _key_of(context: dict[str, Any]) -> str:
    """The key that tells the kinds of a union apart: a name, or a function with that name."""
    return str(context["discriminator"]).removesuffix("()")


def _wanted(error: ErrorDetails) -> str:
    words = _WANTED.get(error["type"])
    return words(error.get("ctx", {})) if words else error["msg"]


def _near_choice(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    choices = re.findall(r"'([^']+)'", context.get("expected", context.get("expected_tags", "")))
    return did_you_mean(str(context.get("tag", error["input"])), choices)


def show(value: Any) -> str:
    """Write a value in at most 80 characters, for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _at(data: Any, place: Place) -> Any:
    for part in place:
        data = data[int(part)] if isinstance(data, list) else data.get(part)
    return data


def models_at(schema: type[BaseModel], place: Sequence[str]) -> list[type[BaseModel]]:
    """List the models that a place of the schema may hold; several where it is a union."""
    models = [schema]
    for part in place:
        if part.isdecimal():  # an item of a list: its model was found with the list
            continue
        models = [
            inner
            for model in models
            if part in model.model_fields
            for inner in _models_in(model.model_fields[part].annotation)
        ]
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Find the models anywhere within a type: in unions, lists and annotations."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _matching(models: list[type[BaseModel]], data: Any) -> list[type[BaseModel]]:
    """Keep those whose fixed words (``kind: Literal[...]``) are the ones in the data."""

    def fits(model: type[BaseModel], data: Mapping[str, Any]) -> bool:
        return all(
            data.get(name, field.default) in get_args(field.annotation)
            for name, field in model.model_fields.items()
            if get_origin(field.annotation) is Literal
        )

    return [model for model in models if fits(model, data)] or models
