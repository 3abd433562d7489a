"""`hub predict`: label pictures, or a table of pictures, with a model."""

from typing import TYPE_CHECKING

import click

from conf import settings as hub
from conf.errors import UsageError
from jobs.cli.command import Command, Outcome, run
from streaming.sources.items import printable

if TYPE_CHECKING:
    from conf.settings import Settings


@click.command(
    cls=Command,
    name="predict",
    example="hub predict --model resnet20-20261121-0812-3fa9c07e cat.jpg holiday/",
)
@click.option("--model", "model_id", help="Id of the model (see `hub models`). Default: the one in use.")
@click.option("--table", help="Instead of PATH: uploads, samples, or the path of a Delta or Parquet table.")
@click.option("--to", "target", help="Output table of --table. Default: predictions/MODEL in the lake.")
@click.option("--replace", is_flag=True, help="Overwrite the output table if it exists.")
@click.argument("paths", nargs=-1, metavar="PATH...")
def main(
    model_id: str | None, table: str | None, target: str | None, replace: bool, paths: tuple[str, ...]
) -> Outcome:
    """Label pictures with a model.

    PATH is a picture or a folder of pictures. Many pictures are labelled on Spark. A picture that cannot be
    read has an error in its row; the exit status is 1 if none could be read.

    --table labels all pictures of a table on Spark and writes another table: image_id, label, probability,
    error, model_id. The input table needs a binary column jpeg, image or content, and ids in a column
    image_id, id or path.
    """
    from models.inference import catalogue

    if bool(paths) == bool(table):
        raise UsageError("name pictures or folders, or one table with --table")
    if (target or replace) and not table:
        raise UsageError("--to and --replace go with --table")
    settings = hub.load()
    model_id = catalogue.resolve_model_id(settings, model_id)
    if table:
        return _predict_table(settings, model_id, table, target or "", replace)
    return _predict_paths(settings, model_id, paths)


def _predict_paths(settings: "Settings", model_id: str, paths: tuple[str, ...]) -> Outcome:
    from models.inference.prediction import predict_paths

    predictions = predict_paths(settings, model_id, paths)
    rows = [
        {"path": p.path, "label": p.label, "probability": p.probability}
        | ({"error": p.error} if p.error else {})
        for p in predictions
    ]
    lines = [
        f"{printable(p.path)}  " + (f"error: {p.error}" if p.error else f"{p.label}  {p.probability:.3f}")
        for p in predictions
    ]
    status = 1 if all(p.error for p in predictions) else 0
    return {"model_id": model_id, "predictions": rows}, "\n".join(lines), status


def _predict_table(settings: "Settings", model_id: str, table: str, target: str, replace: bool) -> Outcome:
    from lake.spark import session
    from models.inference.batch_inference import predict_table
    from models.registry import model_cards

    model_cards.classifier_card(settings, model_id)  # report a wrong model before Spark starts
    spark = session.start(settings, "predict")
    try:
        done = predict_table(spark, settings, model_id, table, target, replace)
    finally:
        session.stop(spark)
    results = {
        "model_id": model_id,
        "path": done.target,
        "pictures": done.pictures,
        "errors": done.errors,
        "model_loads": done.loads,
        "seconds": round(done.seconds, 2),
        "images_per_second": round(done.pictures / done.seconds, 1),
    }
    text = (
        f"{done.pictures:,} pictures labelled, {done.errors:,} of them unreadable, in {done.seconds:.1f} s "
        f"({done.pictures / done.seconds:,.0f} images/s, the model loaded {done.loads} times): {done.target}"
    )
    return results, text, 1 if done.pictures and done.errors == done.pictures else 0


if __name__ == "__main__":
    run(main)
