"""BigGAN for 256 px: the generator and the projection discriminator that BigColor is built on.

Brock et al. 2019 (arXiv:1809.11096); layout and keys of Deep Generative Prior (MIT), which trained
the weights that KIMGEONUNG/BigColor (MIT) starts from. Both networks take any size.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coloria.models.biggan_layers import (
    Attention,
    ConditionalNorm,
    LearnedNorm,
    SpectralConv,
    SpectralEmbedding,
    SpectralLinear,
)

GENERATOR_CHANNELS = (16, 16, 8, 8, 4, 2, 1)
"""Times the width: into the first block, and out of each of the six."""

GENERATOR_ATTENTION = 3
"""The block that attention follows: where a picture of 256 px has 64."""

DISCRIMINATOR_CHANNELS = (1, 2, 4, 8, 8, 16, 16)
"""Times the width: out of each of the seven blocks; all but the last halve the size."""

DISCRIMINATOR_ATTENTION = 1

BLOCKS = len(GENERATOR_CHANNELS) - 1
SLOTS = BLOCKS + 1
"""Parts of the random vector: one for the first layer, one for each block."""

SHARED = 128
"""Length of a class's vector."""

BOTTOM = 4
"""Side of the map that the first layer makes."""


class GeneratorBlock(nn.Module):
    """Doubles H and W by a residual block whose norms know the condition.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        condition: Length of the condition.
        unused: Carry the instance norms that the released files hold and nothing runs.
    """

    def __init__(self, c_in: int, c_out: int, condition: int, *, unused: bool) -> None:
        super().__init__()
        self.conv1 = SpectralConv(c_in, c_out, 3)
        self.conv2 = SpectralConv(c_out, c_out, 3)
        self.conv_sc = SpectralConv(c_in, c_out, 1)
        self.bn1 = ConditionalNorm(c_in, condition, spectral=True)
        self.bn2 = ConditionalNorm(c_out, condition, spectral=True)
        if unused:
            self.in1 = nn.InstanceNorm2d(c_in, affine=True).requires_grad_(False)
            self.in2 = nn.InstanceNorm2d(c_out, affine=True).requires_grad_(False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = _doubled(F.relu(self.bn1(x, condition)))
        h = F.relu(self.bn2(self.conv1(h), condition))
        # A 1x1 convolution gives the same before the doubling, at a quarter of the work.
        return cast(Tensor, self.conv2(h) + _doubled(self.conv_sc(x)))


class Generator(nn.Module):
    """From a feature map, or a random vector alone, to a picture in [-1, 1].

    Args:
        width: Channels of the last block; the released weights have 96.
        dim_z: Length of the random vector; its first part feeds the first layer, the others one
            block each.
        classes: How many classes there are; 0: none, the random vector is the whole condition.
        entry: The block that a feature map enters at; at 0 it is a random vector.
        blocks: How many of the six blocks there are.
        unused: Carry what the released files hold and an entry above 0 never runs.
    """

    def __init__(
        self,
        width: int = 96,
        dim_z: int = 119,
        classes: int = 1000,
        *,
        entry: int = 2,
        blocks: int = BLOCKS,
        unused: bool = True,
    ) -> None:
        super().__init__()
        self.entry = entry
        self.part = dim_z // SLOTS
        channels = [width * times for times in GENERATOR_CHANNELS[: blocks + 1]]
        self.channels_in = channels[entry]
        condition = self.part + (SHARED if classes else 0)
        self.shared = nn.Embedding(classes, SHARED) if classes else None
        below = unused or entry == 0
        self.linear = SpectralLinear(self.part, channels[0] * BOTTOM**2) if below else None
        self.blocks = nn.ModuleList()
        for index, (c_in, c_out) in enumerate(pairwise(channels)):
            # Empty places keep the numbers, and so the keys, of the others.
            parts: list[nn.Module] = []
            if unused or index >= entry:
                parts.append(GeneratorBlock(c_in, c_out, condition, unused=unused))
                if index == GENERATOR_ATTENTION:
                    parts.append(Attention(c_out))
            self.blocks.append(nn.ModuleList(parts))
        last = channels[-1]
        self.output_layer = nn.Sequential(LearnedNorm(last), nn.ReLU(), SpectralConv(last, 3, 3))

    def embedding(self, classes: Tensor | None) -> Tensor | None:
        """The vectors (B, 128) of classes (B,); None without classes."""
        return None if self.shared is None or classes is None else self.shared(classes)

    def forward(self, features: Tensor, embedding: Tensor | None, z: Tensor) -> Tensor:
        """Features (B, C, H, W) and (B, dim_z) to (B, 3, H', W') in [-1, 1].

        Args:
            features: What enters; with entry 0, a random vector (B, dim_z) in place of `z`.
            embedding: Vectors of the classes, (B, 128).
            z: Random vectors.
        """
        h = features
        if self.entry == 0:
            z = features
            assert self.linear is not None
            h = self.linear(z[:, : self.part]).unflatten(1, (-1, BOTTOM, BOTTOM))
        for index, block in enumerate(self.blocks):
            if index < self.entry:
                continue
            condition = z[:, (index + 1) * self.part : (index + 2) * self.part]
            if embedding is not None:
                condition = torch.cat([embedding, condition], 1)
            first, *rest = cast(nn.ModuleList, block)
            h = first(h, condition)
            for layer in rest:
                h = layer(h)
        return torch.tanh(self.output_layer(h))


class DiscriminatorBlock(nn.Module):
    """A residual block with mean pooling.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        first: It takes a picture: nothing is rectified before it, and its shortcut pools first.
        down: Halve H and W.
    """

    def __init__(self, c_in: int, c_out: int, *, first: bool, down: bool) -> None:
        super().__init__()
        self.first, self.down = first, down
        self.conv1 = SpectralConv(c_in, c_out, 3)
        self.conv2 = SpectralConv(c_out, c_out, 3)
        if down or c_in != c_out:
            self.conv_sc = SpectralConv(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        # Pooling and a 1x1 convolution may change places: this order is the cheaper one.
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return cast(Tensor, h + (self.conv_sc(x) if hasattr(self, "conv_sc") else x))


class Discriminator(nn.Module):
    """Pictures in [-1, 1] to one logit each; the class joins by projection (Miyato & Koyama 2018,
    arXiv:1802.05637).

    Args:
        width: Channels of the first block; the released weights have 96.
        classes: How many classes there are; 0: none.
    """

    def __init__(self, width: int = 96, classes: int = 1000) -> None:
        super().__init__()
        channels = [3, *(width * times for times in DISCRIMINATOR_CHANNELS)]
        self.blocks = nn.ModuleList()
        for index, (c_in, c_out) in enumerate(pairwise(channels)):
            last = index == len(DISCRIMINATOR_CHANNELS) - 1
            parts: list[nn.Module] = [
                DiscriminatorBlock(c_in, c_out, first=index == 0, down=not last)
            ]
            if index == DISCRIMINATOR_ATTENTION:
                parts.append(Attention(c_out))
            self.blocks.append(nn.ModuleList(parts))
        self.linear = SpectralLinear(channels[-1], 1)
        self.embed = SpectralEmbedding(classes, channels[-1]) if classes else None

    def forward(self, rgb: Tensor, classes: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1], sides of 64 at least, and classes (B,) to logits (B, 1)."""
        h = rgb
        for block in self.blocks:
            for layer in cast(nn.ModuleList, block):
                h = layer(h)
        h = F.relu(h).sum((2, 3))
        logits: Tensor = self.linear(h)
        if self.embed is not None and classes is not None:
            logits = logits + (self.embed(classes) * h).sum(1, keepdim=True)
        return logits


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)
