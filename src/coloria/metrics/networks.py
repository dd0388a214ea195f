"""The published weights of the networks that measures are made with.

Nothing is fetched unless it is asked for. The files lie where PyTorch's own loaders keep them, so
that one which is there already is used. Those loaders would unpickle anything: a file is read by
the safe reader first, which refuses what holds more than tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from coloria import cache
from coloria.errors import DownloadError, HashMismatchError, OfflineError, WeightsMissingError
from coloria.fetch import Progress, fetch
from coloria.weightfile import read_state

__all__ = ["ALEXNET", "INCEPTION", "NETWORKS", "Published", "locate"]


@dataclass(frozen=True)
class Published:
    """One published file; its name ends with the beginning of its sha256."""

    title: str
    measure: str
    url: str
    megabytes: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def path(self) -> Path:
        """Where PyTorch's loaders look for it."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name

    @property
    def begins(self) -> str:
        """What its sha256 begins with."""
        return self.name.removesuffix(".pth").rsplit("-", 1)[-1]


ALEXNET = Published(
    "AlexNet (ImageNet)",
    "LPIPS",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    244,
)
"""torchvision's ``AlexNet_Weights.IMAGENET1K_V1``; the linear heads come with torchmetrics."""
INCEPTION = Published(
    "InceptionV3 of 2015-12-05",
    "FID",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    96,
)
"""The weights of the first FID, as torch-fidelity and pytorch-fid have them."""
NETWORKS = {"lpips": ALEXNET, "fid": INCEPTION}
"""By the names of their measures."""


def locate(file: Published, download: bool = False, progress: Progress | None = None) -> Path:
    """The file on this disk, known to hold tensors only.

    Args:
        file: Which.
        download: Fetch it if it is not there.
        progress: Told of the download.

    Raises:
        WeightsMissingError: It is not there, and was not asked for.
        WeightsFormatError: It is damaged, or holds more than tensors.
        DownloadError: It could not be fetched, or is not what was published.
    """
    if not file.path.is_file():
        if not download:
            raise WeightsMissingError(
                f"{file.measure} needs the weights of {file.title}, which are not here; fetch them "
                f"({file.megabytes} MB) with 'coloria eval --metric {file.measure.lower()} "
                f"--download' (download=True in Python), or put the file from {file.url} at "
                f"{file.path}"
            )
        _fetch(file, progress)
    read_state(file.path)
    return file.path


def _fetch(file: Published, progress: Progress | None) -> None:
    if cache.offline():
        raise OfflineError(
            f"{file.measure} needs the weights of {file.title}, which are not here, and "
            "COLORIA_OFFLINE switches the network off"
        )
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the folder {file.path.parent} cannot be made ({error.strerror or error}); let "
            "TORCH_HOME name one that can be written to"
        ) from error
    arrived = file.path.with_name(file.name + ".unverified")
    digest = fetch([file.url], arrived, progress=progress)
    if not digest.startswith(file.begins):
        arrived.unlink()
        raise HashMismatchError(
            f"{file.url} gave a file of sha256 {digest}; wanted {file.begins}...; it was removed"
        )
    arrived.replace(file.path)
