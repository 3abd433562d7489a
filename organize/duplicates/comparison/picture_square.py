"""The square of a picture: small, grey, stretched to equal sides; what near duplicates are verified on.

4 KiB for each picture, so that a million of them lie in 4 GB beside the index of embeddings.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lake.pictures import pixels

SIDE = 64  # pixels; a picture of 32 px is enlarged

Square = NDArray[np.uint8]  # (SIDE, SIDE)


def square_of(rgb: pixels.RGB) -> Square:
    """The square of a decoded picture.

    Args:
        rgb: uint8 (h, w, 3).
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    smaller = min(gray.shape) >= SIDE
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=method), np.uint8)


def mirrored(square: Square) -> Square:
    """The square of the mirror image, left and right exchanged."""
    return np.ascontiguousarray(square[:, ::-1])


def softened(square: Square, size: tuple[int, int]) -> Square:
    """The square as if of a picture of this width and height (pixels), at most SIDE."""
    width, height = (min(side, SIDE) for side in size)
    small = cv2.resize(square, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)
