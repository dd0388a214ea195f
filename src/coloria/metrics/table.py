"""The measures: one literal table. Importing it loads no framework.

Three scopes, by what a measure is a function of. All pictures are uint8 sRGB arrays (H, W, 3).

``pair``
    ``target(prediction, truth) -> float``; the figure of a set is the mean over its pictures.
``picture``
    ``target(prediction) -> float``; the figure of a set is the mean over its pictures.
``set``
    ``target()`` is a :class:`coloria.metrics.sets.SetMeasure`: ``update(prediction, truth)`` for
    every picture, then ``compute()``. It has no figure for one picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from coloria.errors import MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from coloria.metrics.sets import SetMeasure

__all__ = ["MEASURES", "Measure", "get", "names"]


@dataclass(frozen=True)
class Measure:
    """One measure, as users name it."""

    name: str
    title: str
    """As a column's head. A network of your own gets its own title, see :meth:`metric`."""
    unit: str
    """Empty where the figure has none."""
    better: Literal["lower", "higher", "none"]
    """Which way is better; "none" where neither is (colourfulness)."""
    scope: Literal["pair", "picture", "set"]
    target: str
    """``module:name`` of the function, or of the class of a set."""
    summary: str
    aliases: tuple[str, ...] = ()
    extra: str | None = None
    """The optional dependencies it needs."""
    needs: tuple[str, ...] = ()
    """Packages of that extra which must be importable."""
    smallest: int = 1
    """Shortest side of a picture that it can measure, in pixels."""
    checker: str | None = None
    """``module:name`` of what else must hold before any work, such as weights being there."""

    def check(self, **options: Any) -> None:
        """Refuses before any work is done what would fail in the middle of it.

        Args:
            options: As for :meth:`load`.

        Raises:
            MissingExtraError: The extra is not installed.
            WeightsMissingError: A feature network has no weight file here.
        """
        if self.extra and any(find_spec(package) is None for package in self.needs):
            raise MissingExtraError(self.title, self.extra)
        if self.checker:
            _resolve(self.checker)(**options)

    def load(self) -> Callable[..., Any]:
        """The function, or the class of a set.

        Raises:
            MissingExtraError: The extra is not installed.
        """
        if self.extra and any(find_spec(package) is None for package in self.needs):
            raise MissingExtraError(self.title, self.extra)
        target: Callable[..., Any] = _resolve(self.target)
        return target

    def metric(self, **options: Any) -> SetMeasure:
        """An empty ``update``/``compute`` object for a set: the mean where a picture has a figure.

        Args:
            options: Of the target. `lpips` takes `network`, `fid` takes `extractor`, each with its
                `name`, which is then in the title ("FID with NAME"); both take `device` and
                `download`.

        Raises:
            MissingExtraError: The extra is not installed.
            WeightsMissingError: A feature network has no weight file here.
        """
        from coloria.metrics.sets import MeanOver

        self.check(**options)
        target = self.load()
        if self.scope == "set":
            return target(**options)  # type: ignore[no-any-return]
        own = options.get("name")
        title = f"{self.name.upper()} with {own}" if own else self.title
        return MeanOver(target, title, of_truth=self.scope == "pair", options=options)


def _resolve(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


OLDER = ("colour",)
"""What the older colour differences need."""
NETWORKS = ("torchmetrics", "torch_fidelity")
"""What measures with a feature network need."""

MEASURES: dict[str, Measure] = {
    m.name: m
    for m in (
        Measure(
            "ciede2000",
            "CIEDE2000",
            "ΔE00",
            "lower",
            "pair",
            "coloria.metrics.pairs:ciede2000",
            "mean colour difference over the pixels; 1 is about just noticeable",
            aliases=("deltaE00", "delta_e00", "dE00", "ΔE00", "de2000", "cie2000"),
        ),
        Measure(
            "cie76",
            "CIE76",
            "ΔE*ab",
            "lower",
            "pair",
            "coloria.metrics.pairs:cie76",
            "mean Euclidean distance in Lab",
            aliases=("deltaE76", "dE76", "deltaE", "de1976", "cie1976"),
            extra="eval",
            needs=OLDER,
        ),
        Measure(
            "cie94",
            "CIE94",
            "ΔE*94",
            "lower",
            "pair",
            "coloria.metrics.pairs:cie94",
            "mean colour difference of 1994 with the weights for graphic arts; the truth is the "
            "standard",
            aliases=("deltaE94", "dE94", "de1994", "cie1994"),
            extra="eval",
            needs=OLDER,
        ),
        Measure(
            "cmc",
            "CMC(2:1)",
            "ΔE CMC",
            "lower",
            "pair",
            "coloria.metrics.pairs:cmc",
            "mean colour difference of the Colour Measurement Committee, l:c = 2:1; the truth is "
            "the standard",
            aliases=("deltaECMC", "dECMC"),
            extra="eval",
            needs=OLDER,
        ),
        Measure(
            "psnr",
            "PSNR",
            "dB",
            "higher",
            "pair",
            "coloria.metrics.pairs:psnr",
            "peak signal-to-noise ratio over all RGB values; infinite for equal pictures",
        ),
        Measure(
            "ssim",
            "SSIM",
            "",
            "higher",
            "pair",
            "coloria.metrics.pairs:ssim",
            "structural similarity with Wang's settings, mean of the three channels; 1 is equal",
            extra="eval",
            needs=("torchmetrics",),
            smallest=11,
        ),
        Measure(
            "lpips",
            "LPIPS (AlexNet)",
            "",
            "lower",
            "pair",
            "coloria.metrics.lpips:lpips",
            "perceptual distance of the features of AlexNet, version 0.1; 0 is equal",
            extra="eval",
            needs=("torchmetrics",),
            smallest=63,
            checker="coloria.metrics.lpips:check",
        ),
        Measure(
            "fid",
            "FID (InceptionV3)",
            "",
            "lower",
            "set",
            "coloria.metrics.fid:FrechetDistance",
            "Fréchet distance of the features of InceptionV3 over the set; thousands of pictures "
            "for a meaning",
            extra="eval",
            needs=NETWORKS,
            checker="coloria.metrics.fid:check",
        ),
        Measure(
            "colorfulness",
            "colourfulness",
            "",
            "none",
            "picture",
            "coloria.metrics.pairs:signed_colorfulness",
            "Hasler and Süsstrunk's M3 of the prediction: 0 not, 33 moderately, 59 quite, 109 "
            "extremely colourful",
            aliases=("cf", "colourfulness"),
        ),
        Measure(
            "colorfulness-absolute",
            "colourfulness (absolute)",
            "",
            "none",
            "picture",
            "coloria.metrics.pairs:absolute_colorfulness",
            "the same with |R-G| and |(R+G)/2-B|, as much published code has it",
            aliases=("cf-absolute", "cf-abs", "colourfulness-absolute"),
        ),
        Measure(
            "delta-colorfulness",
            "Δ colourfulness",
            "",
            "lower",
            "set",
            "coloria.metrics.sets:DeltaColorfulness",
            "|mean colourfulness of the predictions - that of the truths|",
            aliases=("delta-cf", "dcf", "ΔCF", "delta-colourfulness"),
        ),
        Measure(
            "delta-colorfulness-mean",
            "Δ colourfulness (per picture)",
            "",
            "lower",
            "pair",
            "coloria.metrics.pairs:delta_colorfulness",
            "mean over the pictures of |colourfulness of the prediction - that of the truth|",
            aliases=("delta-cf-mean", "dcf-mean", "delta-colourfulness-mean"),
        ),
        Measure(
            "auc",
            "AuC",
            "%",
            "higher",
            "pair",
            "coloria.metrics.pairs:auc",
            "share of pixels whose a*b* lies within t of the truth, over t from 0 to 150; 100 is "
            "equal",
        ),
        Measure(
            "ab-mse",
            "a*b* MSE",
            "",
            "lower",
            "pair",
            "coloria.metrics.pairs:ab_mse",
            "mean squared difference of a* and b* in Lab",
            aliases=("abmse", "ab_mse"),
        ),
    )
}


def names() -> list[str]:
    """The names of all measures, in the order of the table."""
    return list(MEASURES)


def get(name: str) -> Measure:
    """The measure of this name or alias; capitals do not matter.

    Raises:
        UnknownNameError: There is none; the nearest name is in the message.
    """
    wanted = name.casefold()
    for measure in MEASURES.values():
        if wanted in (alias.casefold() for alias in (measure.name, *measure.aliases)):
            return measure
    known = [alias for m in MEASURES.values() for alias in (m.name, *m.aliases)]
    raise UnknownNameError("metric", name, known)
