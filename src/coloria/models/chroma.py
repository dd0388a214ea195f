"""The family of `eccv16` and `siggraph17`: building, loading and converting their networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from coloria.models.eccv16 import Eccv16, Eccv16Config
from coloria.models.fold import fold_batch_norms, fold_weight_norms
from coloria.models.hint_unet import HintUNet, HintUNetConfig
from coloria.models.lab import LabNet
from coloria.models.match import check_fit
from coloria.models.registry import Weights
from coloria.models.siggraph17 import Siggraph17, Siggraph17Config


def build(
    model: str, config: Mapping[str, Any] | None = None, coding: Mapping[str, Any] | None = None
) -> LabNet:
    """An untrained network: the released shape of `model`, or the one that a card states."""
    del coding  # fixed for each of these networks
    shape = dict(config or {})
    if model == "eccv16":
        return Eccv16(Eccv16Config(**shape))
    if "encoder" in shape:
        return HintUNet(HintUNetConfig(**shape))
    return Siggraph17(Siggraph17Config(**shape))


def load(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> LabNet:
    """The network that a weight file holds, ready for inference.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    net = _filled(model, state, config, coding)
    fold_batch_norms(net)
    return net.requires_grad_(False)


def _filled(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None,
    coding: Mapping[str, Any] | None,
) -> LabNet:
    """With its weight norms folded and its BatchNorms not."""
    net = build(model, config, coding).eval()
    if not any(key.endswith("weight_orig") for key in state):
        fold_weight_norms(net)
    check_fit(model, state, net.state_dict(), identify(state))
    net.load_state_dict(state)
    fold_weight_norms(net)
    return net


def tensors(net: LabNet) -> dict[str, Tensor]:
    """What a weight file holds of a network: weight norms folded (in `net`), BatchNorms not."""
    return dict(fold_weight_norms(net.eval()).state_dict())


def convert(
    model: str,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    coding: Mapping[str, Any] | None = None,
) -> Weights:
    """What a weight file of ours holds of that network.

    Raises:
        WeightsMismatchError: The tensors belong to another network.
    """
    net = _filled(model, state, config, coding)
    return Weights(tensors(net), net.card_config(), net.coding())


def identify(state: Mapping[str, Tensor]) -> str | None:
    """`eccv16`, `siggraph17` or None, from the keys that only one of them has."""
    for model, keys in (
        ("eccv16", ("model8.6.weight",)),
        ("siggraph17", ("model_class.0.weight", "hint.0.weight")),
    ):
        if any(key in state for key in keys):
            return model
    return None
