"""One weight file: reading it without running code, and writing ours.

Ours are `safetensors <https://huggingface.co/docs/safetensors>`_ with one metadata key
``coloria`` that holds a :class:`Card` as JSON. Published PyTorch files are read through
``torch.load(weights_only=True)``, which rebuilds tensors and plain containers and refuses
everything else. What a file is, is told from its first bytes, never from its name.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coloria.errors import WeightsError, WeightsFormatError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FORMAT",
    "Card",
    "atomic",
    "looks_like_page",
    "read_card",
    "read_checkpoint",
    "read_state",
    "write_state",
]

FORMAT = 1
"""Version of the card; a file with a higher one was written by a newer coloria."""

_KEY = "coloria"
_MAX_HEADER = 100_000_000  # bytes, the limit that safetensors itself sets
_loading = threading.Lock()  # torch keeps the allowed globals in one list for all threads


@dataclass(frozen=True, slots=True)
class Card:
    """What a weight file says about itself."""

    model: str
    """Name of the model that reads it."""
    config: dict[str, Any] = field(default_factory=dict)
    """Arguments that build the network."""
    preprocessing: dict[str, Any] = field(default_factory=dict)
    """Input coding, mean and standard deviation."""
    default_size: int | None = None
    """Side, in pixels, at which the network runs when nothing else is asked for."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Recipe, commit, data and figures."""
    terms: str = ""
    """Under which terms these weights may be used."""
    format: int = FORMAT

    def to_json(self) -> str:
        """The card as JSON with sorted keys: equal cards give equal text."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The card of that JSON; keys that this version does not know are passed over.

        Raises:
            WeightsFormatError: not a card, or one of a newer format.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise WeightsFormatError(f"the card is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise WeightsFormatError("the card is not a JSON object")
        _check_card(data)
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})


_CARD_TYPES: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "model": (str,),
    "config": (dict,),
    "preprocessing": (dict,),
    "default_size": (int, type(None)),
    "provenance": (dict,),
    "terms": (str,),
}


def _check_card(data: dict[str, Any]) -> None:
    for key in ("format", "model"):
        if key not in data:
            raise WeightsFormatError(f"the card has no {key!r}")
    for key, types in _CARD_TYPES.items():
        if key in data and (not isinstance(data[key], types) or isinstance(data[key], bool)):
            wanted = " or ".join(t.__name__ for t in types)
            raise WeightsFormatError(f"the card's {key!r} is {data[key]!r}, not {wanted}")
    if data["format"] > FORMAT:
        raise WeightsFormatError(
            f"the card has format {data['format']}, this coloria reads up to {FORMAT}; "
            "install a newer coloria"
        )


def looks_like_page(start: bytes) -> bool:
    """Whether these first bytes begin a web page (HTML or XML) instead of weights."""
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _sniff(path: Path) -> str:
    """``safetensors`` or ``pickle``, from the first bytes.

    Raises:
        WeightsFormatError: certainly not weights; the message says what it is instead.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise WeightsFormatError(f"{path} cannot be read: {error.strerror or error}") from error
    if not start:
        raise WeightsFormatError(f"{path} is empty; fetch it again")
    if looks_like_page(start):
        raise WeightsFormatError(
            f"{path} is a web page, not weights: the link it was saved from leads to a page about "
            "the file; fetch it with 'coloria weights download'"
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsFormatError(f"{path} is a Git LFS pointer, not the file; run 'git lfs pull'")
    length = int.from_bytes(start[:8], "little")
    return "safetensors" if start[8:9] == b"{" and length <= _MAX_HEADER else "pickle"


def _header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file; no tensor is read."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        text = file.read(length)
    if len(text) != length:
        raise WeightsFormatError(f"{path} is truncated or not safetensors; fetch it again")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise WeightsFormatError(f"{path} has a damaged header: {error}") from error
    return header if isinstance(header, dict) else {}


def read_card(path: str | os.PathLike[str]) -> Card | None:
    """The card of a weight file; reads the header only and needs no framework.

    Args:
        path: a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Returns:
        The card, or None for a file that has none (all published ``.pth`` files).

    Raises:
        WeightsFormatError: not a weight file, truncated, or with a damaged card.
    """
    path = Path(path)
    if _sniff(path) != "safetensors":
        return None
    metadata = _header(path).get("__metadata__") or {}
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if text is None:
        return None
    try:
        return Card.from_json(text)
    except WeightsFormatError as error:
        raise WeightsFormatError(f"{path}: {error}") from error


def read_checkpoint(path: str | os.PathLike[str]) -> object:
    """What a PyTorch file holds, in its own structure, tensors on the CPU in their own types.

    For files that are not one state_dict, such as the positional list of an averaged model.
    Loading is safe: tensors, containers, numbers, text and ``slice`` (fastai writes one into its
    optimiser groups) are rebuilt, anything else is refused and nothing of it is run.

    Raises:
        WeightsFormatError: not a PyTorch file, truncated, or with objects that are not data.
    """
    path = Path(path)
    if _sniff(path) != "pickle":
        raise WeightsFormatError(f"{path} is safetensors, not a PyTorch checkpoint")
    import torch

    try:
        with _loading, torch.serialization.safe_globals([slice]), warnings.catch_warnings():
            # The answer to a pickle protocol that torch did not write is below, not a warning.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsFormatError(_refusal(path, str(error))) from error
    except Exception as error:  # a damaged pickle can raise anything; nothing is hidden
        raise WeightsFormatError(
            f"{path} is not a PyTorch file, or it is truncated ({_first_line(error)}); "
            "fetch it again"
        ) from error


def _refusal(path: Path, text: str) -> str:
    """Why the safe loader said no, in our words."""
    if found := re.search(r"(?:GLOBAL|class) ([\w.]+)", text):
        return (
            f"{path} holds the Python object {found[1]}, and loading it could run code: refused. "
            "Only files of tensors are read; save the state_dict alone"
        )
    return f"{path} is not a PyTorch file of tensors, or it is damaged; fetch it again"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Card | None]:
    """The tensors of a weight file by name, and its card.

    ``{"model": ..., "opt": ...}`` (fastai) is unwrapped and a ``module.`` that stands before
    every name is taken off.

    Args:
        path: a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file.

    Returns:
        Tensors on the CPU, floating point ones as float32, others as they are; and the card, or
        None for a file without one.

    Raises:
        WeightsFormatError: not weights, truncated, not safe to load, or not a dict of tensors.
    """
    path = Path(path)
    if _sniff(path) == "safetensors":
        card = read_card(path)
        return _widen(_read_safetensors(path)), card
    return _widen(_state_of(read_checkpoint(path), path)), None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsFormatError(
            f"{path} is truncated or damaged ({_first_line(error)}); fetch it again"
        ) from error


def _state_of(loaded: object, path: Path) -> dict[str, Tensor]:
    """The state_dict within what was loaded, with plain names."""
    from torch import Tensor

    if isinstance(loaded, Mapping) and set(loaded) == {"model", "opt"}:
        loaded = loaded["model"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsFormatError(
            f"{path} holds a {type(loaded).__name__}, not a state_dict of named tensors"
        )
    if "shadow_params" in loaded:
        raise WeightsFormatError(
            f"{path} holds averaged parameters without the network's statistics: give the "
            "checkpoint they belong to (EG_011.ckpt for EG_EMA_011.ckpt) and leave this beside it"
        )
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsFormatError(
                f"{path} is not a state_dict: {name!r} is a {type(value).__name__}, not a tensor"
            )
    prefix = "module." if all(name.startswith("module.") for name in loaded) else ""
    return {name.removeprefix(prefix): value for name, value in loaded.items()}


def _widen(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any], card: Card) -> None:
    """Write a weight file; it appears whole or not at all.

    Args:
        path: the ``.safetensors`` file to make or to replace.
        state: tensors (or arrays) by name. Floating point ones with two and more dimensions are
            stored as float16, others as float32; integers and booleans as they are.
        card: what the file is to say about itself.

    Raises:
        WeightsFormatError: a value that is not finite, or too large for float16 (65504).
        WeightsError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: _narrow(name, value) for name, value in state.items()}
    try:
        with atomic(Path(path)) as temporary:
            save_file(tensors, temporary, metadata={_KEY: card.to_json()})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be written: {_first_line(error)}") from error


def _narrow(name: str, value: Any) -> Tensor:
    """A copy of one tensor in the type it is stored in."""
    import torch

    tensor = torch.as_tensor(value).detach().cpu()
    if not tensor.is_floating_point():
        return tensor.clone(memory_format=torch.contiguous_format)
    if not tensor.isfinite().all():
        raise WeightsFormatError(f"{name!r} has values that are not finite; nothing was written")
    dtype = torch.float16 if tensor.ndim >= 2 else torch.float32
    stored = tensor.to(dtype, copy=True).contiguous()
    if not stored.isfinite().all():
        raise WeightsFormatError(
            f"{name!r} reaches {tensor.abs().max().item():.6g}, which {dtype} cannot hold; "
            "nothing was written"
        )
    return stored


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name when the block ends well.

    It is flushed to the disk before it is renamed, and removed when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
