"""A linear probe: multinomial logistic regression on embeddings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

Floats = NDArray[np.float32]
_ITERATIONS = 60
_TOLERANCE = 1e-4  # of the gradient's largest element, per row
COMPONENTS = 256
PROJECTION_ROWS = 20_000  # from which components are computed


@dataclass(frozen=True)
class Projection:
    """Principal components, scaled to equal variance: embeddings (rows, numbers) to (rows, components).

    Args:
        mean: of the embeddings.
        matrix: float32 (numbers, components).
    """

    mean: Floats
    matrix: Floats

    @classmethod
    def fit(cls, vectors: Floats, components: int = COMPONENTS) -> "Projection":
        """Find the principal components of vectors (rows, numbers), of an even choice if they are many."""
        vectors = vectors[:: max(1, -(-len(vectors) // PROJECTION_ROWS))]
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = vectors - mean
        values, axes = np.linalg.eigh(centred.T @ centred / np.float32(max(1, len(vectors) - 1)))
        kept = min(components, len(vectors) - 1, vectors.shape[1])
        largest = np.argsort(values)[::-1][:kept]
        # One scale for all: the components keep their relative variances.
        scale = 1 / np.sqrt(max(float(values[largest].mean()), 1e-12)) if kept else 1.0
        return cls(mean, (axes[:, largest] * scale).astype(np.float32))

    def __call__(self, vectors: Floats) -> Floats:
        """Project vectors (rows, numbers)."""
        return np.asarray((vectors - self.mean) @ self.matrix, np.float32)


@dataclass(frozen=True)
class Probe:
    """Weights (numbers + 1, labels); the last row is the bias."""

    weights: Floats

    @classmethod
    def fit(cls, features: Floats, labels: NDArray[np.int64], count: int, penalty: float) -> "Probe":
        """Fit by L-BFGS.

        Args:
            features: float32 (rows, numbers).
            labels: label index of each row.
            count: of labels.
            penalty: L2, on the mean loss of a row; not on the bias.
        """
        rows, numbers = features.shape
        every = np.arange(rows)

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights = flat.astype(np.float32).reshape(numbers + 1, count)
            logits = features @ weights[:-1]
            logits += weights[-1]
            logits -= logits.max(axis=1, keepdims=True)
            own = logits[every, labels]
            np.exp(logits, out=logits)
            sums = logits.sum(axis=1, keepdims=True)
            value = float(np.log(sums).sum(dtype=np.float64) - own.sum(dtype=np.float64)) / rows
            logits /= sums * np.float32(rows)
            logits[every, labels] -= np.float32(1 / rows)  # now the gradient of the loss
            gradient = np.vstack(
                [features.T @ logits + np.float32(penalty) * weights[:-1], logits.sum(axis=0)]
            )
            value += penalty / 2 * float((weights[:-1].astype(np.float64) ** 2).sum())
            return value, gradient.astype(np.float64).ravel()

        found = minimize(
            loss,
            np.zeros((numbers + 1) * count),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _ITERATIONS, "gtol": _TOLERANCE},
        )
        return cls(found.x.astype(np.float32).reshape(numbers + 1, count))

    def probabilities(self, features: Floats) -> Floats:
        """Probabilities of the labels, float32 (rows, labels)."""
        return softmax(features @ self.weights[:-1] + self.weights[-1], axis=1)
