"""Norms folded into plain convolutions: the same maps, fewer steps.

Spectral and weight norms always fold, and weight files hold them folded. A BatchNorm folds only
where it directly follows its convolution, which is so in the encoders and in the shuffle
convolutions, not in blocks that normalise after the ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from coloria.models.biggan_layers import Spectral
from coloria.models.layers import SpectralConv2d, WeightNormConv2d


def fold_weight_norms(net: nn.Module) -> nn.Module:
    """Replaces every spectral or weight norm, in place, by the kernel it stands for.

    Call it in eval mode: in training mode the spectral norms would take one more iteration.
    """
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SpectralConv2d | WeightNormConv2d | Spectral):
                setattr(module, name, child.folded())
    return net


def unfold_weight_norms(net: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state_dict of `net`, whose norms are not folded, from that of its folded form.

    A spectral norm divides by the largest singular value, which the power iteration of training
    meets only nearly: kernels come back smaller by the little that it missed.

    Args:
        net: Gives the shapes; it is not changed.
        state: As :func:`fold_weight_norms` leaves it.
    """
    whole = dict(state)
    for name, module in net.named_modules():
        key = f"{name}.weight"
        if isinstance(module, Spectral) and key in state:
            u, values, _ = torch.linalg.svd(state[key].flatten(1), full_matrices=False)
            whole |= {f"{name}.u0": u[:, :1].T, f"{name}.sv0": values[:1]}
        if not isinstance(module, SpectralConv2d | WeightNormConv2d) or key not in state:
            continue
        kernel = whole.pop(key)
        if isinstance(module, WeightNormConv2d):
            norm = torch.linalg.vector_norm(kernel.flatten(1), dim=1).view(-1, 1, 1, 1)
            whole |= {f"{name}.weight_v": kernel, f"{name}.weight_g": norm}
        else:
            u, _, v = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
            whole |= {f"{key}_orig": kernel, f"{key}_u": u[:, 0], f"{key}_v": v[0]}
    return whole


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """Folds, in place, each BatchNorm into the convolution that stands directly before it.

    "Before" is the order of definition, which is the order of execution in ResNet, in
    EfficientNet-Lite0 and in our blocks. Only for inference.
    """
    for module in list(net.modules()):
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv.eval(), norm.eval()))
                # timm keeps the activation inside its BatchNorm.
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))
    return net
