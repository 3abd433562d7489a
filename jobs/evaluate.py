"""`hub evaluate`: metrics of a model on the test split of its dataset."""

from typing import TYPE_CHECKING

import click

from conf import settings as hub
from jobs.cli.command import Command, Outcome, run

if TYPE_CHECKING:
    from models.evaluation.confidence_intervals import Interval
    from models.evaluation.metrics import Evaluation

_PAIRS_SHOWN = 5  # most confused pairs of labels


@click.command(cls=Command, name="evaluate", example="hub evaluate --model resnet20-20261121-0812-3fa9c07e")
@click.option("--model", "model_id", help="Id of the model (see `hub models`). Default: the one in use.")
def main(model_id: str | None) -> Outcome:
    """Evaluate a model on its dataset's test split.

    Prints accuracy and top-5 accuracy with 95 % intervals, the calibration error, precision, recall and F1
    per label, and the most confused labels. For an embedding model the nearest picture stands for the
    prediction; the output says among which pictures. Overwrites the model's evaluation.json, confusion.png
    and mistakes.png. More than 2,048 pictures are evaluated on Spark's executors.
    """
    from models.evaluation import artifacts
    from models.inference import catalogue
    from models.inference.distributed_evaluation import evaluate_model
    from models.registry import model_cards

    settings = hub.load()
    model_id = catalogue.resolve_model_id(settings, model_id)
    evaluation = evaluate_model(settings, model_id)
    files = model_cards.artifact_storage(settings, model_id).root
    pictures = {
        "confusion_png": f"{files}/{artifacts.CONFUSION}",
        "mistakes_png": f"{files}/{artifacts.MISTAKES}",
    }
    results = {"model_id": model_id, **artifacts.report(evaluation), **pictures}
    return results, summary(evaluation) + f"\npictures {files}/{{confusion,mistakes}}.png", 0


def summary(evaluation: "Evaluation") -> str:
    """The evaluation as text."""
    retrieval = evaluation.metric != "accuracy"
    # In a dataset that is split by label, most labels have no test pictures.
    scores = [row for row in evaluation.per_class if row.support or not retrieval]
    width = max(len(label) for label in (*(row.label for row in scores), "label"))
    lines = [f"{'label':{width}}  precision  recall  95 % interval      f1  pictures"]
    lines += [
        f"{row.label:{width}}  {row.precision:9.3f}  {row.recall:6.3f}  "
        f"{row.recall_interval.low:.3f} – {row.recall_interval.high:.3f}  {row.f1:6.3f}  {row.support:8,}"
        for row in scores
    ]
    if confused := _most_confused(evaluation):
        lines.append(f"confused most: {confused}")
    if evaluation.accuracy is None:  # one embedding has no other to compare with
        return "\n".join([*lines, f"{evaluation.metric} – (no test pictures to compare)"])
    lines.append(
        f"{evaluation.metric} {evaluation.accuracy:.4f} ({_format_interval(evaluation.accuracy_interval)}) "
        f"on {evaluation.pictures:,} test pictures"
    )
    if retrieval:
        lines.append(f"protocol {evaluation.protocol}")
    if evaluation.left_out:
        lines.append(f"left out {evaluation.left_out:,} test pictures without another of their label to find")
    top5 = evaluation.top5_interval
    if top5 and len(evaluation.labels) > 5:  # with 5 labels or fewer it is always 1
        lines.append(f"top-5    {evaluation.top5:.4f} ({_format_interval(top5)})")
    if evaluation.calibration_error is not None:
        lines.append(f"calibration error {evaluation.calibration_error:.4f}")
    return "\n".join(lines)


def _format_interval(interval: "Interval") -> str:
    return f"{interval.low:.4f} – {interval.high:.4f}"


def _most_confused(evaluation: "Evaluation") -> str:
    """The most confused pairs of labels: true label, predicted label, count."""
    counts = evaluation.confusion.copy()
    for label in range(len(counts)):
        counts[label, label] = 0
    cells = sorted(zip(*counts.nonzero(), strict=True), key=lambda cell: -counts[cell])
    names = evaluation.labels
    pairs = [f"{names[row]} as {names[column]} {counts[row, column]:,}" for row, column in cells]
    return ", ".join(pairs[:_PAIRS_SHOWN])


if __name__ == "__main__":
    run(main)
