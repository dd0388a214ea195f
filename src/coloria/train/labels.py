"""The class of a photograph, from the name of the sub-folder that it lies in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coloria.errors import DataError

__all__ = ["class_ids"]


def class_ids(names: Sequence[str], count: int) -> list[int]:
    """The class of each photograph.

    Sub-folders that are numbers below `count` are the classes themselves. Otherwise there must be
    `count` of them, and they are numbered in the order of their names, as torchvision's
    `ImageFolder` does; ImageNet's ids (n01440764, ...) so get the numbers that everybody gives
    them.

    Args:
        names: Paths of the photographs.
        count: How many classes there are.

    Raises:
        DataError: The sub-folders are no classes.
    """
    folders = [Path(name).parent.name for name in names]
    kinds = sorted(set(folders))
    if all(kind.isdecimal() and int(kind) < count for kind in kinds):
        return [int(folder) for folder in folders]
    if len(kinds) != count:
        shown = ", ".join(kinds[:3]) + (", ..." if len(kinds) > 3 else "")
        raise DataError(
            f"wanted photographs in {count} sub-folders, one a class, or in sub-folders named "
            f"0 to {count - 1}; there are {len(kinds)}: {shown}; for photographs without classes "
            "give --set network.n_classes=0 and start from scratch (--set start.generator=none "
            "--set start.discriminator=none), for other classes --set network.n_classes=N"
        )
    numbers = {kind: number for number, kind in enumerate(kinds)}
    return [numbers[folder] for folder in folders]
