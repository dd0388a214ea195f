"""The 1000 ImageNet classes by number and name; the order is that of ILSVRC 2012."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from coloria.errors import OptionError

__all__ = ["AUTO", "COUNT", "NOBODY", "Label", "chosen", "find_class", "names"]

COUNT = 1000

AUTO = "auto"
"""In place of a class: let a classifier choose."""

NOBODY = (
    "takes a class: only weights of bigcolor that were trained with classes do; leave the class out"
)
"""What is told, after "no model here" or the like, of a class that is of no use."""

SUGGESTIONS = 5


@dataclass(frozen=True)
class Label:
    """What a picture is taken to show."""

    id: int
    name: str | None = None
    """None for classes that are not ImageNet's."""
    probability: float | None = None
    """What the classifier gives it; None where the user chose."""

    def __str__(self) -> str:
        sure = "" if self.probability is None else f" ({self.probability:.0%})"
        return f"class {self.id}" + (f" {self.name}" if self.name else "") + sure


@cache
def names() -> tuple[str, ...]:
    """The names, in the order of their numbers."""
    text = (files("coloria") / "assets" / "imagenet-classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def find_class(wanted: int | str, count: int = COUNT) -> Label:
    """The class of that number or name.

    Args:
        wanted: 0 to `count` - 1, or with ImageNet's classes a name; case does not matter.
        count: How many classes the weights know.

    Raises:
        OptionError: There is none; the message names the nearest.
    """
    text = str(wanted).strip()
    own = count == COUNT
    if text.isdecimal():
        if int(text) >= count:
            raise OptionError(f"the class must lie in 0..{count - 1}; got {text}")
        return Label(int(text), names()[int(text)] if own else None)
    if not own:
        raise OptionError(
            f"these weights know {count} classes of their own, by number only: give a class in "
            f"0..{count - 1}; got {text!r}"
        )
    known = {name.lower(): number for number, name in enumerate(names())}
    if (found := known.get(text.lower())) is not None:
        return Label(found, names()[found])
    raise OptionError(f"no ImageNet class is called {text!r}{_nearest(text.lower(), list(known))}")


def chosen(wanted: int | str | None, count: int) -> int | str | None:
    """What weights that know `count` classes are to be given: a number, AUTO where nothing was
    wanted; None for weights that know none.

    Raises:
        OptionError: There is no such class.
    """
    if not count:
        return None
    return AUTO if wanted in (None, AUTO) else find_class(wanted, count).id


def _nearest(text: str, known: list[str]) -> str:
    """Names that hold the word, or are spelt nearly so."""
    holding = [name for name in known if len(text) > 2 and text in name]
    near = list(dict.fromkeys([*get_close_matches(text, known, SUGGESTIONS), *holding]))
    if not near:
        return ": give its number, 0..999, or another name"
    return ", did you mean " + ", ".join(map(repr, near[:SUGGESTIONS])) + "?"
