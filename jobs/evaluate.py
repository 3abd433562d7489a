"""hub evaluate: how well a model does on the test split of its dataset."""

import click

from conf import settings as hub
from jobs.command import Command, Outcome, run


@click.command(cls=Command, name="evaluate", example="hub evaluate --model resnet20-20261121-0812-3fa9")
@click.option("--model", "model_id", required=True, help="Id of the model (see `hub train`).")
def main(model_id: str) -> Outcome:
    """Measure a model on its dataset's test split.

    Prints accuracy, precision, recall and F1 per label, and the confusion matrix (rows true, columns
    predicted), and renews evaluation.json and confusion.png beside the model.
    """
    from models.artifacts import report
    from models.testing import evaluate_model

    settings = hub.load()
    evaluation = evaluate_model(settings, model_id)
    width = max(len(label) for label in (*evaluation.labels, "label"))
    lines = [f"{'label':{width}}  precision  recall      f1  pictures"]
    lines += [
        f"{row.label:{width}}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:6.3f}  {row.support:8}"
        for row in evaluation.per_class
    ]
    lines.append(f"accuracy {evaluation.accuracy:.4f} on {evaluation.pictures} test pictures")
    return {"model_id": model_id, **report(evaluation)}, "\n".join(lines), 0


if __name__ == "__main__":
    run(main)
