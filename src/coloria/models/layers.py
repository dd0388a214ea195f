"""Building blocks of the DeOldify networks, under the key names of the released files.

Spectral normalisation follows Miyato et al. 2018 (arXiv:1802.05957) with the state that PyTorch's
first implementation kept (`weight_orig`, `weight_u`, `weight_v`); weight normalisation follows
Salimans & Kingma 2016 (arXiv:1602.07868) (`weight_g`, `weight_v`); self-attention follows SAGAN,
Zhang et al. 2019 (arXiv:1805.08318). Facts on the blocks: DeOldify (MIT).

Shapes: B pictures, C channels, H x W pixels, N = H * W tokens.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPECTRAL_EPS = 1e-12
"""Added to a norm before dividing; the value of PyTorch's spectral norm."""

SKIP_BN_BIAS = 1e-3
"""Start value of the bias of the BatchNorms on skips and on the encoder's output (fastai)."""

SCORES = 1 << 26
"""Attention scores held at a time on a CPU, where PyTorch holds all N x N of them: they would be
4 GB, and as much again, for 1024 x 2048 pixels. The usual sizes lie far below."""


class SpectralConv2d(nn.Module):
    """Convolution whose kernel, as a matrix (out, in * kh * kw), is divided by its largest
    singular value, estimated by one power iteration a training step.

    In eval mode the stored vectors are used as they are: released weights depend on them.
    """

    bias: Tensor | None
    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, pad: int = 0, bias: bool
    ) -> None:
        super().__init__()
        self.stride, self.pad = stride, pad
        self.register_parameter("bias", nn.Parameter(torch.zeros(c_out)) if bias else None)
        self.weight_orig = nn.Parameter(self._kernel(c_in, c_out, kernel))
        nn.init.kaiming_normal_(self.weight_orig)
        matrix = self.weight_orig.detach().flatten(1)
        u = F.normalize(torch.randn(matrix.shape[0]), dim=0, eps=SPECTRAL_EPS)
        self.register_buffer("weight_u", u)
        self.register_buffer("weight_v", F.normalize(matrix.T @ u, dim=0, eps=SPECTRAL_EPS))

    @staticmethod
    def _kernel(c_in: int, c_out: int, kernel: int) -> Tensor:
        return torch.empty(c_out, c_in, kernel, kernel)

    def weight(self) -> Tensor:
        """The normalised kernel, with the shape of `weight_orig`."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            matrix = self.weight_orig.flatten(1)
            if self.training:
                self._iterate(matrix.detach())
            # Copies, so that the next iteration does not change what backward has kept.
            u, v = self.weight_u.clone(), self.weight_v.clone()
            return self.weight_orig / torch.dot(u, matrix @ v)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        v = F.normalize(matrix.T @ self.weight_u, dim=0, eps=SPECTRAL_EPS)
        self.weight_v.copy_(v)
        self.weight_u.copy_(F.normalize(matrix @ v, dim=0, eps=SPECTRAL_EPS))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, self.stride, self.pad)

    def folded(self) -> nn.Module:
        """The same map as a plain convolution."""
        return _plain_conv2d(self.weight(), self.bias, self.stride, self.pad)


class SpectralConv1d(SpectralConv2d):
    """The 1x1 projections of self-attention: (B, C_in, N) to (B, C_out, N)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1, bias=False)

    @staticmethod
    def _kernel(c_in: int, c_out: int, kernel: int) -> Tensor:
        return torch.empty(c_out, c_in, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight())

    def folded(self) -> nn.Module:
        weight = self.weight()
        conv = nn.Conv1d(weight.shape[1], weight.shape[0], 1, bias=False)
        conv.weight = nn.Parameter(weight.detach().clone())
        return conv


class WeightNormConv2d(nn.Module):
    """1x1 convolution with kernel g * v / |v|, the norm taken per output channel."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(c_out))
        v = nn.init.kaiming_normal_(torch.empty(c_out, c_in, 1, 1))
        self.weight_g = nn.Parameter(_channel_norm(v))
        self.weight_v = nn.Parameter(v)

    def weight(self) -> Tensor:
        """The normalised kernel (C_out, C_in, 1, 1)."""
        return self.weight_v * (self.weight_g / _channel_norm(self.weight_v))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias)

    def folded(self) -> nn.Module:
        """The same map as a plain convolution."""
        return _plain_conv2d(self.weight(), self.bias, 1, 0)


class SelfAttention(nn.Module):
    """Self-attention over all pixels, scaled by `gamma` and added to the input.

    Args:
        channels: C; queries and keys have C // 8 (at least 1), values C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        narrow = max(channels // 8, 1)
        self.query = SpectralConv1d(channels, narrow)
        self.key = SpectralConv1d(channels, narrow)
        self.value = SpectralConv1d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)  # (B, C, N)
        # DeOldify normalises over the query's pixel, so query and key change places here,
        # and it does not divide by sqrt(d).
        query, key, value = (
            conv(tokens).transpose(1, 2).unsqueeze(1) for conv in (self.key, self.query, self.value)
        )  # (B, 1, N, d)
        mixed = _attend(query, key, value)
        return x + self.gamma * mixed.squeeze(1).transpose(1, 2).reshape_as(x)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax of query times key over the keys, times value, each (B, 1, N, d); in parts of the
    queries where that saves memory, which changes nothing.
    """
    if query.device.type == "cpu" and not _being_exported():
        parts = -(-len(query) * query.shape[2] ** 2 // SCORES)
        if parts > 1:
            mixed = [
                F.scaled_dot_product_attention(some, key, value, scale=1.0)
                for some in query.chunk(parts, dim=2)
            ]
            return torch.cat(mixed, dim=2)
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


def _being_exported() -> bool:
    """Whether a graph is recorded, which must fit every size."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return bool(tracing) or torch.compiler.is_compiling()


class ShuffleUp(nn.Module):
    """Doubles H and W: 1x1 convolution to 4 * C_out, ReLU, pixel shuffle (Shi et al. 2016,
    arXiv:1609.05158), then a 2x2 mean that takes out the checkerboard.
    """

    def __init__(self, c_in: int, c_out: int, *, final: bool = False) -> None:
        super().__init__()
        self.conv = (
            nn.Sequential(WeightNormConv2d(c_in, 4 * c_out))
            if final
            else nn.Sequential(
                SpectralConv2d(c_in, 4 * c_out, 1, bias=False), nn.BatchNorm2d(4 * c_out)
            )
        )
        if not final:
            _icnr_(cast(SpectralConv2d, self.conv[0]).weight_orig)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(F.relu(self.conv(x)), 2)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1)


class ResidualBlock(nn.Module):
    """Two 3x3 spectral convolutions with ReLU, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_block(channels, channels, norm=False),
            spectral_block(channels, channels, norm=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.layers(x))


def spectral_block(
    c_in: int, c_out: int, *, norm: bool = True, attention: bool = False
) -> nn.Sequential:
    """3x3 spectral convolution, ReLU, then BatchNorm (after the ReLU), then self-attention.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        norm: With BatchNorm and without bias, or the other way round.
        attention: Append self-attention.
    """
    parts: list[nn.Module] = [SpectralConv2d(c_in, c_out, 3, pad=1, bias=not norm), nn.ReLU()]
    if norm:
        parts.append(nn.BatchNorm2d(c_out))
    if attention:
        parts.append(SelfAttention(c_out))
    return nn.Sequential(*parts)


def skip_batch_norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm for a skip connection: weight 1, bias `SKIP_BN_BIAS`."""
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.bias, SKIP_BN_BIAS)
    return norm


@torch.no_grad()
def _icnr_(weight: Tensor) -> None:
    """Makes the four sub-pixels of a shuffle start equal (Aitken et al. 2017, arXiv:1707.02937)."""
    first = nn.init.kaiming_normal_(torch.empty_like(weight[::4]))
    weight.copy_(first.repeat_interleave(4, dim=0))


def _channel_norm(weight: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    return norm.view(-1, 1, 1, 1)


def _plain_conv2d(weight: Tensor, bias: Tensor | None, stride: int, pad: int) -> nn.Conv2d:
    c_out, c_in, height, width = weight.shape
    conv = nn.Conv2d(c_in, c_out, (height, width), stride, pad, bias=bias is not None)
    conv.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv
