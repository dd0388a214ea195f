"""What the server tells a worker process, and what that answers: one JSON object a line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from coloria.web.errors import Problem

__all__ = [
    "ANSWER",
    "ORDER",
    "Answer",
    "Color",
    "Done",
    "Failed",
    "Load",
    "Order",
    "Progress",
    "Render",
    "Written",
]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Picture(_Message):
    """A picture of a visitor, and where it lies."""

    source: str
    """Path of the file as it was sent."""
    name: str
    """What the visitor calls it: text for messages, never a path."""
    tone: dict[str, float]
    """Fields of :class:`coloria.color.Tone`."""
    keep_location: bool
    max_pixels: int


class Load(_Message):
    """Have a model ready."""

    kind: Literal["load"] = "load"
    model: str
    weights: str


class Color(_Picture):
    """Run a network on a picture, and write all that comes of it."""

    kind: Literal["color"] = "color"
    model: str
    weights: str
    size: int | None
    """Short side for the network, in pixels; None is the default of the weights."""
    class_: str | int | None = None
    """What it shows, for weights that know classes."""
    seed: int = 0
    """Which of several colourings."""
    stem: str
    """Path without its end that everything written begins with."""
    original_stem: str
    """The same, for the original as it was read."""


class Render(_Picture):
    """Join lightness and stored chroma anew; without `chroma` it is the original."""

    kind: Literal["render"] = "render"
    chroma: str | None
    view: bool
    """Small, for display, instead of full size."""
    target: str
    """Path without its suffix."""


Order = Load | Color | Render


class Written(_Message):
    """One file that is there now."""

    path: str
    type: str
    """Media type."""
    bytes: int


class Progress(_Message):
    """How far it is, 0 to 1."""

    kind: Literal["progress"] = "progress"
    share: float


class Done(_Message):
    """It is finished."""

    kind: Literal["done"] = "done"
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    files: dict[str, Written] = {}
    """By role: result, view, chroma, original, original_view."""


class Failed(_Message):
    """It came to nothing."""

    kind: Literal["failed"] = "failed"
    problem: Problem


Answer = Progress | Done | Failed

ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])
