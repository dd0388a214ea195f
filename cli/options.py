"""Options that several commands share: the same words everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from coloria.errors import OptionError, did_you_mean
from coloria.models import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

__all__ = ["DEVICES", "PRECISIONS", "class_", "device", "model", "precision", "weights"]

F = TypeVar("F", bound="Callable[..., Any]")

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
"""As in coloria.device, which needs the framework; a test holds them equal."""

_WEIGHTS = ("auto", "embedded", "released")


def _model_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return registry.get(value).name


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names that begin so; aliases where no name does."""
    known = [m.name for m in registry.MODELS.values()]
    aliases = [alias for m in registry.MODELS.values() for alias in m.aliases]
    found = [name for name in known if name.startswith(incomplete)]
    return found or [name for name in aliases if name.startswith(incomplete)]


def complete_weights(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The words, else files."""
    from click.shell_completion import CompletionItem

    words = [word for word in _WEIGHTS if word.startswith(incomplete)]
    return [CompletionItem(w) for w in words] or [CompletionItem(incomplete, type="file")]


def _device_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """A kind of device, or one of several: cuda:1."""
    kind = value.partition(":")[0]
    if kind not in DEVICES:
        raise OptionError(
            f"--device must be one of {', '.join(DEVICES)}; got {value!r}"
            f"{did_you_mean(kind, DEVICES)}"
        )
    return value


def model(function: F) -> F:
    """``--model``, as its canonical name."""
    return click.option(
        "-m",
        "--model",
        default="artistic",
        show_default=True,
        callback=_model_name,
        shell_complete=complete_model,
        help="Which model colours; 'coloria models' lists them.",
    )(function)


def weights(function: F) -> F:
    """``--weights``: where the weights come from."""
    return click.option(
        "-w",
        "--weights",
        default="auto",
        show_default=True,
        shell_complete=complete_weights,
        help="auto (released if they are in the cache, else embedded), embedded, released, "
        "released:NAME, or a file.",
    )(function)


def device(function: F) -> F:
    """``--device``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        callback=_device_name,
        shell_complete=lambda ctx, param, text: [d for d in DEVICES if d.startswith(text)],
        help=f"Where it runs: {', '.join(DEVICES)}.",
    )(function)


def _complete_class(text: str) -> list[str]:
    from coloria.classes import AUTO, names

    return [name for name in (AUTO, *names()) if name.startswith(text)]


def class_(function: F) -> F:
    """``--class``."""
    return click.option(
        "--class",
        "class_",
        metavar="CLASS",
        shell_complete=lambda ctx, param, text: _complete_class(text),
        help="bigcolor: what the pictures show, an ImageNet class by number or name; auto lets a "
        "classifier choose. [default: auto where the weights know classes]",
    )(function)


def precision(function: F) -> F:
    """``--precision``."""
    return click.option(
        "--precision",
        default="auto",
        show_default=True,
        type=click.Choice(PRECISIONS),
        help="auto is bfloat16 where the hardware multiplies it natively, else float32.",
    )(function)
