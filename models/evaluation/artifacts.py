"""The files of a model that need no TensorFlow: labels, figures, curves."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from lake.snapshot import Snapshot
from lake.storage import Storage
from models.evaluation.metrics import Evaluation
from models.messages import EpochEnded

LABELS, METRICS, HISTORY, EVALUATION = "labels.txt", "metrics.json", "history.csv", "evaluation.json"
CURVES, CONFUSION, MISTAKES = "curves.png", "confusion.png", "mistakes.png"
WORST = 200  # mistakes written, of the surest


def accuracy_of(objective: str) -> str:
    """The name that a model's test accuracy has among its figures."""
    return "retrieval_at_1" if objective == "triplet" else "test_accuracy"


def write_run(artifacts: Storage, labels: Sequence[str], history: Sequence[EpochEnded]) -> None:
    """Write what a training run leaves: label names, figures of every epoch, curves."""
    from models.evaluation import plots  # matplotlib takes a second, and no worker waits for it here

    artifacts.write(LABELS, "".join(f"{label}\n" for label in labels).encode())
    artifacts.write(HISTORY, _csv(history))
    artifacts.write(CURVES, plots.curves(history))


def write_evaluation(artifacts: Storage, evaluation: Evaluation, snapshot: Snapshot, name: str) -> None:
    """Write what the test split showed: figures, confusion matrix and worst mistakes, titled by the name."""
    from models.evaluation import contact_sheet, plots

    artifacts.write_json(EVALUATION, report(evaluation))
    artifacts.write(CONFUSION, plots.confusion(evaluation, name))
    artifacts.write(MISTAKES, contact_sheet.mistakes_sheet(evaluation, snapshot, name))


def report(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON: shares with their 95 % intervals, labels, confusion, mistakes.

    In `confusion` rows are true labels and columns predicted ones.
    """
    calibration, top5 = evaluation.calibration, evaluation.top5_interval
    return {
        "accuracy": evaluation.accuracy,
        "accuracy_interval": asdict(evaluation.accuracy_interval),
        "top5_accuracy": evaluation.top5,
        "top5_interval": asdict(top5) if top5 else None,
        "calibration_error": evaluation.calibration_error,
        "calibration": [asdict(part) for part in calibration.bins] if calibration else None,
        "pictures": evaluation.pictures,
        "labels": list(evaluation.labels),
        "per_class": [asdict(score) for score in evaluation.per_class],
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [asdict(mistake) for mistake in evaluation.mistakes[:WORST]],
    }


def figures(evaluation: Evaluation, objective: str) -> dict[str, float | None]:
    """What the registry keeps of an evaluation; None where there is nothing to say."""
    name, found = accuracy_of(objective), evaluation.accuracy
    values = {name: found, "test_top5": evaluation.top5, "calibration_error": evaluation.calibration_error}
    for figure, interval in ((name, evaluation.accuracy_interval), ("test_top5", evaluation.top5_interval)):
        if interval and evaluation.pictures:
            values |= {f"{figure}_low": interval.low, f"{figure}_high": interval.high}
    return values


def _csv(history: Sequence[EpochEnded]) -> bytes:
    file = io.StringIO()
    columns = [field.name for field in fields(EpochEnded) if field.name != "worker"]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in history)
    return file.getvalue().encode()
