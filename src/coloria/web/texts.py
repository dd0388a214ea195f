"""What the pages say, in English and French."""

from __future__ import annotations

from typing import Any

__all__ = ["LANGUAGES", "TEXTS", "translate"]

LANGUAGES = ("en", "fr")
"""The first is the one for everybody else."""

TEXTS: dict[str, tuple[str, str]] = {
    "title": ("coloria", "coloria"),
}
"""Key to the text in each language."""


def translate(lang: str, key: str, **values: Any) -> str:
    """The text of a key.

    Raises:
        KeyError: There is none.
    """
    return TEXTS[key][LANGUAGES.index(lang)].format(**values)
