"""Evaluation of a model: accuracy, top-5, confusion matrix, per-class scores."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.calibration import Calibration, measure_calibration
from models.evaluation.confidence_intervals import Interval, wilson_interval
from models.messages import Tested
from models.nets.devices import prediction_batch
from models.pictures.cores import ahead
from models.pictures.inputs import ImageSource, evaluation_batches

TOP_K = 5
PREDICTION = "the most probable label is the label of the test picture"  # protocol of label models

# Maps RGB 0–255, float32 (batch, side, side, 3), to probabilities or embeddings, (batch, n).
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one label.

    Args:
        label: name of the label.
        precision: share of correct ones among the pictures predicted as this label; 0 if there are none.
        recall: share of correct ones among the pictures of this label; 0 if there are none.
        f1: harmonic mean of precision and recall.
        support: number of pictures of this label.
        recall_interval: 95 % interval of `recall`.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    recall_interval: Interval


@dataclass(frozen=True)
class Mistake:
    """A misclassified picture, the probability of its predicted label, and its row in the split."""

    image_id: str
    label: str
    predicted: str
    probability: float
    row: int


@dataclass(frozen=True)
class Evaluation:
    """Metrics on a split.

    Args:
        labels: label names; position is the label index.
        confusion: int64 (classes, classes): rows are true labels, columns predicted labels.
        mistakes: most confident first.
        top5_correct: pictures whose label is among the five most probable; None for embedding models.
        calibration: None for embedding models.
        protocol: what counts as correct.
        left_out: test pictures that were not evaluated, as no other picture of their label was there to find.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]
    top5_correct: int | None = None
    calibration: Calibration | None = None
    protocol: str = PREDICTION
    left_out: int = 0

    @property
    def metric(self) -> str:
        """What `accuracy` is called for people."""
        return "accuracy" if self.protocol == PREDICTION else "retrieval at 1"

    @property
    def pictures(self) -> int:
        """Number of pictures evaluated."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of correct predictions; None without pictures."""
        return float(np.trace(self.confusion) / self.pictures) if self.pictures else None

    @property
    def accuracy_interval(self) -> Interval:
        """95 % interval of the accuracy."""
        return wilson_interval(int(np.trace(self.confusion)), self.pictures)

    @property
    def top5(self) -> float | None:
        """Share of pictures whose label is among the five most probable; None if not known."""
        return self.top5_correct / self.pictures if self.pictures and self.top5_correct is not None else None

    @property
    def top5_interval(self) -> Interval | None:
        """95 % interval of `top5`."""
        return None if self.top5_correct is None else wilson_interval(self.top5_correct, self.pictures)

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error, see `Calibration.error`; None if not known."""
        return self.calibration.error if self.calibration else None

    @property
    def per_class(self) -> tuple[ClassScore, ...]:
        """The scores of each label."""
        correct = np.diag(self.confusion)
        predicted, true = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        return tuple(
            ClassScore(
                label,
                _ratio(correct[index], predicted[index]),
                _ratio(correct[index], true[index]),
                _ratio(2 * correct[index], predicted[index] + true[index]),
                int(true[index]),
                wilson_interval(int(correct[index]), int(true[index])),
            )
            for index, label in enumerate(self.labels)
        )


def _ratio(part: int, total: int) -> float:
    return float(part / total) if total else 0.0


def evaluate(
    labels: tuple[str, ...],
    image_ids: Sequence[str],
    true: NDArray[np.int32],
    predicted: NDArray[np.int32],
    probabilities: NDArray[np.float64],
    ranks: NDArray[np.int32] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Compute the metrics of predictions. Pure.

    Args:
        labels: label names.
        image_ids: n ids.
        true: (n,) label indices.
        predicted: (n,) label indices.
        probabilities: (n,) of the predicted labels.
        ranks: (n,) ranks of the true labels by probability, 0 for the most probable; None for embeddings.
        rows: (n,) the pictures' rows in the split; None if they are all of it.
    """
    rows = np.arange(len(true)) if rows is None else rows
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, predicted), 1)
    wrong = np.flatnonzero(true != predicted)
    most_confident = wrong[np.argsort(-probabilities[wrong], kind="stable")]
    mistakes = tuple(
        Mistake(image_ids[n], labels[true[n]], labels[predicted[n]], float(probabilities[n]), int(rows[n]))
        for n in most_confident
    )
    if ranks is None:
        return Evaluation(labels, confusion, mistakes)
    bins = measure_calibration(probabilities, true == predicted)
    return Evaluation(labels, confusion, mistakes, int((ranks < TOP_K).sum()), bins)


def evaluate_predictions(labels: tuple[str, ...], shares: Sequence[Tested]) -> Evaluation:
    """Evaluate the predictions of several workers, given in the order of the split."""
    return evaluate(
        labels,
        [image_id for share in shares for image_id in share.image_ids],
        np.array([label for share in shares for label in share.labels], np.int32),
        np.array([label for share in shares for label in share.predicted], np.int32),
        np.array([value for share in shares for value in share.probabilities], np.float64),
        np.array([rank for share in shares for rank in share.ranks], np.int32),
    )


def sum_metrics(predict: Predict, pictures: ImageSource, side: int) -> NDArray[np.float64]:
    """Sums for loss and accuracy of a classifier, which can be added up over workers.

    Returns:
        float64 (3,): sum of cross-entropies (nats), correct predictions, pictures.
    """
    sums = np.zeros(3)
    for outputs, labels in predict_batches(predict, pictures, side):
        of_labels = outputs[np.arange(len(labels)), labels]
        # The smallest normal float32 in place of 0, so that the loss stays finite.
        sums[0] -= np.log(np.maximum(of_labels, np.finfo(np.float32).tiny)).sum(dtype=np.float64)
        sums[1:] += (outputs.argmax(axis=-1) == labels).sum(), len(labels)
    return sums


def predict_all(predict: Predict, pictures: ImageSource, side: int, worker: int = 0) -> Tested:
    """Predict all pictures, as a message for `evaluate_predictions`."""
    predicted = np.empty(len(pictures.labels), np.int32)
    ranks = np.empty(len(pictures.labels), np.int32)
    probabilities = np.empty(len(pictures.labels), np.float64)
    done = 0
    for outputs, labels in predict_batches(predict, pictures, side):
        rows = slice(done, done + len(labels))
        done += len(labels)
        predicted[rows] = outputs.argmax(axis=-1)
        probabilities[rows] = outputs.max(axis=-1)
        ranks[rows] = label_ranks(outputs, labels)
    return Tested(
        worker,
        list(pictures.image_ids),
        pictures.labels.tolist(),
        predicted.tolist(),
        probabilities.tolist(),
        ranks.tolist(),
    )


def predict_batches(
    predict: Predict, pictures: ImageSource, side: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Yield outputs (n, …) and labels (n,) of each batch, without the padding of the last one.

    Batches fill the device; the next one is decoded meanwhile.
    """
    for images, labels, weights in ahead(evaluation_batches(pictures, side, prediction_batch(side))):
        unpadded = int(weights.sum())
        yield predict(images.astype(np.float32))[:unpadded], labels[:unpadded]


def label_ranks(probabilities: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rank of the true labels by probability; ties are ordered by label index, as in `argmax`.

    Args:
        probabilities: (n, classes).
        labels: (n,).

    Returns:
        int32 (n,), 0 where the true label is the prediction.
    """
    of_label = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)
    ties_before = (probabilities == of_label) & (np.arange(probabilities.shape[1]) < labels[:, None])
    ranks: NDArray[np.int32] = ((probabilities > of_label) | ties_before).sum(axis=1).astype(np.int32)
    return ranks
