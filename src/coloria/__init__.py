"""Colours black-and-white photographs, trains the models that do it, and measures them.

>>> import coloria
>>> coloria.list_models()[0]
'artistic'

The public names are those of ``__all__``, each loaded on first use: importing coloria loads no
framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coloria.colorizer import Colorizer, load
    from coloria.errors import ColoriaError
    from coloria.metrics.evaluate import evaluate
    from coloria.models.registry import names as list_models

__version__ = "0.1.0"

__all__ = ["ColoriaError", "Colorizer", "__version__", "evaluate", "list_models", "load"]

_PLACES = {
    "ColoriaError": ("coloria.errors", "ColoriaError"),
    "Colorizer": ("coloria.colorizer", "Colorizer"),
    "evaluate": ("coloria.metrics.evaluate", "evaluate"),
    "list_models": ("coloria.models.registry", "names"),
    "load": ("coloria.colorizer", "load"),
}
"""Module and name there of each public name."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
