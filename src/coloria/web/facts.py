"""What a visitor, or a script, has to know before sending pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from coloria.cli.colorize import TONES
from coloria.web.offers import Offer
from coloria.web.settings import Settings

__all__ = ["SAMPLES", "SIZES", "Facts"]

SIZES = (16, 1024)
"""Smallest and largest short side, in pixels, at which visitors may have a network run."""

SAMPLES = 5
"""Colourings of one picture by one model, at most."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")
"""What the button for files offers; what a file is, its content decides."""


@dataclass(frozen=True)
class Facts:
    """The offers, the limits and the tones."""

    settings: Settings
    offers: dict[str, Offer]

    @cached_property
    def limits(self) -> dict[str, Any]:
        """Of one upload."""
        return {
            "max_files": self.settings.max_files,
            "max_files_all": 1,
            "max_bytes": self.settings.max_bytes,
            "max_pixels": self.settings.max_pixels,
            "keep_s": self.settings.keep_s,
            "suffixes": list(SUFFIXES),
            "size": list(SIZES),
            "samples": SAMPLES,
        }

    @cached_property
    def tones(self) -> dict[str, dict[str, float]]:
        """Range and default of each."""
        return {
            name: {"low": low, "high": high, "default": default}
            for name, (low, high, default, _) in TONES.items()
        }

    def shown(self) -> dict[str, Any]:
        """As plain data."""
        offers = [asdict(offer) for offer in self.offers.values()]
        return {"offers": offers, "limits": self.limits, "tones": self.tones}
