"""What a network that draws is asked for: a class, and a random vector for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from coloria.borders import Box
from coloria.classes import AUTO, COUNT, Label, find_class
from coloria.errors import MissingExtraError, OptionError
from coloria.picture import Picture

Z_STD_LIMIT = 10.0


def random_vector(seed: int, length: int, std: float) -> Tensor:
    """The random vector (length,) of a seed."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(length, generator=draw) * std


class Variants:
    """The labels and random vectors of some pictures.

    Args:
        model: Name of the model, for messages.
        backbone: The network; one that draws has `dim_z` and `n_classes`.
        class_: Number or name of the class of all, "auto", or None for what the weights need.
        seeds: One for each picture.
        z_std: Standard deviation of the random vector; None for that of training, 0.8.

    Raises:
        OptionError: The network does not take what was asked for.
    """

    def __init__(
        self,
        model: str,
        backbone: Any,
        *,
        class_: int | str | None,
        seeds: Sequence[int],
        z_std: float | None,
    ) -> None:
        self.draws = hasattr(backbone, "dim_z")
        self.count = int(getattr(backbone, "n_classes", 0))
        self.class_ = AUTO if class_ is None else class_
        if not self.draws and (class_ is not None or z_std is not None):
            asked = "class" if class_ is not None else "z_std"
            raise OptionError(f"{model} takes no {asked}: it gives one answer; bigcolor takes it")
        if not self.count and self.class_ != AUTO:
            raise OptionError(
                f"these weights of {model} know no classes: leave the class out, or give weights "
                "that were trained with classes"
            )
        if z_std is not None and not 0 <= z_std <= Z_STD_LIMIT:
            raise OptionError(f"z_std must lie in 0..{Z_STD_LIMIT:g}; got {z_std:g}")
        if self.draws:
            from coloria.models.bigcolor import Z_STD

            std = Z_STD if z_std is None else z_std
            self.z = torch.stack([random_vector(s, backbone.dim_z, std) for s in seeds])

    def labels(self, pictures: Sequence[Picture], boxes: Sequence[Box]) -> list[Label | None]:
        """What each picture is coloured as; None where the network knows no classes.

        Raises:
            OptionError: There is no such class, or none was given and no classifier is there.
        """
        if not self.count:
            return [None] * len(pictures)
        if self.class_ != AUTO:
            return [find_class(self.class_, self.count)] * len(pictures)
        if self.count != COUNT:
            raise OptionError(
                f"these weights need one of {self.count} classes of their own: give --class 0 to "
                f"{self.count - 1} (in Python class_)"
            )
        from coloria.classify import classify

        try:
            return list(classify(pictures, boxes))
        except MissingExtraError as error:
            raise OptionError(
                "these weights need an ImageNet class: give --class NAME or NUMBER (in Python "
                f"class_), or install the classifier that chooses one. {error}"
            ) from error

    def inputs(self, labels: Sequence[Label | None], part: Sequence[int]) -> dict[str, Tensor]:
        """What the network takes beside those grey pictures."""
        if not self.draws:
            return {}
        chosen = {"z": self.z[list(part)]}
        if ids := [label.id for i in part if (label := labels[i]) is not None]:
            chosen["classes"] = torch.tensor(ids)
        return chosen
