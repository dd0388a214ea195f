"""What the pages say. One readable file a language lies in `languages/`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["LANGUAGES", "texts", "translate"]

LANGUAGES = ("en", "fr")
"""The first is the one for everybody else."""

_FRENCH = re.compile(r"(?<=«) | (?=[;:!?»%]|[km]o\b)", re.IGNORECASE)
"""Spaces at which French never breaks a line."""


@cache
def texts(lang: str) -> Mapping[str, str]:
    """Every text of a language; the key is the path in its file, as ``menu.about``."""
    file = files("coloria.web").joinpath("languages", f"{lang}.toml")
    text = file.read_text("utf-8")
    if lang == "fr":
        text = _FRENCH.sub("\N{NO-BREAK SPACE}", text)
    return dict(_flat(tomllib.loads(text)))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value.strip()


def translate(lang: str, key: str, default: str | None = None, **values: Any) -> str:
    """The text of a key, with `values` in the place of ``{name}``.

    Args:
        lang: One of :data:`LANGUAGES`.
        key: As in its file.
        default: What to say where there is no such text.
        **values: What stands in braces in the text.

    Raises:
        KeyError: There is no such text, and no default.
    """
    known = texts(lang)
    if key not in known and default is not None:
        return default
    return known[key].format(**values)
