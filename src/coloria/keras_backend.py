"""Keras 3 on the backend of the user, or on PyTorch.

Keras decides on its backend when it is imported, and leaves a settings file in the home folder
then. Everything here that needs Keras takes it from :func:`keras`, which sees to both.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from coloria.errors import MissingExtraError

__all__ = ["backend", "device", "keras", "loading"]

_importing = threading.Lock()  # the environment belongs to all threads


def keras() -> ModuleType:
    """Keras; on PyTorch if neither ``KERAS_BACKEND`` nor an earlier import says otherwise.

    Raises:
        MissingExtraError: ``KERAS_BACKEND`` asks for TensorFlow, which is not installed.
    """
    with _importing:
        if "keras" not in sys.modules:
            os.environ.setdefault("KERAS_BACKEND", "torch")
            # Else TensorFlow greets with lines about the processor.
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            with loading():
                _import()
        return import_module("keras")


def _import() -> None:
    try:
        import_module("keras")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise MissingExtraError("KERAS_BACKEND=tensorflow", "tensorflow") from error


@contextmanager
def loading() -> Iterator[None]:
    """A block in which Keras or TensorFlow may be imported.

    The settings file that both leave in the home folder for the first time is taken away again,
    unless ``KERAS_HOME`` says where it belongs.
    """
    if find_spec("tensorflow") and "tensorflow" not in sys.modules:
        # TensorFlow and PyTorch's compiler each bring an LLVM. Loaded the other way round, the
        # second one ends the process: measured with TensorFlow 2.21 and triton 3.9.
        with suppress(ImportError):
            import_module("triton")
    path = Path("~/.keras/keras.json").expanduser()
    leave = "KERAS_HOME" in os.environ or path.exists()
    try:
        yield
    finally:
        if not leave:
            with suppress(OSError):  # not there, or the folder holds something of the user
                path.unlink()
                path.parent.rmdir()


def backend() -> str:
    """``torch``, ``tensorflow`` or another that Keras runs on."""
    return str(keras().backend.backend())


def device(where: torch.device) -> AbstractContextManager[Any]:
    """A block in which Keras makes and takes its tensors there."""
    if backend() == "torch":
        name = str(where)
    else:  # the words of the others: cpu:0, gpu:0
        name = f"{'gpu' if where.type == 'cuda' else where.type}:{where.index or 0}"
    scope: AbstractContextManager[Any] = keras().device(name)
    return scope
