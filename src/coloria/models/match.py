"""Whether tensors fit a network, said in one sentence in place of hundreds of lines."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from coloria.errors import WeightsMismatchError


def check_fit(
    model: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], found: str | None
) -> None:
    """Compares keys and shapes.

    Args:
        model: Which model the network is of.
        state: The tensors that came.
        own: Those of the network that they are for.
        found: Which model the tensors are of, if that can be told.

    Raises:
        WeightsMismatchError: They belong to another network.
    """
    wrong = sorted(k for k in own.keys() | state.keys() if _shape(own, k) != _shape(state, k))
    if not wrong:
        return
    if found and found != model:
        raise WeightsMismatchError(
            f"wanted weights of {model!r}; these are weights of {found!r}: "
            f"use the model {found!r}, or another file"
        )
    first = wrong[0]
    raise WeightsMismatchError(
        f"wanted weights of {model!r}; {len(wrong)} of {len(own)} tensors do not fit, first "
        f"{first!r}: wanted {_shape(own, first)}, came {_shape(state, first)}"
    )


def _shape(state: Mapping[str, Tensor], key: str) -> str:
    return "x".join(map(str, state[key].shape)) or "scalar" if key in state else "nothing"
