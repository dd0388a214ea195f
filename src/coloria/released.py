"""The weight files that the authors of the networks published, as one literal table.

Nothing here is fetched on import; :mod:`coloria.weights` does that, and only when asked. A size
or a hash that is not known for certain is ``None``: it is never filled in by guessing, and the
hash of the first download is then written down beside the file. ``license`` is the one that the
publishing project states, ``unknown`` where it states none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coloria.errors import UnknownNameError

__all__ = ["RELEASED", "Released", "Role", "generators", "names", "released"]

Role = Literal[
    "generator",  # colours photographs
    "ema",  # averaged weights that go over a generator of the same model
    "critic",  # the discriminator of the GAN phase
    "pretrain-generator",  # a generator before the GAN phase
    "pretrain-critic",  # a discriminator before the GAN phase
    "backbone",  # a generator of another project that training starts from
    "backbone-critic",  # the discriminator that belongs to that backbone
]


@dataclass(frozen=True, slots=True)
class Released:
    """One published weight file."""

    name: str
    """What it is called on the command line."""
    model: str
    """The model of this library that reads it."""
    role: Role
    file: str
    """Name of the file in the cache: the one its authors gave it."""
    urls: tuple[str, ...]
    """Where it can be fetched, in the order to try."""
    license: str
    project: str
    """GitHub ``owner/name`` of the authors."""
    year: int | None = None
    paper: str = ""
    bytes: int | None = None
    sha256: str | None = None
    companion: str | None = None
    """Another file of this table to be used with it where it is present."""
    note: str = ""


_DEEPAI = "https://data.deepai.org/deoldify/"
_DROPBOX = "https://www.dropbox.com/s/"
_HUGGINGFACE = "https://huggingface.co/spensercai/DeOldify/resolve/main/"
_DRIVE = "https://drive.google.com/uc?export=download&id="
_COLORIZERS = "https://colorizers.s3.us-east-2.amazonaws.com/"

_DEOLDIFY = "jantic/DeOldify"
_ZHANG = "richzhang/colorization"
_ECCV16 = "Colorful Image Colorization, ECCV 2016"
_SIGGRAPH17 = "Real-Time User-Guided Image Colorization with Learned Deep Priors, SIGGRAPH 2017"
_BIGCOLOR = (
    "BigColor: Colorization using a Generative Color Prior for Natural Images, "
    "ECCV 2022, arXiv:2207.09685"
)


def _deoldify(name: str, model: str, role: Role, file: str, dropbox: str) -> Released:
    """A training input of DeOldify: on Dropbox only (``dl=1`` serves the file, not a page)."""
    url = f"{_DROPBOX}{dropbox}/{file}?dl=1"
    return Released(name, model, role, file, (url,), "MIT", _DEOLDIFY, 2019)


RELEASED: tuple[Released, ...] = (
    Released(
        name="artistic",
        model="artistic",
        role="generator",
        file="ColorizeArtistic_gen.pth",
        urls=(
            f"{_DEEPAI}ColorizeArtistic_gen.pth",
            f"{_HUGGINGFACE}ColorizeArtistic_gen.pth",
        ),
        bytes=255_144_681,
        sha256="3f750246fa220529323b85a8905f9b49c0e5d427099185334d048fb5b5e22477",
        license="MIT",
        project=_DEOLDIFY,
        year=2019,
    ),
    Released(
        name="stable",
        model="stable",
        role="generator",
        file="ColorizeStable_gen.pth",
        urls=(
            f"{_HUGGINGFACE}ColorizeStable_gen.pth",
            f"{_DROPBOX}axsd2g85uyixaho/ColorizeStable_gen.pth?dl=1",
        ),
        bytes=874_066_230,
        sha256="ca9cd7f43fb8b222c9a70f7b292e305a000694b0ff9d2ae4a6747b1a2e1ee5af",
        license="MIT",
        project=_DEOLDIFY,
        year=2019,
    ),
    Released(
        name="video",
        model="stable",
        role="generator",
        file="ColorizeVideo_gen.pth",
        urls=(f"{_DEEPAI}ColorizeVideo_gen.pth", f"{_HUGGINGFACE}ColorizeVideo_gen.pth"),
        bytes=874_066_230,
        license="MIT",
        project=_DEOLDIFY,
        year=2019,
        note="the stable network trained for film: calmer colour from frame to frame",
    ),
    Released(
        name="bigcolor",
        model="bigcolor",
        role="generator",
        file="EG_011.ckpt",
        urls=(f"{_DRIVE}1SCrcIxhm2F1SMTUUcNTEtB4fQu6y7RDK",),
        license="MIT",
        project="KIMGEONUNG/BigColor",
        year=2022,
        paper=_BIGCOLOR,
        companion="bigcolor-ema",
        note="encoder and generator after 12 epochs, about 421 MB",
    ),
    Released(
        name="bigcolor-ema",
        model="bigcolor",
        role="ema",
        file="EG_EMA_011.ckpt",
        urls=(f"{_DRIVE}1A6JwWeedJa56_6lDOkkR3hqvJ_aNUghE",),
        license="MIT",
        project="KIMGEONUNG/BigColor",
        year=2022,
        paper=_BIGCOLOR,
        note="averaged parameters without buffers: used together with bigcolor",
    ),
    Released(
        name="eccv16",
        model="eccv16",
        role="generator",
        file="colorization_release_v2-9b330a0b.pth",
        urls=(
            f"{_COLORIZERS}colorization_release_v2-9b330a0b.pth",
            "https://huggingface.co/ckpt/colorization/resolve/main/"
            "colorization_release_v2-9b330a0b.pth",
        ),
        bytes=128_976_165,
        sha256="9b330a0bae53f4ded77b1e23defbf78beaa09c10ebc4c4999e8e4f4a160b93f9",
        license="BSD-2-Clause",
        project=_ZHANG,
        year=2016,
        paper=_ECCV16,
    ),
    Released(
        name="siggraph17",
        model="siggraph17",
        role="generator",
        file="siggraph17-df00044c.pth",
        urls=(f"{_COLORIZERS}siggraph17-df00044c.pth",),
        bytes=136_787_426,
        sha256="df00044c0a4d7c3edcecf6f75437ce346a66e7a42612d9b968e1a7e17dbc6f66",
        license="BSD-2-Clause",
        project=_ZHANG,
        year=2017,
        paper=_SIGGRAPH17,
    ),
    _deoldify(
        "artistic-critic", "artistic", "critic", "ColorizeArtistic_crit.pth", "xpq2ip9occuzgen"
    ),
    _deoldify(
        "artistic-pretrain",
        "artistic",
        "pretrain-generator",
        "ColorizeArtistic_PretrainOnly_gen.pth",
        "h782d1zar3vdblw",
    ),
    _deoldify(
        "artistic-pretrain-critic",
        "artistic",
        "pretrain-critic",
        "ColorizeArtistic_PretrainOnly_crit.pth",
        "gr81b3pkidwlrc7",
    ),
    _deoldify("stable-critic", "stable", "critic", "ColorizeStable_crit.pth", "s53699e9n84q6sp"),
    _deoldify(
        "stable-pretrain",
        "stable",
        "pretrain-generator",
        "ColorizeStable_PretrainOnly_gen.pth",
        "mz5n9hiq6hmwjq7",
    ),
    _deoldify(
        "stable-pretrain-critic",
        "stable",
        "pretrain-critic",
        "ColorizeStable_PretrainOnly_crit.pth",
        "007qj0kkkxt5gb4",
    ),
    _deoldify("video-critic", "stable", "critic", "ColorizeVideo_crit.pth", "xnq1z1oppvgpgtn"),
    _deoldify(
        "video-pretrain",
        "stable",
        "pretrain-generator",
        "ColorizeVideo_PretrainOnly_gen.pth",
        "ix993ci6ve7crlk",
    ),
    _deoldify(
        "video-pretrain-critic",
        "stable",
        "pretrain-critic",
        "ColorizeVideo_PretrainOnly_crit.pth",
        "wafc1uogyjuy4zq",
    ),
    Released(
        name="biggan-g-ema-256",
        model="bigcolor",
        role="backbone",
        file="G_ema_256.pth",
        urls=(f"{_DRIVE}197ypWuWcwKI3Mrq11jbCWkk-r_-cj2tT",),
        license="unknown",
        project="XingangPan/deep-generative-prior",
        note="the BigGAN-256 generator that training of bigcolor starts from",
    ),
    Released(
        name="biggan-d-256",
        model="bigcolor",
        role="backbone-critic",
        file="D_256.pth",
        urls=(f"{_DRIVE}1usoLZNnDzB3WLAphrGz5W2lJKxMMZJQw",),
        license="unknown",
        project="XingangPan/deep-generative-prior",
        note="the BigGAN-256 discriminator that training of bigcolor starts from",
    ),
)
"""Every published file, those that colour photographs first."""


def names() -> list[str]:
    """The names of all published files, in the order of the table."""
    return [entry.name for entry in RELEASED]


def released(name: str) -> Released:
    """The published file of that name.

    Raises:
        UnknownNameError: there is none; the message tells the nearest.
    """
    for entry in RELEASED:
        if entry.name == name:
            return entry
    raise UnknownNameError("weight file", name, names())


def generators(model: str) -> tuple[Released, ...]:
    """The published files that `model` colours with, its usual one first (may be empty)."""
    return tuple(e for e in RELEASED if e.model == model and e.role == "generator")
