"""What a visitor may set: with an upload, and with a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coloria.classes import chosen
from coloria.cli.colorize import TONES
from coloria.errors import OptionError, did_you_mean
from coloria.web.errors import RefusedError
from coloria.web.facts import SAMPLES, SIZES
from coloria.web.offers import Offer

__all__ = ["Options", "Tones", "check", "parse"]


def _tone(name: str) -> Any:
    low, high, _, text = TONES[name]
    return Field(ge=low, le=high, allow_inf_nan=False, description=text)


Strength = Annotated[float, _tone("strength")]
Saturation = Annotated[float, _tone("saturation")]
Warmth = Annotated[float, _tone("warmth")]
Contrast = Annotated[float, _tone("contrast")]
Brightness = Annotated[float, _tone("brightness")]


class Tones(BaseModel):
    """Tones of a download; those that are left out are the ones of the upload."""

    model_config = ConfigDict(extra="forbid")

    strength: Strength | None = None
    saturation: Saturation | None = None
    warmth: Warmth | None = None
    contrast: Contrast | None = None
    brightness: Brightness | None = None


class Options(BaseModel):
    """Of all pictures of an upload."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    size: int | None = Field(
        None, ge=SIZES[0], le=SIZES[1], description="Short side for the network, in pixels."
    )
    samples: int = Field(
        1, ge=1, le=SAMPLES, description="So many colourings, by models that give several."
    )
    class_: str | None = Field(
        None,
        alias="class",
        max_length=100,
        description="What the pictures show, for weights that know classes: a number, a name of "
        "ImageNet, or `auto`.",
    )
    strength: Strength = 1
    saturation: Saturation = 1
    warmth: Warmth = 0
    contrast: Contrast = 1
    brightness: Brightness = 0
    keep_location: bool = Field(
        default=False, description="Leave the place in the EXIF of the results."
    )

    def tone(self, changed: Tones | None = None) -> dict[str, float]:
        """The tone to render with."""
        own = {name: getattr(self, name) for name in TONES}
        return own | (changed.model_dump(exclude_none=True) if changed else {})


def check(options: Options, offers: Sequence[Offer]) -> None:
    """Whether any of the offers takes what only some do; the others are not told.

    Raises:
        RefusedError: None does, or there is no such class.
    """
    if options.samples > 1 and not any(offer.draws for offer in offers):
        message = f"samples: {offers[0].name} gives one answer"
        raise RefusedError("wrong_field", message, hint="only bigcolor gives several")
    if options.class_ is None:
        return
    if not any(offer.classes for offer in offers):
        message = f"class: {offers[0].name} knows no classes"
        raise RefusedError("wrong_field", message, hint="leave the class out")
    for offer in offers:
        try:
            chosen(options.class_, offer.classes)
        except OptionError as error:
            raise RefusedError("wrong_field", f"class: {error}") from error


def parse(fields: dict[str, str]) -> Options:
    """The options of a form; empty fields are left out.

    Raises:
        RefusedError: An unknown field, or a value out of its range.
    """
    known = Options.model_json_schema()["properties"]
    for name in fields:
        if name not in known:
            hint = f"there are: files, model, {', '.join(known)}"
            message = f"unknown field {name!r}{did_you_mean(name, known)}"
            raise RefusedError("wrong_field", message, hint=hint)
    try:
        return Options.model_validate({name: value for name, value in fields.items() if value})
    except ValidationError as error:
        first = error.errors()[0]
        came = str(first["input"])[:40]
        message = f"{first['loc'][0]}: {first['msg'].lower()}; got {came!r}"
        raise RefusedError("wrong_field", message) from error
