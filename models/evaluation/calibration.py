"""Calibration of predicted probabilities: reliability bins and expected calibration error (ECE)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as Guo et al. 2017, section 5


@dataclass(frozen=True)
class Bin:
    """Predictions whose probability lies in one interval.

    Args:
        low, high: bounds of the probability; `low` is excluded.
        pictures: number of predictions.
        probability: mean probability; None without predictions.
        accuracy: share of correct predictions; None without predictions.
    """

    low: float
    high: float
    pictures: int
    probability: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """Predictions in bins of equal width from 0 to 1."""

    bins: tuple[Bin, ...]

    @property
    def error(self) -> float | None:
        """The expected calibration error: mean |accuracy - probability| of the bins, weighted by pictures.

        Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

        Returns:
            0–1; None without pictures.
        """
        pictures = sum(part.pictures for part in self.bins)
        difference = sum(
            part.pictures * abs(part.accuracy - part.probability)
            for part in self.bins
            if part.accuracy is not None and part.probability is not None
        )
        return difference / pictures if pictures else None


def measure_calibration(
    probabilities: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> Calibration:
    """Sort predictions into bins by their probability.

    Args:
        probabilities: (n,) of the predicted labels.
        correct: (n,) whether the predictions were correct.
        bins: number of bins.
    """
    # A probability on an edge belongs to the lower bin, as in the paper: ((m - 1) / M, m / M].
    numbers = np.clip(np.ceil(probabilities * bins).astype(np.int64) - 1, 0, bins - 1)
    parts = [numbers == number for number in range(bins)]
    return Calibration(
        tuple(
            _bin(number / bins, (number + 1) / bins, probabilities[part], correct[part])
            for number, part in enumerate(parts)
        )
    )


def _bin(low: float, high: float, probabilities: NDArray[np.float64], correct: NDArray[np.bool_]) -> Bin:
    if not len(correct):
        return Bin(low, high, 0, None, None)
    return Bin(low, high, len(correct), float(probabilities.mean()), float(correct.mean()))
