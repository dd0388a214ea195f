"""How a picture enters a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coloria.borders import Box
from coloria.picture import Picture


def network_input(
    picture: Picture, box: Box, size: tuple[int, int], resize: str = "bilinear"
) -> NDArray[np.uint8]:
    """The content of a picture as the network sees it: (H, W) uint8 grey.

    Resized first and made grey afterwards, both by Pillow, as DeOldify does.

    Args:
        picture: The picture.
        box: Its content.
        size: Height and width of the result, in pixels.
        resize: Pillow's name of the filter.
    """
    pixels = picture.pixels8()[box.slices]
    method = Image.Resampling[resize.upper()]
    image = Image.fromarray(pixels).resize((size[1], size[0]), method)
    return np.asarray(image.convert("L"))
