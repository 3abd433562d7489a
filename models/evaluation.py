"""How well a model answers on pictures it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.inputs import Takeable, measured
from models.verification import Embeddings, retrieved

BATCH = 64


@dataclass(frozen=True)
class ClassScore:
    """One label's share of the truth.

    Args:
        label: its name.
        precision: of the pictures called this, the share that are; 0 where none was called this.
        recall: of the pictures that are this, the share called so; 0 where there are none.
        f1: harmonic mean of both.
        support: pictures that are this.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Mistake:
    """A picture that was called something else, and how sure the model was of that."""

    image_id: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """Figures on a split.

    Args:
        labels: label names; position is the label index.
        confusion: int64 (classes, classes): row is the true label, column the predicted one.
        mistakes: the surest first.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]

    @property
    def pictures(self) -> int:
        """How many were judged."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None if there was nothing to judge."""
        return float(np.trace(self.confusion) / self.pictures) if self.pictures else None

    @property
    def per_class(self) -> tuple[ClassScore, ...]:
        """A score for each label."""
        right = np.diag(self.confusion)
        called, true = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        return tuple(
            ClassScore(
                label,
                _share(right[index], called[index]),
                _share(right[index], true[index]),
                _share(2 * right[index], called[index] + true[index]),
                int(true[index]),
            )
            for index, label in enumerate(self.labels)
        )


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def evaluate(
    labels: tuple[str, ...],
    image_ids: Sequence[str],
    true: NDArray[np.int32],
    predicted: NDArray[np.int32],
    probabilities: NDArray[np.float64],
) -> Evaluation:
    """Judge answers. Pure.

    Args:
        labels: label names.
        image_ids: n ids.
        true: (n,) label indices.
        predicted: (n,) label indices.
        probabilities: (n,) of the predicted labels.
    """
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, predicted), 1)
    wrong = np.flatnonzero(true != predicted)
    surest = wrong[np.argsort(-probabilities[wrong], kind="stable")]
    mistakes = tuple(
        Mistake(image_ids[row], labels[true[row]], labels[predicted[row]], float(probabilities[row]))
        for row in surest
    )
    return Evaluation(labels, confusion, mistakes)


def embeddings(model: Any, pictures: Takeable, side: int) -> Embeddings:
    """What a model of embeddings answers."""
    parts = [
        np.asarray(model.predict_on_batch(images.astype("float32")))[weights == 1]
        for images, _, weights in measured(pictures, side, BATCH)
    ]
    vectors = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    return Embeddings(pictures.image_ids, pictures.labels, vectors.astype(np.float32))


def evaluate_retrieval(labels: tuple[str, ...], found: Embeddings) -> Evaluation:
    """Judge embeddings by the label of each picture's nearest neighbour: accuracy is retrieval at 1."""
    predicted, nearness = retrieved(found)
    return evaluate(labels, found.image_ids, found.labels[: len(predicted)], predicted, nearness)


def answers(model: Any, pictures: Takeable, side: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """What a model answers: label indices int32 (n,) and their probabilities float64 (n,)."""
    predicted = np.empty(len(pictures.labels), np.int32)
    probabilities = np.empty(len(pictures.labels), np.float64)
    for number, (images, _, weights) in enumerate(measured(pictures, side, BATCH)):
        first, real = number * BATCH, int(weights.sum())
        found = np.asarray(model.predict_on_batch(images.astype("float32")))[:real]
        predicted[first : first + real] = found.argmax(axis=-1)
        probabilities[first : first + real] = found.max(axis=-1)
    return predicted, probabilities
