"""Measures of colourisation, see :mod:`coloria.metrics.table`; importing loads no framework."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coloria.metrics.ciede2000 import delta_e00
    from coloria.metrics.older import delta_e
    from coloria.metrics.table import MEASURES, Measure, get, names

__all__ = ["MEASURES", "Measure", "delta_e", "delta_e00", "get", "names"]

_PLACES = {
    "MEASURES": "table",
    "Measure": "table",
    "delta_e": "older",
    "delta_e00": "ciede2000",
    "get": "table",
    "names": "table",
}
"""Module of each public name."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value
