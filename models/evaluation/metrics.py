"""How well a model answers on pictures it has not seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.calibration import Calibration, calibration
from models.evaluation.confidence_intervals import Interval, wilson
from models.messages import Tested
from models.nets.verification import Embeddings, retrieved
from models.pictures.inputs import ImageSource, evaluation_batches

BATCH = 64
TOP = 5

# From RGB 0–255, float32 (BATCH, side, side, 3), to probabilities or embeddings, (BATCH, n).
Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class ClassScore:
    """One label's share of the truth.

    Args:
        label: its name.
        precision: of the pictures called this, the share that are; 0 where none was called this.
        recall: of the pictures that are this, the share called so; 0 where there are none.
        f1: harmonic mean of both.
        support: pictures that are this.
        recall_interval: of `recall`.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    recall_interval: Interval


@dataclass(frozen=True)
class Mistake:
    """A picture that was called something else, how sure the model was, and its row in the split."""

    image_id: str
    label: str
    predicted: str
    probability: float
    row: int


@dataclass(frozen=True)
class Evaluation:
    """Figures on a split.

    Args:
        labels: label names; position is the label index.
        confusion: int64 (classes, classes): row is the true label, column the predicted one.
        mistakes: the surest first.
        among_top: pictures whose label was among the five likeliest; None where only one was answered.
        calibration: None where answers have no probabilities.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]
    among_top: int | None = None
    calibration: Calibration | None = None

    @property
    def pictures(self) -> int:
        """How many were judged."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None if there was nothing to judge."""
        return float(np.trace(self.confusion) / self.pictures) if self.pictures else None

    @property
    def accuracy_interval(self) -> Interval:
        """Of the accuracy."""
        return wilson(int(np.trace(self.confusion)), self.pictures)

    @property
    def top5(self) -> float | None:
        """Share of pictures whose label was among the five likeliest; None if that is not known."""
        return self.among_top / self.pictures if self.pictures and self.among_top is not None else None

    @property
    def top5_interval(self) -> Interval | None:
        """Of `top5`."""
        return None if self.among_top is None else wilson(self.among_top, self.pictures)

    @property
    def calibration_error(self) -> float | None:
        """See `Calibration`; None if that is not known."""
        return self.calibration.error if self.calibration else None

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
                wilson(int(right[index]), int(true[index])),
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
    ranks: NDArray[np.int32] | None = None,
) -> Evaluation:
    """Judge answers. Pure.

    Args:
        labels: label names.
        image_ids: n ids, in the order of the split.
        true: (n,) label indices.
        predicted: (n,) label indices.
        probabilities: (n,) of the predicted labels.
        ranks: (n,) places of the true labels in the answers, 0 for the likeliest; None where answers are not
            probabilities of all labels.
    """
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, predicted), 1)
    wrong = np.flatnonzero(true != predicted)
    surest = wrong[np.argsort(-probabilities[wrong], kind="stable")]
    mistakes = tuple(
        Mistake(
            image_ids[row], labels[true[row]], labels[predicted[row]], float(probabilities[row]), int(row)
        )
        for row in surest
    )
    if ranks is None:
        return Evaluation(labels, confusion, mistakes)
    bins = calibration(probabilities, true == predicted)
    return Evaluation(labels, confusion, mistakes, int((ranks < TOP).sum()), bins)


def evaluate_shares(labels: tuple[str, ...], shares: Sequence[Tested]) -> Evaluation:
    """Judge what several workers answered, their shares in the order of the split."""
    return evaluate(
        labels,
        [image_id for share in shares for image_id in share.image_ids],
        np.array([label for share in shares for label in share.labels], np.int32),
        np.array([label for share in shares for label in share.predicted], np.int32),
        np.array([value for share in shares for value in share.probabilities], np.float64),
        np.array([rank for share in shares for rank in share.ranks], np.int32),
    )


def embeddings(answer: Answer, pictures: ImageSource, side: int) -> Embeddings:
    """What a model of embeddings answers."""
    parts = [found for found, _ in _answered(answer, pictures, side)]
    vectors = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    return Embeddings(pictures.image_ids, pictures.labels, vectors.astype(np.float32))


def evaluate_retrieval(labels: tuple[str, ...], found: Embeddings) -> Evaluation:
    """Judge embeddings by the label of each picture's nearest neighbour: accuracy is retrieval at 1."""
    predicted, nearness = retrieved(found)
    return evaluate(labels, found.image_ids, found.labels[: len(predicted)], predicted, nearness)


def tally(answer: Answer, pictures: ImageSource, side: int) -> NDArray[np.float64]:
    """How a model that answers probabilities does, in sums that several workers can add up.

    Returns:
        float64 (3,): cross-entropies (nats), right answers, pictures.
    """
    sums = np.zeros(3)
    for found, labels in _answered(answer, pictures, side):
        chances = found[np.arange(len(labels)), labels]
        # The least that float32 can say, in place of nothing: a loss stays a number.
        sums[0] -= np.log(np.maximum(chances, np.finfo(np.float32).tiny)).sum(dtype=np.float64)
        sums[1:] += (found.argmax(axis=-1) == labels).sum(), len(labels)
    return sums


def tally_retrieval(answer: Answer, pictures: ImageSource, side: int) -> NDArray[np.float64]:
    """As `tally`, of embeddings: right is where a picture's nearest has its label; no loss (NaN)."""
    found = embeddings(answer, pictures, side)
    predicted, _ = retrieved(found)
    right = (predicted == found.labels[: len(predicted)]).sum()
    return np.array([np.nan, right, len(predicted)])


def answers(answer: Answer, pictures: ImageSource, side: int, worker: int = 0) -> Tested:
    """What a model answers to pictures, for `evaluate_shares`."""
    predicted = np.empty(len(pictures.labels), np.int32)
    ranks = np.empty(len(pictures.labels), np.int32)
    probabilities = np.empty(len(pictures.labels), np.float64)
    for number, (found, labels) in enumerate(_answered(answer, pictures, side)):
        rows = slice(number * BATCH, number * BATCH + len(labels))
        predicted[rows] = found.argmax(axis=-1)
        probabilities[rows] = found.max(axis=-1)
        ranks[rows] = places(found, labels)
    return Tested(
        worker,
        list(pictures.image_ids),
        pictures.labels.tolist(),
        predicted.tolist(),
        probabilities.tolist(),
        ranks.tolist(),
    )


def _answered(
    answer: Answer, pictures: ImageSource, side: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Answers (n, …) to each batch's pictures and their labels (n,), without what fills the last batch up."""
    for images, labels, weights in evaluation_batches(pictures, side, BATCH):
        real = int(weights.sum())
        yield answer(images.astype(np.float32))[:real], labels[:real]


def places(answered: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Where the true labels stand in answers, likeliest first; among equals the first, as in `argmax`.

    Args:
        answered: (n, classes).
        labels: (n,).

    Returns:
        int32 (n,), 0 where the label is the prediction.
    """
    own = np.take_along_axis(answered, labels[:, None].astype(np.int64), axis=1)
    before = (answered == own) & (np.arange(answered.shape[1]) < labels[:, None])
    ahead: NDArray[np.int32] = ((answered > own) | before).sum(axis=1).astype(np.int32)
    return ahead
