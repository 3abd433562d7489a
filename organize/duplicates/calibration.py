"""Calibration: how strictly a lake's pictures must agree, from pairs of them that were drawn at random.

Digits on paper or blank walls agree with each other more than photographs do. The tail of the significance of
random pairs falls off exponentially, so two of its quantiles tell how many of all pairs exceed a threshold by
chance. They lie below the last hundredth of the pairs, because some random pairs are near duplicates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np

from organize.duplicates.comparison.verification import SURE

SAMPLE = 400  # images
PARTNERS = 5  # pairs of each image of the sample
LEAST_PAIRS = 300  # fewer tell too little: the default threshold holds
TOLERATED = 0.001  # false near duplicates per image of the lake
_STEP = 0.5  # of the threshold, so that it seldom changes
_STRICTEST = 40.0
_TAIL = (0.95, 0.99)  # the quantiles
_LEAST_SCALE = 0.3  # of the tail


@dataclass(frozen=True)
class Calibration:
    """The threshold of a lake, and what it lets through by chance.

    Args:
        images: in the lake.
        random_pairs: that were compared.
        tail: significance that a twentieth of them exceeds.
        scale: increase of it at which a share of 1/e is left.
        sure: significance from which pictures are near duplicates (`Match.is_near_duplicate`).
        expected_false: expected number of pairs in the lake that exceed it by chance.
    """

    images: int
    random_pairs: int
    tail: float
    scale: float
    sure: float
    expected_false: float


def random_pairs(image_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of images as if drawn at random, the same ones for the same images.

    Image ids are SHA-256 hashes, so the smallest ones are a random sample. Each is paired with the next ones
    in a ring. A new image changes few of the pairs.
    """
    ring = sorted(set(image_ids))[:SAMPLE]
    count = len(ring)
    steps = range(1, min(PARTNERS, (count - 1) // 2) + 1)
    pairs = [(ring[place], ring[(place + step) % count]) for step in steps for place in range(count)]
    return sorted((min(pair), max(pair)) for pair in pairs)


def calibrate(significances: Sequence[float], images: int) -> Calibration:
    """Find the lowest threshold, `SURE` or more, that lets at most `TOLERATED` pairs per image through.

    Args:
        significances: of `random_pairs`; 0 for a pair that the coarse search rejects.
        images: in the lake.
    """
    if len(significances) < LEAST_PAIRS:
        return Calibration(images, len(significances), 0.0, 0.0, SURE, 0.0)
    tail, far = (float(value) for value in np.quantile(significances, _TAIL))
    scale = max((far - tail) / log((1 - _TAIL[0]) / (1 - _TAIL[1])), _LEAST_SCALE)
    # A lake that doubles needs another threshold, one that grows by an image does not.
    size = 1 << max(1, images - 1).bit_length()

    def expected(sure: float, count: int) -> float:
        return count * (count - 1) / 2 * (1 - _TAIL[0]) * exp((tail - sure) / scale)

    sure = SURE
    while expected(sure, size) > TOLERATED * size and sure < _STRICTEST:
        sure += _STEP
    return Calibration(images, len(significances), tail, scale, sure, expected(sure, images))
