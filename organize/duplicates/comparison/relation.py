"""How a picture relates to its near duplicate: a closed list, and how the alignment of both decides."""

from enum import StrEnum

import numpy as np

from organize.duplicates.comparison.alignment import Agreement

_FULL = 0.975  # share of a picture from which it is there as a whole
_TURN = 0.045  # shear from which the view has changed (tangent of 2.6°)
_MAX_STRETCH = 0.3  # log of the scale across over the scale down of a crop
_SAME_SIZE = 0.04  # relative difference of sides up to which both have the same size


class Relation(StrEnum):
    """What makes two pictures near duplicates, from the same pixels to the same scene."""

    EXACT = "exact"  # the same pixels in another file
    REENCODED = "re-encoded"  # the same frame and size: compression, light, colours
    RESIZED = "resized"
    CROPPED = "cropped"  # one is a part of the other; also a border around a picture
    MIRRORED = "mirrored"
    SAME_SCENE = "same scene"  # another view: turned, shifted, photographed again


def relation_of(
    agreement: Agreement, mirrored: bool, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> Relation:
    """Name the relation of two verified near duplicates with different pixels.

    Args:
        agreement: of their squares.
        mirrored: whether the second was mirrored for it.
        sizes: width and height of both originals (pixels).
    """
    if mirrored:
        return Relation.MIRRORED
    matrix = agreement.matrix
    across, down = float(matrix[0, 0]), float(matrix[1, 1])
    turned = max(abs(float(matrix[0, 1])), abs(float(matrix[1, 0]))) > _TURN
    if turned or abs(np.log(max(across, 1e-3) / max(down, 1e-3))) > _MAX_STRETCH:
        return Relation.SAME_SCENE
    least, most = sorted((agreement.shared_first, agreement.shared_second))
    if most < _FULL:
        return Relation.SAME_SCENE
    if least < _FULL:
        return Relation.CROPPED
    (width, height), (other_width, other_height) = sizes
    differs = max(abs(width / other_width - 1), abs(height / other_height - 1))
    return Relation.RESIZED if differs > _SAME_SIZE else Relation.REENCODED
