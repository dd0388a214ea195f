"""What a visitor may set: with an upload, and with a download."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coloria.cli.colorize import TONES
from coloria.errors import did_you_mean
from coloria.web.errors import RefusedError
from coloria.web.facts import SIZES

__all__ = ["Options", "Tones", "parse"]


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

    model_config = ConfigDict(extra="forbid")

    size: int | None = Field(
        None, ge=SIZES[0], le=SIZES[1], description="Short side for the network, in pixels."
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


def parse(fields: dict[str, str]) -> Options:
    """The options of a form; empty fields are left out.

    Raises:
        RefusedError: An unknown field, or a value out of its range.
    """
    known = Options.model_fields
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
