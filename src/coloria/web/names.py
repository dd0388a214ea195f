"""File names of visitors: text to show, and the name of a download; never a path here."""

from __future__ import annotations

import unicodedata

__all__ = ["clean", "unique"]

LONGEST = 100
"""Characters kept."""


def clean(name: str) -> str:
    """The last part of a path, without characters that cannot be seen or turn the line around."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    seen = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029")
    seen = unicodedata.normalize("NFC", seen).strip(" .")
    if len(seen) > LONGEST:
        stem, dot, suffix = seen.rpartition(".")
        end = dot + suffix if dot and len(suffix) < 10 else ""
        seen = (stem if end else seen)[: LONGEST - len(end)] + end
    return seen or "picture"


def unique(names: list[str]) -> list[str]:
    """The same names, numbered where two are equal."""
    taken: set[str] = set()
    result = []
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        stem, end = (stem, dot + suffix) if dot else (name, "")
        chosen, number = name, 2
        while chosen.casefold() in taken:
            chosen, number = f"{stem}-{number}{end}", number + 1
        taken.add(chosen.casefold())
        result.append(chosen)
    return result
