"""What visitors may choose: each model with each of its weights that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from coloria import weights
from coloria.errors import UnknownNameError, WeightsMissingError
from coloria.models.registry import MODELS, Model
from coloria.released import generators
from coloria.weightfile import read_card

__all__ = ["ALL", "Offer", "about_models", "offers"]

ALL = "all"
"""The choice that stands for every offer."""


@dataclass(frozen=True)
class Offer:
    """One model with one kind of weights, as the site names it."""

    name: str
    """The model's own name for the weights of this project, its X name for its authors'."""
    model: str
    title: str
    summary: str
    label: Literal["own", "pre-trained"]
    weights: str
    """As ``--weights`` takes it."""
    licence: str
    draws: bool
    """Whether it gives several colourings of one picture."""
    classes: int
    """How many classes it can be told of; 0: none."""


def offers(only: Sequence[str] = ()) -> dict[str, Offer]:
    """All that is there, or those of the given names, in the order of the table of models.

    Raises:
        UnknownNameError: One of the names is of no model.
        WeightsMissingError: The weights of one of them, or of all, are not there.
    """
    there = {offer.name: offer for model in MODELS.values() for offer in _offers(model)}
    for name in only:
        if name not in there:
            raise _missing(name)
    chosen = {name: offer for name, offer in there.items() if not only or name in only}
    if not chosen:
        raise WeightsMissingError(
            "no model has weights here; fetch some with 'coloria weights download NAME'"
        )
    return chosen


def _offers(model: Model) -> Iterator[Offer]:
    path = weights.embedded(model.name)
    if path:
        card = read_card(path)
        terms = card.terms if card else "not stated"
        yield _offer(model, model.name, "own", "embedded", terms)
    for entry in generators(model.name)[:1]:
        if weights.cached(entry.name):
            name = _x_name(model)
            yield _offer(model, name, "pre-trained", f"released:{entry.name}", entry.license)


def _offer(
    model: Model, name: str, label: Literal["own", "pre-trained"], choice: str, licence: str
) -> Offer:
    words = (model.title, model.summary, label, choice, licence)
    count = weights.classes(model.name, weights.find(model.name, choice))
    return Offer(name, model.name, *words, draws=model.draws, classes=count)


def _x_name(model: Model) -> str:
    """The name with an X, where the table has one."""
    return next((a for a in model.aliases if a.endswith("x")), f"{model.name}-released")


def _missing(name: str) -> Exception:
    names = {n: m for m in MODELS.values() for n in (m.name, _x_name(m))}
    if name not in names:
        return UnknownNameError("model", name, names)
    entry = next(iter(generators(names[name].name)), None)
    how = f"; fetch the released ones with 'coloria weights download {entry.name}'" if entry else ""
    return WeightsMissingError(f"the weights of {name!r} are not there{how}")


def about_models(offered: dict[str, Offer]) -> list[dict[str, Any]]:
    """Every model of the table, for the pages, with what is offered of it."""
    by_kind = {(o.model, o.label): asdict(o) for o in offered.values()}
    return [
        {
            "name": m.name,
            "title": m.title,
            "summary": m.summary,
            "paper": m.paper,
            "year": m.year,
            "licence": m.licence,
            "aliases": list(m.aliases),
            "architecture": asdict(m.architecture),
            "own": by_kind.get((m.name, "own")),
            "released": by_kind.get((m.name, "pre-trained")),
        }
        for m in MODELS.values()
    ]
