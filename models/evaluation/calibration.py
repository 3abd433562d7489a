"""Whether a model is right as often as it says it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as Guo et al. 2017, section 5


@dataclass(frozen=True)
class Bin:
    """Answers of about one probability.

    Args:
        low, high: probabilities, `low` excluded.
        pictures: answered with one of them.
        probability: their mean; None where there are none.
        accuracy: the share that was right; None likewise.
    """

    low: float
    high: float
    pictures: int
    probability: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """The bins of equal width from 0 to 1."""

    bins: tuple[Bin, ...]

    @property
    def error(self) -> float | None:
        """The expected calibration error: mean distance of accuracy from probability over all pictures.

        Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

        Returns:
            0–1; None if there are no pictures.
        """
        pictures = sum(part.pictures for part in self.bins)
        apart = sum(
            part.pictures * abs(part.accuracy - part.probability)
            for part in self.bins
            if part.accuracy is not None and part.probability is not None
        )
        return apart / pictures if pictures else None


def calibration(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS
) -> Calibration:
    """Sort answers into bins.

    Args:
        probabilities: (n,) of the predicted labels.
        right: (n,) whether they were the true ones.
        bins: how many.
    """
    # A probability on an edge belongs to the bin below it, as in the paper: ((m - 1) / M, m / M].
    numbers = np.clip(np.ceil(probabilities * bins).astype(np.int64) - 1, 0, bins - 1)
    parts = [numbers == number for number in range(bins)]
    return Calibration(
        tuple(
            _bin(number / bins, (number + 1) / bins, probabilities[part], right[part])
            for number, part in enumerate(parts)
        )
    )


def _bin(low: float, high: float, probabilities: NDArray[np.float64], right: NDArray[np.bool_]) -> Bin:
    if not len(right):
        return Bin(low, high, 0, None, None)
    return Bin(low, high, len(right), float(probabilities.mean()), float(right.mean()))
