"""Result files of a training run and an evaluation: labels, metrics, history, plots. No TensorFlow."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from models.evaluation.metrics import Evaluation
from models.messages import EpochEnded

LABELS, METRICS, HISTORY, EVALUATION = "labels.txt", "metrics.json", "history.csv", "evaluation.json"
CURVES, CONFUSION, MISTAKES = "curves.png", "confusion.png", "mistakes.png"
MAX_MISTAKES = 200  # most confident mistakes written to evaluation.json


def accuracy_metric(objective: str) -> str:
    """The name of the test accuracy in metrics.json."""
    return "retrieval_at_1" if objective == "triplet" else "test_accuracy"


def write_run(artifacts: Storage, labels: Sequence[str], history: Sequence[EpochEnded]) -> None:
    """Write the results of a training run: label names, history of the epochs, learning curves."""
    from models.evaluation import plots  # importing matplotlib takes a second; here no worker waits for it

    artifacts.write(LABELS, "".join(f"{label}\n" for label in labels).encode())
    write_history(artifacts, history)
    artifacts.write(CURVES, plots.curves(history))


def write_history(artifacts: Storage, history: Sequence[EpochEnded]) -> None:
    """Write the metrics of the finished epochs."""
    artifacts.write(HISTORY, _csv(history))


def write_evaluation(
    artifacts: Storage, evaluation: Evaluation, snapshot: DatasetSnapshot, name: str
) -> None:
    """Write the evaluation on the test split: JSON, confusion matrix, contact sheet; `name` is the title."""
    from models.evaluation import contact_sheet, plots

    artifacts.write_json(EVALUATION, report(evaluation))
    artifacts.write(CONFUSION, plots.confusion_matrix(evaluation, name))
    artifacts.write(MISTAKES, contact_sheet.mistakes_sheet(evaluation, snapshot, name))


def report(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON: metrics with 95 % intervals, labels, confusion matrix, mistakes.

    In `confusion` rows are true labels, columns predicted labels.
    """
    calibration, top5 = evaluation.calibration, evaluation.top5_interval
    return {
        "accuracy": evaluation.accuracy,
        "accuracy_interval": asdict(evaluation.accuracy_interval),
        "top5_accuracy": evaluation.top5,
        "top5_interval": asdict(top5) if top5 else None,
        "calibration_error": evaluation.calibration_error,
        "calibration": [asdict(part) for part in calibration.bins] if calibration else None,
        "protocol": evaluation.protocol,
        "pictures": evaluation.pictures,
        "left_out": evaluation.left_out,
        "labels": list(evaluation.labels),
        "per_class": [asdict(score) for score in evaluation.per_class],
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [asdict(mistake) for mistake in evaluation.mistakes[:MAX_MISTAKES]],
    }


def summary_metrics(evaluation: Evaluation, objective: str) -> dict[str, float | None]:
    """The metrics of an evaluation for metrics.json and the `models` table; None if not measured."""
    name, accuracy = accuracy_metric(objective), evaluation.accuracy
    values = {name: accuracy, "test_top5": evaluation.top5, "calibration_error": evaluation.calibration_error}
    for metric, interval in ((name, evaluation.accuracy_interval), ("test_top5", evaluation.top5_interval)):
        if interval and evaluation.pictures:
            values |= {f"{metric}_low": interval.low, f"{metric}_high": interval.high}
    return values


def _csv(history: Sequence[EpochEnded]) -> bytes:
    file = io.StringIO()
    columns = [field.name for field in fields(EpochEnded) if field.name != "worker"]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    return file.getvalue().encode()
