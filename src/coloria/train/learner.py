"""The glue to fastai: our batches, optimiser and callbacks around its Learner.

fastai (Apache-2.0) runs the loop, the one-cycle schedule, the discriminative learning rates and
the freezing. Its own callbacks for mixed precision and for logging are not used: the first is
bound to CUDA, the second to a notebook.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from coloria.device import autocast
from coloria.errors import ColoriaError
from coloria.train import distributed
from coloria.train.loader import Batch, Batches
from coloria.train.run import check_finite
from coloria.train.schedule import OptimizerConfig
from coloria.train.stages import CriticStage, PretrainStage, Training

with warnings.catch_warnings():
    # On import fastai 2.8 uses what current PyTorch and pandas warn of.
    warnings.simplefilter("ignore")
    from fastai.callback.core import (
        Callback,
        CancelBatchException,
        CancelStepException,
        CancelValidException,
        TrainEvalCallback,
    )
    from fastai.callback.schedule import ParamScheduler, combined_cos
    from fastai.learner import Learner
    from fastai.optimizer import Adam

if TYPE_CHECKING:
    from coloria.train.recorder import Recorder

__all__ = [
    "Callback",
    "CancelValidException",
    "Epochs",
    "Loaders",
    "Precision",
    "callbacks",
    "fit",
    "make_adam",
    "make_learner",
    "one_cycle",
    "own_words",
]


class Epochs:
    """Our batches as the data loader that fastai expects: one iteration is one epoch.

    Args:
        batches: The batches of every epoch.
        encode: Maps a picture (B, 1 or 3, H, W) in [0, 1] to normalised (B, 3, H, W).
    """

    def __init__(self, batches: Batches, encode: Callable[[Tensor], Tensor]) -> None:
        self.batches, self.encode = batches, encode
        self.epoch = 0
        self.start = 0
        """Batches of the next epoch that have been done already."""

    def __len__(self) -> int:
        return len(self.batches)

    def rest(self) -> Iterator[Batch]:
        """The batches of this epoch that are left."""
        start, self.start = self.start, 0
        yield from self.batches.epoch(self.epoch, start)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.rest():
            x = self.encode(batch.gray).contiguous(memory_format=torch.channels_last)
            yield x, self.encode(batch.rgb)


class Loaders:
    """The two loaders under the names that fastai asks for."""

    n_inp = 1

    def __init__(self, train: Epochs, valid: Epochs, device: torch.device) -> None:
        self.train, self.valid, self.device = train, valid, device

    def __getitem__(self, index: int) -> Epochs:
        return (self.train, self.valid)[index]


class Precision(Callback):  # type: ignore[misc]
    """The forward pass in `dtype` on the real device; the loss in float32.

    fp16 has too few exponents for gradients: they are scaled, and a step is left out where they
    overflow all the same.
    """

    order = -5

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def before_batch(self) -> None:
        self.context = autocast(self.device, self.dtype)
        self.context.__enter__()

    def after_pred(self) -> None:
        self.context.__exit__(None, None, None)
        self.learn.pred = self.learn.pred.float()

    def before_backward(self) -> None:
        self.learn.loss_grad = self.scaler.scale(self.learn.loss_grad)


class FrozenStill(Callback):  # type: ignore[misc]
    """Keeps the BatchNorms of the layer groups that stand still in eval mode."""

    order = -8

    def __init__(self, groups: list[list[nn.Module]]) -> None:
        self.groups = groups

    def before_train(self) -> None:
        for part in (module for group in self.groups for module in group):
            part.eval()


class Guard(Callback):  # type: ignore[misc]
    """Stops before the step when the loss is not a finite number, and says where."""

    order = 10

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def after_loss(self) -> None:
        if self.learn.training and not torch.isfinite(self.learn.loss_grad):
            parts = {name: float(part) for name, part in self.learn.loss_func.parts.items()}
            learn = self.learn
            where = f"stage {self.stage}, epoch {learn.epoch}, batch {learn.train_iter}"
            check_finite({**parts, "loss": float(learn.loss_grad.detach())}, where)


class Accumulate(Callback):  # type: ignore[misc]
    """Sums the gradients of `count` batches before each step."""

    order = 20

    def __init__(self, count: int) -> None:
        self.count, self.seen = count, 0

    @property
    def pending(self) -> bool:
        """Whether gradients are waiting for their step."""
        return bool(self.seen % self.count)

    def before_backward(self) -> None:
        self.learn.loss_grad = self.learn.loss_grad / self.count

    def before_step(self) -> None:
        self.seen += 1
        if self.pending:
            raise CancelBatchException  # neither the step nor the zeroing of the gradients


class SharedGradients(Callback):  # type: ignore[misc]
    """The mean of the gradients over all processes, before each step."""

    order = 30

    def before_step(self) -> None:
        distributed.average_gradients(self.learn.model.parameters())


class Unscale(Callback):  # type: ignore[misc]
    """Takes the scale out of fp16 gradients, and leaves out a step where they have overflown."""

    order = 40  # behind the sum over batches and the mean over processes

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self.scaler = scaler

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimiser's, as the scaler asks for them."""
        groups: list[dict[str, Any]] = self.learn.opt.param_groups
        return groups

    def step(self) -> None:
        """What the scaler calls where no gradient has overflown."""
        self.whole = True

    def before_step(self) -> None:
        if not self.scaler.is_enabled():
            return
        self.whole = False
        self.scaler.step(self)
        self.scaler.update()
        if not self.whole:
            raise CancelStepException


@contextmanager
def own_words() -> Iterator[None]:
    """Takes out what fastai writes before the message of an error that a callback raised."""
    try:
        yield
    except ColoriaError as error:
        error.args = (str(error).rsplit(":\n\t", 1)[-1],)
        raise


def make_adam(betas: tuple[float, float], eps: float) -> Callable[..., Any]:
    """What fastai makes an optimiser by: Adam with decoupled weight decay."""

    def make(params: Any, lr: Any = None) -> Any:
        first, second = betas
        return Adam(params, lr=lr, mom=first, sqr_mom=second, eps=eps, decouple_wd=True)

    return make


def callbacks(stage: Training, record: Callback, precision: Precision) -> list[Any]:
    """What every stage has beside the steps."""
    common = [Accumulate(stage.accumulate), SharedGradients(), Unscale(precision.scaler)]
    return [TrainEvalCallback, precision, record, *common, Guard(stage.name)]


def make_learner(
    model: nn.Module,
    groups: Sequence[list[nn.Module]],
    loaders: Loaders,
    loss: nn.Module,
    optimizer: OptimizerConfig,
    callbacks: list[Any],
    *,
    frozen: int = 0,
    train_bn: bool = True,
    eps: float | None = None,
) -> Learner:
    """A learner for one stage, its optimiser made and its groups frozen.

    Args:
        model: What is trained.
        groups: Its layer groups, the first one nearest to the input.
        loaders: For training and validation.
        loss: Takes the output and the target.
        optimizer: The recipe's.
        callbacks: See :func:`callbacks`.
        frozen: How many groups, from the first, stand still.
        train_bn: Whether the BatchNorms of those go on training.
        eps: Adam's, where it is not that of the recipe.
    """

    def split(_: nn.Module) -> list[list[nn.Parameter]]:
        return [[p for module in group for p in module.parameters()] for group in groups]

    if not train_bn:
        callbacks = [*callbacks, FrozenStill(list(groups[:frozen]))]
    learner = Learner(
        loaders,
        model,
        loss_func=loss,
        opt_func=make_adam(optimizer.betas, eps or optimizer.eps),
        splitter=split,
        wd=optimizer.weight_decay,
        wd_bn_bias=True,
        train_bn=train_bn,
        cbs=callbacks,
        default_cbs=False,
    )
    learner.create_opt()
    learner.opt.freeze_to(frozen)
    return learner


def fit(
    learner: Learner,
    stage: Training,
    record: Recorder,
    resumed: Mapping[str, Any] | None,
    **options: Any,
) -> None:
    """Does one stage, or the rest of one."""
    if resumed:
        learner.opt.load_state_dict(resumed["optimizer"])
    first = resumed["epoch"] if resumed else 0
    with record.running(), own_words():
        learner.fit(stage.epochs, start_epoch=first, **options)


def one_cycle(optimizer: OptimizerConfig, stage: PretrainStage | CriticStage) -> ParamScheduler:
    """The published schedule: cosine up over `pct_start`, then cosine down; the first beta the
    other way round.
    """
    peak = np.array(stage.rates())
    low, final = peak / optimizer.div, peak / optimizer.div_final
    return ParamScheduler(
        {
            "lr": combined_cos(stage.pct_start, low, peak, final),
            "mom": combined_cos(stage.pct_start, *optimizer.moms),
        }
    )
