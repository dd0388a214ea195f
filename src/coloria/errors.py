"""Every error that coloria raises on purpose.

Catch :class:`ColoriaError` to catch them all. The tree::

    ColoriaError
    ├── UsageError                  the call itself is wrong (the command exits with 2)
    │   ├── UnknownNameError        a model, recipe or metric that does not exist
    │   ├── OptionError             an option out of its range, or two that exclude each other
    │   ├── ConfigError             a recipe that does not pass its checks
    │   └── MissingExtraError       an optional dependency is not installed
    ├── PictureError                something about one picture
    │   ├── UnreadablePictureError  not a picture, truncated, empty, mis-named
    │   ├── PictureTooLargeError    more pixels than `max_pixels`
    │   └── PictureWriteError       the result cannot be written
    │       ├── OutputExistsError   the output is there and overwriting was not asked for
    │       └── OutputIsInputError  the output would replace the input
    ├── WeightsError                something about one weight file
    │   ├── WeightsMissingError     neither embedded nor in the cache
    │   ├── WeightsFormatError      not a weight file, or one that is not safe to load
    │   ├── WeightsMismatchError    a weight file of another network
    │   └── DownloadError           could not be fetched
    │       ├── HashMismatchError   fetched, but not the file that was published
    │       └── OfflineError        the network is switched off
    ├── DeviceError                 the device or precision asked for is not there
    ├── OutOfMemoryError            the device has too little memory for this size
    ├── RequestError                the web site refuses a request
    └── TrainingError               a training run cannot start or go on
        ├── DataError               the training data are missing or unusable
        ├── CheckpointError         a checkpoint is missing, damaged or of another run
        └── NonFiniteLossError      a loss became NaN or infinite

Each message says what was wanted, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CheckpointError",
    "ColoriaError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DownloadError",
    "HashMismatchError",
    "MissingExtraError",
    "NonFiniteLossError",
    "OfflineError",
    "OptionError",
    "OutOfMemoryError",
    "OutputExistsError",
    "OutputIsInputError",
    "PictureError",
    "PictureTooLargeError",
    "PictureWriteError",
    "RequestError",
    "TrainingError",
    "UnknownNameError",
    "UnreadablePictureError",
    "UsageError",
    "WeightsError",
    "WeightsFormatError",
    "WeightsMismatchError",
    "WeightsMissingError",
    "did_you_mean",
]


class ColoriaError(Exception):
    """Root of all errors of this library."""

    exit_code = 1


class UsageError(ColoriaError, ValueError):
    """The call itself is wrong; nothing was done."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A model, recipe or metric that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"unknown {kind} {name!r}{did_you_mean(name, names)}; there are: {', '.join(names)}"
        )


class OptionError(UsageError):
    """An option out of its range, or two options that exclude each other."""


class ConfigError(UsageError):
    """A recipe that does not pass its checks."""


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the '{extra}' extra, which is not installed; "
            f"from a checkout of coloria: pip install '.[{extra}]'"
        )


class PictureError(ColoriaError):
    """Something is wrong with one picture; the message names it."""


class UnreadablePictureError(PictureError):
    """Not a picture, or one that is truncated, empty or damaged."""


class PictureTooLargeError(PictureError):
    """More pixels than allowed; refused before decoding."""


class PictureWriteError(PictureError):
    """The result could not be written; no partial file is left."""


class OutputExistsError(PictureWriteError):
    """The output is already there and overwriting was not asked for."""


class OutputIsInputError(PictureWriteError):
    """The output would replace the input picture."""


class WeightsError(ColoriaError):
    """Something is wrong with one weight file; the message names it."""


class WeightsMissingError(WeightsError):
    """The weights asked for are neither embedded nor in the cache."""


class WeightsFormatError(WeightsError):
    """Not a weight file that can be read, or not one that is safe to read."""


class WeightsMismatchError(WeightsError):
    """A weight file of another network than the one asked for."""


class DownloadError(WeightsError):
    """A weight file could not be fetched."""


class HashMismatchError(DownloadError):
    """What was fetched is not the published file; it was removed."""


class OfflineError(DownloadError):
    """The network is switched off by COLORIA_OFFLINE."""


class DeviceError(ColoriaError):
    """The device or the precision asked for is not available."""

    exit_code = 2


class OutOfMemoryError(ColoriaError):
    """The device has too little memory; nothing was coloured."""


class RequestError(ColoriaError):
    """The web site refuses a request; :mod:`coloria.web.errors` has its codes."""


class TrainingError(ColoriaError):
    """A training run cannot start or cannot go on."""


class DataError(TrainingError):
    """The training data are missing or unusable."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class NonFiniteLossError(TrainingError):
    """A loss became NaN or infinite; the last checkpoint is intact."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``", did you mean 'x'?"`` for the nearest known name, or an empty string."""
    near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""
