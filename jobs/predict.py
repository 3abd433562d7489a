"""hub predict: labels for pictures."""

import click

from conf import settings as hub
from jobs.command import Command, Outcome, run


@click.command(
    cls=Command, name="predict", example="hub predict --model resnet20-20261121-0812-3fa9 cat.jpg holiday/"
)
@click.option("--model", "model_id", required=True, help="Id of the model (see `hub train`).")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def main(model_id: str, paths: tuple[str, ...]) -> Outcome:
    """Label pictures with a model.

    PATH is a picture or a folder of pictures. Many pictures are labelled on Spark. A picture that cannot be
    read has an error in its row; the exit status is 1 if none could be read.
    """
    from models.prediction import predict_paths

    predictions = predict_paths(hub.load(), model_id, paths)
    rows = [
        {"path": p.path, "label": p.label, "probability": p.probability}
        | ({"error": p.error} if p.error else {})
        for p in predictions
    ]
    lines = [
        f"{p.path}  error: {p.error}" if p.error else f"{p.path}  {p.label}  {p.probability:.3f}"
        for p in predictions
    ]
    status = 1 if all(p.error for p in predictions) else 0
    return {"model_id": model_id, "predictions": rows}, "\n".join(lines), status


if __name__ == "__main__":
    run(main)
