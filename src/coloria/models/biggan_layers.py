"""Building blocks of BigGAN, under the key names of the released files.

Brock et al. 2019 (arXiv:1809.11096), as Deep Generative Prior (XingangPan/deep-generative-prior,
MIT) has them. Their spectral normalisation (Miyato et al. 2018, arXiv:1802.05957) keeps only the
left singular vector `u0`, takes one power iteration in each pass, in eval mode, too, and stores its
result in training mode only; `sv0` notes the singular value.

Shapes: B pictures, C channels, H x W pixels, N = H * W.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPECTRAL_EPS = 1e-6
"""Least norm to divide by (SN_eps of the released configuration)."""

BN_EPS = 1e-5
"""Added to the variance (BN_eps of the released configuration)."""

BN_MOMENTUM = 0.1
"""Weight of the newest batch in the stored statistics."""

SCORE_BYTES = 64 * 2**20
"""Attention works out at most so many bytes of scores at once."""


class Spectral(nn.Module):
    """What the normalised layers share: the weight, seen as a matrix (out, everything else),
    is divided by its largest singular value.
    """

    weight: nn.Parameter
    u0: Tensor
    sv0: Tensor

    def _begin(self, shape: tuple[int, ...], bias: bool) -> None:
        self.weight = nn.Parameter(torch.randn(shape) / shape[-1] ** 0.5)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)
        self.register_buffer("u0", F.normalize(torch.randn(1, shape[0])))
        self.register_buffer("sv0", torch.ones(1))

    def normalized(self) -> Tensor:
        """The weight that the layer works with."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            with torch.no_grad():
                v = F.normalize(self.u0 @ matrix, eps=SPECTRAL_EPS)
                u = F.normalize(v @ matrix.T, eps=SPECTRAL_EPS)
            value = (v @ matrix.T @ u.T).squeeze()
            if self.training:
                self.u0.copy_(u)
                self.sv0.copy_(value.detach())
            return self.weight / value

    def folded(self) -> nn.Module:
        """The same map as a plain layer."""
        raise NotImplementedError


class SpectralConv(Spectral):
    """Convolution that keeps H and W."""

    bias: nn.Parameter | None

    def __init__(self, c_in: int, c_out: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self._begin((c_out, c_in, kernel, kernel), bias)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.normalized()
        return F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)

    def folded(self) -> nn.Module:
        c_out, c_in, kernel, _ = self.weight.shape
        conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=self.bias is not None)
        return _filled(conv, self.normalized(), self.bias)


class SpectralLinear(Spectral):
    """Linear map of the last axis."""

    bias: nn.Parameter | None

    def __init__(self, c_in: int, c_out: int, bias: bool = True) -> None:
        super().__init__()
        self._begin((c_out, c_in), bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalized(), self.bias)

    def folded(self) -> nn.Module:
        c_out, c_in = self.weight.shape
        return _filled(nn.Linear(c_in, c_out, self.bias is not None), self.normalized(), self.bias)


class SpectralEmbedding(Spectral):
    """A vector for each class; the table as a whole is normalised."""

    def __init__(self, classes: int, length: int) -> None:
        super().__init__()
        self._begin((classes, length), bias=False)

    def forward(self, classes: Tensor) -> Tensor:
        return F.embedding(classes, self.normalized())

    def folded(self) -> nn.Module:
        return _filled(nn.Embedding(*self.weight.shape), self.normalized(), None)


class ConditionalNorm(nn.Module):
    """Batch or instance norm whose gain and bias are linear in a condition.

    Args:
        channels: C.
        condition: Length of the condition.
        spectral: Whether the linear maps are spectrally normalised: in the generator, not in the
            encoder.
        instance: Normalise each picture by itself while training.
    """

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(
        self, channels: int, condition: int, *, spectral: bool, instance: bool = False
    ) -> None:
        super().__init__()
        self.instance = instance
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))
        linear = SpectralLinear if spectral else nn.Linear
        self.gain = linear(condition, channels, bias=False)
        self.bias = linear(condition, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain = 1 + self.gain(condition)[..., None, None]
        bias = self.bias(condition)[..., None, None]
        norm = F.instance_norm if self.instance else F.batch_norm
        x = norm(
            x, self.stored_mean, self.stored_var, None, None, self.training, BN_MOMENTUM, BN_EPS
        )
        return x * gain + bias


class LearnedNorm(nn.Module):
    """Batch norm with a gain and a bias of its own."""

    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        stored = self.stored_mean, self.stored_var
        return F.batch_norm(x, *stored, self.gain, self.bias, self.training, BN_MOMENTUM, BN_EPS)


class Attention(nn.Module):
    """Self-attention of SAGAN (Zhang et al. 2019, arXiv:1805.08318), added to the input.

    Each of the N pixels looks at N / 4 places. The scores, N * N / 4, are worked out for some
    pixels at a time, never more than :data:`SCORE_BYTES` of them; at 1024 px they would be 4 GB.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(()))
        narrow, half = max(channels // 8, 1), channels // 2
        self.theta = SpectralConv(channels, narrow, 1, bias=False)
        self.phi = SpectralConv(channels, narrow, 1, bias=False)
        self.g = SpectralConv(channels, half, 1, bias=False)
        self.o = SpectralConv(half, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2)  # (B, C/8, N)
        keys = F.max_pool2d(self.phi(x), 2).flatten(2)  # (B, C/8, N/4)
        values = F.max_pool2d(self.g(x), 2).flatten(2)  # (B, C/2, N/4)
        row = keys.shape[0] * keys.shape[2] * keys.element_size()
        mixed = [
            values @ torch.softmax(some.transpose(1, 2) @ keys, -1).transpose(1, 2)
            for some in queries.split(max(SCORE_BYTES // row, 1), dim=2)
        ]
        seen = torch.cat(mixed, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.o(seen)


def orthogonal_(net: nn.Module) -> None:
    """Makes all weights of the normalised layers orthogonal, as BigGAN begins; slow when wide."""
    for module in net.modules():
        if isinstance(module, Spectral):
            nn.init.orthogonal_(module.weight)


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer
