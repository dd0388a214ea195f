"""Learning rates that fall when training no longer gets anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Plateau"]


@dataclass
class Plateau:
    """Watches a figure that should fall: the rule of Keras' and PyTorch's ReduceLROnPlateau."""

    factor: float = 1.0
    """What rates are to be multiplied by now."""
    best: float = math.inf
    """The lowest figure so far."""
    waited: int = 0
    """Epochs since then, or since the last fall of the rates."""

    def epoch(self, figure: float, decay: float, patience: int) -> None:
        """Takes in the figure of an epoch; the rates fall after `patience` epochs in vain."""
        if figure < self.best:
            self.best, self.waited = figure, 0
            return
        self.waited += 1
        if self.waited >= patience:
            self.factor, self.waited = self.factor * decay, 0

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        self.__dict__.update(state)
