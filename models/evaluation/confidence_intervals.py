"""95 % confidence intervals of proportions (Wilson score)."""

import math
from dataclasses import dataclass

Z = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Interval:
    """95 % confidence interval of a proportion, 0–1."""

    low: float
    high: float


def wilson_interval(correct: int, pictures: int) -> Interval:
    """The Wilson score interval of the proportion `correct / pictures`.

    Unlike p ± 1.96 standard errors it stays within 0–1 and has a width even if all pictures are correct.
    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", J. Amer.
    Statist. Assoc. 22, p. 209.

    Args:
        correct: number of correct pictures.
        pictures: number of pictures; for 0 the interval is 0 to 1.
    """
    if not pictures:
        return Interval(0.0, 1.0)
    share, spread = correct / pictures, Z**2 / pictures
    centre = (share + spread / 2) / (1 + spread)
    half_width = Z / (1 + spread) * math.sqrt(share * (1 - share) / pictures + spread / (4 * pictures))
    return Interval(
        0.0 if correct == 0 else max(0.0, centre - half_width),
        1.0 if correct == pictures else min(1.0, centre + half_width),
    )
