"""How far a share that was counted can be trusted."""

import math
from dataclasses import dataclass

Z = 1.959963984540054  # the normal distribution's quantile that leaves 2.5 % above it


@dataclass(frozen=True)
class Interval:
    """Where the true share lies with 95 % confidence, 0–1."""

    low: float
    high: float


def wilson(right: int, pictures: int) -> Interval:
    """The interval of a share that was counted as `right` of `pictures`.

    It never leaves 0–1 and is not empty where all were right, unlike p ± 1.96 standard errors.
    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", J. Amer.
    Statist. Assoc. 22, p. 209.

    Args:
        right: of the pictures.
        pictures: 0 says nothing: the interval is 0 to 1.
    """
    if not pictures:
        return Interval(0.0, 1.0)
    share, doubt = right / pictures, Z**2 / pictures
    centre = (share + doubt / 2) / (1 + doubt)
    half = Z / (1 + doubt) * math.sqrt(share * (1 - share) / pictures + doubt / (4 * pictures))
    return Interval(
        0.0 if right == 0 else max(0.0, centre - half), 1.0 if right == pictures else min(1.0, centre + half)
    )
