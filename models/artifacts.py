"""The files of a model that need no TensorFlow: labels, figures, curves."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from lake.storage import Storage
from models.evaluation import Evaluation
from models.messages import EpochEnded

LABELS, METRICS, HISTORY, EVALUATION = "labels.txt", "metrics.json", "history.csv", "evaluation.json"
CURVES, CONFUSION = "curves.png", "confusion.png"
MISTAKES = 200  # written of the surest


def accuracy_of(objective: str) -> str:
    """The name that a model's test accuracy has among its figures."""
    return "retrieval_at_1" if objective == "triplet" else "test_accuracy"


def write_run(artifacts: Storage, labels: Sequence[str], history: Sequence[EpochEnded]) -> None:
    """Write what a training run leaves: label names, figures of every epoch, curves."""
    from models import plots  # matplotlib takes a second, and no worker waits for it here

    artifacts.write(LABELS, "".join(f"{label}\n" for label in labels).encode())
    artifacts.write(HISTORY, _csv(history))
    artifacts.write(CURVES, plots.curves(history))


def write_evaluation(artifacts: Storage, evaluation: Evaluation, name: str) -> None:
    """Write what the test split showed: figures, mistakes, confusion matrix under a title with the name."""
    from models import plots

    artifacts.write_json(EVALUATION, report(evaluation))
    artifacts.write(CONFUSION, plots.confusion(evaluation, name))


def report(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON: accuracy, per_class, confusion (rows true, columns predicted), mistakes."""
    return {
        "accuracy": evaluation.accuracy,
        "pictures": evaluation.pictures,
        "labels": list(evaluation.labels),
        "per_class": [asdict(score) for score in evaluation.per_class],
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [asdict(mistake) for mistake in evaluation.mistakes[:MISTAKES]],
    }


def _csv(history: Sequence[EpochEnded]) -> bytes:
    file = io.StringIO()
    columns = [field.name for field in fields(EpochEnded) if field.name != "worker"]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    return file.getvalue().encode()
