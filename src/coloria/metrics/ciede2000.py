"""CIEDE2000 colour difference.

Sharma, Wu & Dalal 2005, "The CIEDE2000 color-difference formula: implementation notes,
supplementary test data, and mathematical observations", doi:10.1002/col.20070. Letters and
equation numbers are the paper's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHROMA_7 = 25.0**7
"""25^7 of equations 4 and 20."""


def delta_e00(
    lab1: Tensor, lab2: Tensor, kL: float = 1.0, kC: float = 1.0, kH: float = 1.0
) -> Tensor:
    """CIEDE2000 between two pictures, pixel by pixel.

    Args:
        lab1: Lab, (..., 3, H, W): L* in [0, 100], D65.
        lab2: The same shape.
        kL: Weight of lightness (1 under reference conditions).
        kC: Weight of chroma.
        kH: Weight of hue.

    Returns:
        (..., H, W), 0 for equal colours; 1 is about a just noticeable difference.
    """
    L1, a1, b1 = lab1.unbind(-3)
    L2, a2, b2 = lab2.unbind(-3)
    C_bar = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2  # (2), (3)
    G = 0.5 * (1 - _saturating(C_bar))  # (4)
    a1p, a2p = (1 + G) * a1, (1 + G) * a2  # (5)
    C1p, C2p = torch.hypot(a1p, b1), torch.hypot(a2p, b2)  # (6)
    h1p, h2p = _hue(a1p, b1), _hue(a2p, b2)  # (7)

    both = C1p * C2p != 0
    dhp = h2p - h1p
    dhp = torch.where(dhp > math.pi, dhp - 2 * math.pi, dhp)
    dhp = torch.where(dhp < -math.pi, dhp + 2 * math.pi, dhp) * both  # (10)
    dLp, dCp = L2 - L1, C2p - C1p  # (8), (9)
    dHp = 2 * torch.sqrt(C1p * C2p) * torch.sin(dhp / 2)  # (11)

    Lp_bar, Cp_bar = (L1 + L2) / 2, (C1p + C2p) / 2  # (12), (13)
    total = h1p + h2p
    far = (h1p - h2p).abs() > math.pi
    turned = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    hp_bar = torch.where(both, torch.where(far, turned, total) / 2, total)  # (14)

    T = (
        1
        - 0.17 * torch.cos(hp_bar - math.radians(30))
        + 0.24 * torch.cos(2 * hp_bar)
        + 0.32 * torch.cos(3 * hp_bar + math.radians(6))
        - 0.20 * torch.cos(4 * hp_bar - math.radians(63))
    )  # (15)
    d_theta = math.radians(30) * torch.exp(-(((torch.rad2deg(hp_bar) - 275) / 25) ** 2))  # (16)
    R_C = 2 * _saturating(Cp_bar)  # (17)
    L50 = (Lp_bar - 50) ** 2
    S_L = 1 + 0.015 * L50 / torch.sqrt(20 + L50)  # (18)
    S_C = 1 + 0.045 * Cp_bar  # (19)
    S_H = 1 + 0.015 * Cp_bar * T  # (20)
    R_T = -torch.sin(2 * d_theta) * R_C  # (21)
    dL, dC, dH = dLp / (kL * S_L), dCp / (kC * S_C), dHp / (kH * S_H)
    return torch.sqrt((dL**2 + dC**2 + dH**2 + R_T * dC * dH).clamp(min=0))  # (22)


def _saturating(chroma: Tensor) -> Tensor:
    c7 = chroma**7
    return torch.sqrt(c7 / (c7 + CHROMA_7))


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """Hue in [0, 2 pi); 0 where there is none."""
    h = torch.atan2(b, a)
    h = torch.where(h < 0, h + 2 * math.pi, h)
    return torch.where((a == 0) & (b == 0), torch.zeros_like(h), h)
