"""hub evaluate: how well a model does on the test split of its dataset."""

from typing import TYPE_CHECKING

import click

from conf import settings as hub
from jobs.cli.command import Command, Outcome, run

if TYPE_CHECKING:
    from models.evaluation.confidence_intervals import Interval
    from models.evaluation.metrics import Evaluation

_CONFUSED = 5  # pairs of labels shown


@click.command(cls=Command, name="evaluate", example="hub evaluate --model resnet20-20261121-0812-3fa9c07e")
@click.option("--model", "model_id", help="Id of the model (see `hub models`). Default: the one in use.")
def main(model_id: str | None) -> Outcome:
    """Measure a model on its dataset's test split.

    Prints accuracy and top-5 with 95 % intervals, the calibration error, precision, recall and F1 per label
    and what is confused most; renews evaluation.json, confusion.png and mistakes.png beside the model. More
    than 2,048 pictures are answered by Spark's executors.
    """
    from models.evaluation import artifacts
    from models.inference import catalogue
    from models.inference.distributed_evaluation import evaluate_model
    from models.registry import model_cards

    settings = hub.load()
    model_id = catalogue.chosen(settings, model_id)
    evaluation = evaluate_model(settings, model_id)
    files = model_cards.artifacts(settings, model_id).root
    pictures = {
        "confusion_png": f"{files}/{artifacts.CONFUSION}",
        "mistakes_png": f"{files}/{artifacts.MISTAKES}",
    }
    results = {"model_id": model_id, **artifacts.report(evaluation), **pictures}
    return results, summary(evaluation) + f"\npictures {files}/{{confusion,mistakes}}.png", 0


def summary(evaluation: "Evaluation") -> str:
    """The figures for a person."""
    width = max(len(label) for label in (*evaluation.labels, "label"))
    lines = [f"{'label':{width}}  precision  recall  95 % interval      f1  pictures"]
    lines += [
        f"{row.label:{width}}  {row.precision:9.3f}  {row.recall:6.3f}  "
        f"{row.recall_interval.low:.3f} – {row.recall_interval.high:.3f}  {row.f1:6.3f}  {row.support:8,}"
        for row in evaluation.per_class
    ]
    if confused := _confused(evaluation):
        lines.append(f"confused most: {confused}")
    if evaluation.accuracy is None:  # an embedding alone has no nearest neighbour
        return "\n".join([*lines, "accuracy – (no test pictures to compare)"])
    lines.append(
        f"accuracy {evaluation.accuracy:.4f} ({_ends(evaluation.accuracy_interval)}) "
        f"on {evaluation.pictures:,} test pictures"
    )
    top5 = evaluation.top5_interval
    if top5 and len(evaluation.labels) > 5:  # else it is 1 whatever the model says
        lines.append(f"top-5    {evaluation.top5:.4f} ({_ends(top5)})")
    if evaluation.calibration_error is not None:
        lines.append(f"calibration error {evaluation.calibration_error:.4f}")
    return "\n".join(lines)


def _ends(interval: "Interval") -> str:
    return f"{interval.low:.4f} – {interval.high:.4f}"


def _confused(evaluation: "Evaluation") -> str:
    """The most frequent mistakes: true label, what it was called, how often."""
    counts = evaluation.confusion.copy()
    for label in range(len(counts)):
        counts[label, label] = 0
    places = sorted(zip(*counts.nonzero(), strict=True), key=lambda place: -counts[place])
    names = evaluation.labels
    pairs = [f"{names[row]} as {names[column]} {counts[row, column]:,}" for row, column in places]
    return ", ".join(pairs[:_CONFUSED])


if __name__ == "__main__":
    run(main)
