"""One network's optimiser steps, with scaled gradients where the arithmetic needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coloria.train import distributed

__all__ = ["Stepper"]


class Stepper:
    """Moves a network against the gradient of a loss; in several processes, of their mean loss.

    Args:
        net: The network; what needs no gradient now does not move.
        rate: Learning rate, until a step is given another.
        betas: Decay of Adam's two moments.
        weight_decay: Pull of the weights towards 0.
        decoupled: p <- p (1 - wd lr) as in AdamW; false: added to the gradient.
        dtype: Of the network's arithmetic. float16 needs the loss scaled, lest small gradients
            vanish; the others do not.
    """

    def __init__(
        self,
        net: nn.Module,
        rate: float,
        betas: tuple[float, float],
        weight_decay: float = 0.0,
        *,
        decoupled: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.net = net
        moving = [p for p in net.parameters() if p.requires_grad]
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        self.optimizer = kind(moving, lr=rate, betas=betas, weight_decay=weight_decay)
        device = next(net.parameters()).device
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step(self, loss: Tensor, rate: float) -> None:
        """One step at that learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        distributed.average_gradients(self.net.parameters())
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
