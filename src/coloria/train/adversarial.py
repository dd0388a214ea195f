"""Generator against critic: the short adversarial part of NoGAN, on fastai's GANLearner.

fastai 2.8 (Apache-2.0) brings the two networks as one module, the losses' frame and the switchers.
Its GANTrainer does not fit the recipe: gradients of the idle network are zeroed and so weight decay
and the moments go on moving it; each turn unfreezes the whole generator; in the first turn both
networks are in training mode. :class:`Turns` takes its place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from coloria.device import autocast
from coloria.train import distributed
from coloria.train.critic import EPS
from coloria.train.learner import Callback, Loaders, Precision, callbacks, fit, make_adam
from coloria.train.loader import Batch
from coloria.train.losses import PictureLoss
from coloria.train.pick import Score, Scores
from coloria.train.recorder import Recorder
from coloria.train.run import Run
from coloria.train.schedule import NoGanRecipe
from coloria.train.sight import Sight, verdict_loss
from coloria.train.stages import GanStage
from coloria.train.validate import validate

with warnings.catch_warnings():
    # On import fastai 2.8 uses what current PyTorch and pandas warn of.
    warnings.simplefilter("ignore")
    from fastai.vision.gan import AdaptiveGANSwitcher, GANLearner, GANLoss, GANTrainer

if TYPE_CHECKING:
    from coloria.train.nogan import Trainer

FROZEN = 2
"""Layer groups of the generator that stand still: the encoder."""


class AdversarialLoss(GANLoss):  # type: ignore[misc]
    """What either network is to make small.

    Args:
        gan: Both networks.
        picture: The generator's loss of pre-training.
        stage: For the weights.
        sight: What the critic sees.
        context: Makes the context in which networks run.
    """

    def __init__(
        self,
        gan: nn.Module,
        picture: PictureLoss,
        stage: GanStage,
        sight: Sight,
        context: Callable[[], Any],
    ) -> None:
        super().__init__(None, None, gan)
        self.picture, self.sight, self.context = picture, sight, context
        self.weights = stage.adversarial, stage.picture
        self.parts: dict[str, Tensor] = {}
        """Of the last turn of each network."""

    def seen(self, pred: Tensor, target: Tensor) -> Tensor:
        """Normalised pictures as the critic is shown them."""
        mean, std = self.picture.mean, self.picture.std
        seen: Tensor = (self.sight(pred * std + mean, target * std + mean) - mean) / std
        return seen

    def generator(self, pred: Tensor, target: Tensor) -> Tensor:
        """How well the critic is fooled, and how near the truth is."""
        with self.context():
            logits = self.gan_model.critic(self.seen(pred, target))
        fooled: Tensor = self.weights[0] * verdict_loss(logits.float(), 1.0)
        near: Tensor = self.weights[1] * self.picture(pred, target)
        self.parts |= {"adversarial": fooled.detach(), "picture": near.detach()}
        return fooled + near

    def critic(self, logits: Tensor, gray: Tensor, target: Tensor) -> Tensor:
        """Mean of the losses on true pictures (their logits come in) and on generated ones."""
        with torch.no_grad(), self.context():
            pred = self.gan_model.generator(gray)
        with self.context():
            made = self.gan_model.critic(self.seen(pred.float(), target))
        true, false = verdict_loss(logits, 1.0), verdict_loss(made.float(), 0.0)
        self.parts |= {"critic-true": true.detach(), "critic-generated": false.detach()}
        return (true + false) / 2


class Turns(GANTrainer):  # type: ignore[misc]
    """Lets one network learn and keeps the other one still.

    Args:
        generator_first: Whose turn it is in the beginning.
        still: Modules of the generator that stay in eval mode.
        steps: Batches that each network has had already.
    """

    order = -8  # behind fastai's train and eval modes, before everything that runs a network
    name = "gan_trainer"  # as fastai's switchers call it

    def __init__(
        self, generator_first: bool, still: list[nn.Module], steps: dict[str, int] | None = None
    ) -> None:
        super().__init__(switch_eval=True, gen_first=generator_first, show_img=False)
        self.still = still
        self.steps = steps or {"generator": 0, "critic": 0}

    @property
    def learning(self) -> str:
        """Name of the network whose turn it is."""
        return "generator" if self.learn.model.gen_mode else "critic"

    @property
    def idle(self) -> nn.Module:
        """The network that stands still."""
        model = self.learn.model
        return cast(nn.Module, model.critic if model.gen_mode else model.generator)

    def before_fit(self) -> None:
        self.switch(self.gen_first)

    def before_epoch(self) -> None:
        """A turn does not end with an epoch."""

    def before_train(self) -> None:
        self.modes()

    def before_validate(self) -> None:
        self.learn.model.eval()

    def before_batch(self) -> None:
        """The critic is given what is true; its loss gets the rest."""
        if self.learning == "critic":
            (gray,), (target,) = self.learn.xb, self.learn.yb
            true = self.learn.loss_func.seen(target, target)
            self.learn.xb, self.learn.yb = (true,), (gray, target)

    def after_batch(self) -> None:
        """Counts; all processes see the mean of their losses, so that they switch together."""
        self.steps[self.learning] += 1
        loss = self.learn.loss.detach().double()
        self.learn.loss = distributed.all_reduce_sums(loss) / distributed.world_size()

    def switch(self, gen_mode: bool | None = None) -> None:
        model = self.learn.model
        turn = not model.gen_mode if gen_mode is None else gen_mode
        model.switch(turn)
        self.learn.loss_func.switch(turn)
        self._set_trainable()

    def _set_trainable(self) -> None:
        """Freezes the encoder anew, and takes the idle network's gradients away altogether: the
        optimiser passes over what has none.
        """
        self.learn.opt.freeze_to(FROZEN)
        for param in self.idle.parameters():
            param.requires_grad_(False)
            param.grad = None
        self.modes()

    def modes(self) -> None:
        """Only what learns is in training mode, and nothing outside training."""
        self.learn.model.train(self.learn.training)
        for module in (self.idle, *self.still):
            module.eval()


class Switcher(AdaptiveGANSwitcher):  # type: ignore[misc]
    """fastai's switcher, which waits until a step is whole and looks at the mean of its batches."""

    order = -7

    def __init__(self, critic_thresh: float) -> None:
        super().__init__(critic_thresh=critic_thresh)
        self.losses: list[Tensor] = []

    def after_batch(self) -> None:
        self.losses.append(self.learn.loss)
        if not self.learn.accumulate.pending:
            self.learn.loss, self.losses = torch.stack(self.losses).mean(), []
            super().after_batch()


class GanRecorder(Recorder):
    """Records an adversarial stage, and scores the generator now and then."""

    stage: GanStage
    near: PictureLoss
    """The generator's loss without the critic's part."""

    def before_train(self) -> None:
        begins = not self.resumed and self.learn.epoch == 0
        super().before_train()
        if begins:
            self._score()

    def after_step(self) -> None:
        """Only the generator is averaged."""
        if self.learn.gan_trainer.learning == "generator":
            super().after_step()

    def figures(self) -> dict[str, float]:
        """Both networks' turns so far."""
        turns = self.learn.gan_trainer.steps
        return {f"train/{name}-steps": float(count) for name, count in turns.items()}

    def more(self) -> dict[str, Any]:
        """Whose turn it is."""
        turns = self.learn.gan_trainer
        return {"gan": {"generator": turns.learning == "generator", "steps": dict(turns.steps)}}

    def between(self) -> None:
        whole = not self.learn.accumulate.pending
        if whole and self.trainer.step % self.stage.score_every == 0:
            self._score()

    def _score(self) -> None:
        """Scores in the middle of an epoch; the other processes wait."""
        if self.folder:
            self.validate(self.folder)
        distributed.barrier()
        self.learn.gan_trainer.modes()

    def validate(self, run: Run[NoGanRecipe]) -> None:
        """Measures the averaged generator and keeps it."""
        trainer = self.trainer
        scores = Scores(run.folder, trainer.step)
        if scores.has(trainer.step):
            return
        with trainer.averaged() as net:
            figures, columns = validate(
                net, self.near, self.valid, trainer.dtype, self.config.pictures, self._critic_says
            )
            names = ("ciede2000", "colorfulness", "critic")
            score = Score(trainer.step, self.stage.name, *(figures[f"val/{n}"] for n in names))
            card = trainer.recipe.card({"steps": trainer.step}, "")
            scores.add(score, net, card, columns if self.config.pictures else [])
        self.say(run, figures)

    def _critic_says(self, pred: Tensor, batch: Batch) -> dict[str, float]:
        """The probability that the critic gives generated pictures of being true."""
        trainer = self.trainer
        critic = trainer.critic
        was = critic.training
        with autocast(trainer.device, trainer.dtype):
            logits = critic.eval()(self.learn.loss_func.seen(pred, trainer.net.encode(batch.rgb)))
        critic.train(was)
        return {"val/critic": float(logits.float().sigmoid().mean())}


def train(
    trainer: Trainer,
    run: Run[NoGanRecipe] | None,
    index: int,
    stage: GanStage,
    resumed: dict[str, Any] | None,
) -> None:
    """Does an adversarial stage, or the rest of one."""
    trainer.pictures = None  # the memory is wanted
    train, valid = trainer.batches(index, stage)
    near = _picture_loss(trainer, stage)
    record = GanRecorder(trainer, run, index, stage, train, valid, resumed)
    record.near = near
    learner = make_gan(trainer, stage, trainer.loaders(train, valid), near, record, resumed)
    groups = len(learner.opt.hypers)
    rates = [stage.lr] * (groups - 1) + [stage.lr * stage.critic_lr]
    with _decay(trainer, stage):
        fit(learner, stage, record, resumed, lr=rates)


def make_gan(
    trainer: Trainer,
    stage: GanStage,
    loaders: Loaders,
    picture: PictureLoss,
    record: Callback,
    resumed: dict[str, Any] | None = None,
) -> GANLearner:
    """Fastai's learner of both networks with our trainer, one optimiser, the encoder frozen."""
    net, critic = trainer.net, trainer.critic
    groups = [*net.layer_groups(), list(critic.children())]

    def split(_: nn.Module) -> list[list[nn.Parameter]]:
        return [[p for module in group for p in module.parameters()] for group in groups]

    precision = Precision(trainer.device, trainer.dtype)
    switcher = Switcher(stage.threshold)
    learner = GANLearner(
        loaders,
        net,
        critic,
        None,
        None,
        switcher=switcher,
        opt_func=make_adam(stage.betas, EPS),
        splitter=split,
        wd=stage.weight_decay,
        wd_bn_bias=True,
        train_bn=stage.train_bn,
        cbs=callbacks(stage, record, precision),
        default_cbs=False,
    )
    learner.loss_func = AdversarialLoss(
        learner.model,
        picture,
        stage,
        trainer.sight,
        lambda: autocast(trainer.device, trainer.dtype),
    )
    before = (resumed or {}).get("gan", {"generator": False, "steps": None})
    still = [] if stage.train_bn else [m for group in groups[:FROZEN] for m in group]
    learner.remove_cb(learner.gan_trainer)
    learner.add_cb(Turns(before["generator"], still, before["steps"]))
    learner.create_opt()
    return learner


def _picture_loss(trainer: Trainer, stage: GanStage) -> PictureLoss:
    """The loss of pre-training, with the stage's own emphasis."""
    recipe = trainer.recipe
    weights = recipe.losses.weights()
    if stage.emphasis is not None:
        weights = replace(weights, emphasis=stage.emphasis)
    loss = PictureLoss(recipe.network.coding(), weights, trainer.loss.features)
    return loss.to(trainer.device)


@contextmanager
def _decay(trainer: Trainer, stage: GanStage) -> Iterator[None]:
    """The stage's own average of the weights."""
    ema = trainer.ema
    if ema is None:
        yield
        return
    usual, ema.decay = ema.decay, stage.ema or ema.decay
    try:
        yield
    finally:
        ema.decay = usual
