"""Colours black-and-white photographs, trains the models that do it, and measures them."""

from __future__ import annotations

__version__ = "0.1.0"
