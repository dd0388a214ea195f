"""What the networks of `bigcolor` start from: released files, one's own, or nothing.

Nothing is fetched: a file that is missing is asked for, with the way to do without it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from coloria.errors import WeightsMissingError
from coloria.models.bigcolor import BigColor
from coloria.models.bigcolor_encoder import LiteEncoder
from coloria.models.biggan import Discriminator
from coloria.models.fold import unfold_weight_norms
from coloria.models.match import check_fit
from coloria.released import RELEASED
from coloria.train.bigcolor_recipe import BigColorRecipe
from coloria.train.preflight import Preflight
from coloria.train.pretrained import load_encoder, locate_encoder, weights_of
from coloria.weightfile import read_state
from coloria.weights import cached, path_of

UNUSED = (".in1.", ".in2.")
"""Parts that the original carries along and never runs; older files lack them."""


def check(recipe: BigColorRecipe, checks: Preflight) -> None:
    """Notes which files are missing."""
    start = recipe.start
    for key in ("colorizer", "generator"):
        with checks.collect():
            locate(key, getattr(start, key))
    if recipe.has_discriminator():
        with checks.collect():
            locate("discriminator", start.discriminator)
    if recipe.network.encoder != "bigcolor" and start.colorizer == "none":
        with checks.collect():
            locate_encoder(recipe.network)


def locate(key: str, name: str) -> Path | None:
    """The file, or run folder, that a part of a recipe starts from; None for random weights.

    Raises:
        WeightsMissingError: It is not there.
    """
    if name == "none":
        return None
    scratch = f"start from scratch with --set start.{key}=none"
    if name in {entry.name for entry in RELEASED}:
        if (found := cached(name)) is not None:
            return found
        raise WeightsMissingError(
            f"start.{key}: {path_of(name)} is not there; fetch it with 'coloria weights download "
            f"{name}', or {scratch}"
        )
    path = Path(name).expanduser()
    if path.is_file() or (key == "colorizer" and (path / "checkpoints").is_dir()):
        return path
    raise WeightsMissingError(f"start.{key}: {path} is not there; give another path, or {scratch}")


def fill(net: BigColor, recipe: BigColorRecipe) -> None:
    """Gives encoder and generator the weights that they start from.

    Raises:
        WeightsMissingError: A file is not there.
        WeightsMismatchError: A file holds another network.
    """
    start, network = recipe.start, recipe.network
    if path := locate("colorizer", start.colorizer):
        state = weights_of(path, "start.colorizer")
        if not any(key.endswith(".u0") for key in state):  # a weight file of ours
            state = unfold_weight_norms(net, state)
        with torch.device("meta"):
            run = BigColor(net.config, unused=False).state_dict().keys()
        _load(net, state, net.state_dict().keys() - run)
        return
    if network.encoder != "bigcolor":
        load_encoder(cast(LiteEncoder, net.E).net, network)
    if path := locate("generator", start.generator):
        spare = {key for key in net.G.state_dict() if any(part in key for part in UNUSED)}
        _load(net.G, read_state(path)[0], spare)


def fill_discriminator(net: Discriminator, recipe: BigColorRecipe) -> None:
    """Gives the discriminator the weights that it starts from; see :func:`fill`."""
    if path := locate("discriminator", recipe.start.discriminator):
        _load(net, read_state(path)[0])


def _load(net: nn.Module, state: Mapping[str, Tensor], spare: Collection[str] = ()) -> None:
    """Loads tensors by their keys; those in `spare` may be missing."""
    own = net.state_dict()
    whole = {**{key: own[key] for key in spare}, **state}
    check_fit("bigcolor", whole, own, None)
    net.load_state_dict(whole)
