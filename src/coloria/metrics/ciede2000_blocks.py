"""CIEDE2000 without angles, in blocks that stay in the cache.

Every trigonometric function of the formula (letters and equation numbers: see
:mod:`coloria.metrics.ciede2000`) is one of a hue, and a hue is known by its direction
(a', b') / C'. With u1, u2 the two unit vectors, dh the angle between them on the short way round,
and ``sign`` the side that u2 lies on:

- the mean hue (14) is the direction of ``(u1 + u2) + sign * rot(u2 - u1)``, rot being a quarter
  turn to the right. Both parts lie on the bisector, with lengths 2 cos(dh/2) and 2 sin(dh/2): one
  of them is always long, so that nothing cancels, not even close to 180 degrees;
- dH' (11) is ``sqrt(C1' C2')`` times the part of ``u2 - u1`` across the mean hue;
- T (15) is a polynomial in the cosine c and the sine s of the mean hue, by the formulas for
  multiples of an angle: ``P(c) + s Q(c)``;
- (16) needs the square of the angle psi between the mean hue and 275 degrees:
  ``psi^2 = 2 sum_k (2 y)^k / (k^2 binom(2k, k))`` with ``y = 1 - cos(psi)``, which converges for
  all angles, and at once for those where the exponential is not nothing.

If a colour has no chroma, dH' is 0, and the mean hue does not matter: no special cases are left.

What is left are about ninety additions, products and roots per pixel. They work in place on a few
rows of scratch memory, one block of pixels after the other; each takes PyTorch's own threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 18
"""Bytes of one row of scratch memory, for each of at least two threads: :data:`ROWS` of them fit
the outer cache, and are long enough that the cost of a call counts little."""
DEVICE_BYTES = 1 << 24
"""The same on an accelerator: what keeps it busy."""
ROWS = 12
"""Rows of scratch memory. A block is at most half of the picture, so that scratch (6 values a
pixel) and result (1) stay below 1.5 times the inputs (6)."""

TINY = 1e-30
"""Added to squares before a reciprocal root, so that 0 stays 0."""

_30, _6, _63, _275 = (math.radians(degrees) for degrees in (30, 6, 63, 275))

T_EVEN = (
    -1.6 * math.cos(_63),
    1.28 * math.cos(_6),
    0.48 + 1.6 * math.cos(_63),
    -0.17 * math.cos(_30) - 0.96 * math.cos(_6),
    0.76 - 0.2 * math.cos(_63),
)
"""P of T = P(c) + s Q(c), equation 15, from the fourth power of c down."""
T_ODD = (
    -1.6 * math.sin(_63),
    -1.28 * math.sin(_6),
    0.8 * math.sin(_63),
    -0.17 * math.sin(_30) + 0.32 * math.sin(_6),
)
"""Q, from the third power down."""
PSI_TERMS = {torch.float32: 5, torch.float64: 28}
"""Terms of psi^2: the exponential is then right to 2e-6 and 1e-15."""
SINE_TERMS = {torch.float32: 5, torch.float64: 9}
"""Terms of the sine of at most 60 degrees: right to 4e-8 and 2e-17."""


def psi_squared(terms: int) -> tuple[float, ...]:
    """Exponent of equation 16 as a polynomial in y without its constant.

    The exponent, -(psi / 25 degrees)^2, is that of a power of 2, which is computed faster.
    """
    scale = -2 / math.radians(25) ** 2 / math.log(2)
    return tuple(scale * 2.0**k / (k * k * math.comb(2 * k, k)) for k in range(terms, 0, -1))


def rotation(terms: int) -> tuple[float, ...]:
    """-2 sin(60 degrees * e) / e as a polynomial in e^2, e being the exponential of equation 16.

    Times e and half of R_C, that is R_T, equation 21.
    """
    k = math.radians(60)
    return tuple(
        -2 * (-1) ** j * k ** (2 * j + 1) / math.factorial(2 * j + 1)
        for j in range(terms - 1, -1, -1)
    )


def blockwise(lab1: Tensor, lab2: Tensor, kL: float, kC: float, kH: float) -> Tensor:
    """CIEDE2000 of tensors (..., 3) of one shape and any strides, without gradients."""
    lab1, lab2 = lab1.detach(), lab2.detach()
    dtype = torch.promote_types(torch.promote_types(lab1.dtype, lab2.dtype), torch.float32)
    out = torch.empty(lab1.shape[:-1], dtype=dtype, device=lab1.device)
    if out.numel() == 0:
        return out
    row = DEVICE_BYTES
    if out.device.type == "cpu":
        row = BLOCK_BYTES * max(2, torch.get_num_threads())
    size = min(row // dtype.itemsize, -(-out.numel() // 2))
    block = _Block(size, dtype, out.device, (kL, kC, kH))
    for part in _parts(out.shape, size):
        block(lab1[part], lab2[part], out[part])
    return out


def _parts(shape: Sequence[int], size: int) -> Iterator[tuple[int | slice, ...]]:
    """Indices that cut a shape into parts of at most `size` elements, each one piece of memory."""
    if math.prod(shape) <= size:
        yield ()
        return
    inner = math.prod(shape[1:])
    if inner > size:
        for i in range(shape[0]):
            yield from ((i, *rest) for rest in _parts(shape[1:], size))
        return
    step = size // inner
    yield from ((slice(i, i + step),) for i in range(0, shape[0], step))


class _Block:
    """The formula on blocks of up to `size` pixels, in scratch memory of its own."""

    def __init__(
        self, size: int, dtype: torch.dtype, device: torch.device, k: tuple[float, float, float]
    ) -> None:
        self.memory = torch.empty(ROWS, size, dtype=dtype, device=device)
        self.k = k
        series = (T_EVEN, T_ODD, psi_squared(PSI_TERMS[dtype]), rotation(SINE_TERMS[dtype]))
        values = (1.0, 1.5, 50.0, TINY, *k, *(value for one in series for value in one))
        numbers = iter(torch.tensor(values, dtype=dtype, device=device).unbind())
        self.one, self.one_half, self.fifty, self.tiny = (next(numbers) for _ in range(4))
        self.kL, self.kC, self.kH = (next(numbers) for _ in range(3))
        # The first coefficient is a factor, which is a plain number in PyTorch's calls.
        self.even, self.odd, self.psi, self.rotation = (
            (one[0], [next(numbers) for _ in one][1:]) for one in series
        )

    def __call__(self, lab1: Tensor, lab2: Tensor, out: Tensor) -> None:
        """Lab (..., 3) into `out` (...), which is one piece of memory."""
        memory = self.memory[:, : out.numel()]
        L, a, b, C = (memory[i : i + 2] for i in (0, 2, 4, 6))  # (2, n): both colours
        for i, channel in enumerate((L, a, b)):
            for row, lab in zip(channel.unbind(), (lab1, lab2), strict=True):
                row.view(out.shape).copy_(lab[..., i])
        x, y, z, dH = memory[8:].unbind()  # (n)
        out = out.view(-1)

        # a' and the unit vectors (a', b') / C': equations 2 to 6
        torch.addcmul(self.tiny, a, a, out=C).addcmul_(b, b)
        C *= torch.rsqrt(C, out=memory[8:10])  # a reciprocal root costs half of a root
        C1, C2 = C.unbind()
        torch.add(C1, C2, out=x)
        a *= torch.add(self.one_half, self.saturating(x, y), alpha=-0.5, out=y)  # 1 + G
        torch.addcmul(self.tiny, a, a, out=C).addcmul_(b, b)
        inverse = torch.rsqrt(C, out=memory[8:10])
        a *= inverse
        b *= inverse
        C *= inverse
        root = torch.mul(x, y, out=z).rsqrt_()  # of C1' C2'

        # Direction of the mean hue, and dH': equations 7, 10, 11 and 14
        (u1, u2), (v1, v2) = a.unbind(), b.unbind()
        torch.mul(u1, v2, out=x).addcmul_(u2, v1, value=-1)
        sign = torch.copysign(self.one, x, out=x)
        du = torch.sub(u1, u2, out=dH)
        dv = torch.sub(v2, v1, out=y)
        c = u1.add_(u2).addcmul_(sign, dv)
        s = v1.add_(v2).addcmul_(sign, du)
        length = torch.addcmul(self.tiny, c, c, out=x).addcmul_(s, s).rsqrt_()
        c *= length
        s *= length
        dH.mul_(s).addcmul_(dv, c).mul_(root)

        # Chroma and hue over their weights: equations 9, 13, 15, 19 and 20
        total = torch.add(C1, C2, out=x)
        dC = C2.sub_(C1)
        T = _horner(self.even, c, y).addcmul_(_horner(self.odd, c, z), s)
        dH /= torch.addcmul(self.kH, total, T, value=0.0075 * self.k[2], out=y)
        dC /= torch.add(self.kC, total, alpha=0.0225 * self.k[1], out=y)

        # R_T: equations 16, 17 and 21
        R_C = self.saturating(total, y)  # half of it
        versine = torch.add(self.one, c, alpha=-math.cos(_275), out=x)
        versine.add_(s, alpha=-math.sin(_275))
        blue = _horner(self.psi, versine, z).mul_(versine).exp2_()
        # Hues from 0 to 90 degrees are far from 275; the direction alone has 0 next to 360.
        blue *= torch.lt(torch.minimum(c, s, out=x), 0, out=x)
        R_T = _horner(self.rotation, torch.mul(blue, blue, out=x), c).mul_(blue).mul_(R_C)

        # Lightness, and all together: equations 8, 12, 18 and 22
        L1, L2 = L.unbind()
        dL = torch.sub(L2, L1, out=x)
        square = L1.add_(L2).sub_(100)
        square *= square
        S_L = torch.addcmul(
            self.kL, square, torch.add(square, 80, out=y).rsqrt_(), value=0.0075 * self.k[0], out=y
        )
        dL /= S_L
        torch.mul(dL, dL, out=out).addcmul_(dC, dC)
        out.addcmul_(dH, R_T.mul_(dC).add_(dH)).sqrt_()

    def saturating(self, total: Tensor, out: Tensor) -> Tensor:
        """The root of C^7 / (C^7 + 25^7), C half of `total`, which is overwritten."""
        ratio = torch.div(self.fifty, total, out=total)
        torch.mul(ratio, ratio, out=out).mul_(ratio)
        out *= out
        return torch.addcmul(self.one, out, ratio, out=out).rsqrt_()


def _horner(series: tuple[float, list[Tensor]], x: Tensor, out: Tensor) -> Tensor:
    """A polynomial of x, coefficients from the highest power down."""
    first, (second, *rest) = series
    torch.add(second, x, alpha=first, out=out)
    for coefficient in rest:
        torch.addcmul(coefficient, out, x, out=out)
    return out
