"""`hub demo`: the whole pipeline on real services, from push to the HTML report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from jobs.cli.command import Command, Outcome, quiet, run, say
from jobs.cli.label_flags import label_options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conf.settings import Settings
    from models.runs.train import TrainedModel
    from organize.datasets.dataset import OrganizedDataset

_HOSTILE = 60
_WORKERS = 2
_TRAINED_IMAGES = 150_000  # images of all epochs together, from which the number of epochs follows
_MAX_EPOCHS = 18
_MIN_EPOCHS = 3
_QUERY = "SELECT label, count(*) AS images, count(DISTINCT device) AS phones FROM samples GROUP BY label"


@click.command(cls=Command, name="demo", example="hub demo --archive pictures.zip")
@click.option(
    "--archive",
    default="",
    help="A folder, zip, tar or s3://bucket/prefix of labelled pictures instead of the digits.",
)
@label_options
@click.option("--workers", type=click.IntRange(min=1), default=_WORKERS, help="TensorFlow workers (2).")
@click.option("--epochs", type=click.IntRange(min=1), help="Default: 3 to 18, by the number of pictures.")
def main(archive: str, workers: int, epochs: int | None, **labelling: Any) -> Outcome:
    """Push, ingest, organize, train, evaluate and report; some uploads are broken on purpose."""
    from conf import settings as configuration
    from jobs import push
    from local import broker
    from streaming import topics
    from streaming.upload.push_request import DIGITS, PushRequest, batch_name

    source, begun = archive or DIGITS, time.monotonic()
    settings = configuration.load() if archive else with_closed_labels(configuration.load())
    request = PushRequest(source, batch_name(source), hostile=_HOSTILE, **labelling)
    running = _external_broker(settings) if settings.kafka.bootstrap else broker.running(settings)
    with running as bootstrap:
        topics.create(settings.kafka, bootstrap)
        _step(1, f"push {source} and {_HOSTILE} broken uploads to Kafka at {bootstrap}")
        pushed = push.push(settings, bootstrap, request)
        say(push.summary(request, pushed))
        if pushed.interrupted:
            raise KeyboardInterrupt
        accepted, rejected, organized = _ingest_and_organize(settings, bootstrap, request.batch)
    trained, report, answer = _train_and_report(settings, request.batch, organized, workers, epochs)
    seconds = time.monotonic() - begun
    results = {
        "pushed": pushed.acknowledged,
        "accepted": accepted,
        "rejected": rejected,
        "dataset_id": organized.dataset_id,
        "model_id": trained.model_id,
        "test_accuracy": trained.evaluation.accuracy,
        "seconds": round(seconds, 1),
        "report": report,
    }
    text = "\n".join([_summary(results, trained, answer), _next_commands(trained.model_id, request.batch)])
    return results, text, push.exit_status(pushed)


def with_closed_labels(settings: "Settings") -> "Settings":
    """Set `labels.mode` to closed, so that unknown labels are rejected; only if labels.csv has the digits."""
    from lake.label_hierarchy import Hierarchy

    if not set("0123456789") <= set(Hierarchy.read(settings.labels.file).labels):
        return settings
    return settings.model_copy(update={"labels": settings.labels.model_copy(update={"mode": "closed"})})


def _ingest_and_organize(
    settings: "Settings", bootstrap: str, batch: str
) -> "tuple[int, int, OrganizedDataset]":
    from jobs import ingest, organize
    from lake import views
    from lake.spark import session
    from organize.datasets import dataset as organizing
    from organize.follow.catching_up import catch_up

    _step(2, "ingest: verify, prepare, store (Spark Structured Streaming to Delta)")
    spark = session.start(settings, "demo")
    try:
        report = ingest.ingest(settings, bootstrap, once=True, spark=spark)
        say(ingest.summary(report))
        _step(3, "organize: near duplicates, splits, a dataset snapshot")
        catch_up(spark, settings, report=say)
        labels = views.trainable_labels(spark, settings.lake, batch, settings.labels.ready_images)
        organized = organizing.organize(spark, settings, labels)
        say(organize.summary(organized))
    finally:
        session.stop(spark)
    return report.accepted, sum(report.rejected.values()), organized


def _train_and_report(
    settings: "Settings", batch: str, organized: "OrganizedDataset", workers: int, epochs: int | None
) -> "tuple[TrainedModel, str, str]":
    from jobs.sql import format_rows
    from lake import views
    from lake.snapshot import Split
    from models.plan import TrainingPlan
    from models.runs import cluster
    from models.runs.train import train

    rows = organized.snapshot.row_count(Split.TRAIN)
    epochs = epochs or min(_MAX_EPOCHS, max(_MIN_EPOCHS, _TRAINED_IMAGES // max(rows, 1)))
    plan = TrainingPlan.of(settings, organized.dataset_id, workers, epochs=epochs)
    _step(4, f"train {plan.architecture} for {epochs} epochs on {workers} TensorFlowOnSpark workers")
    spark = cluster.start_session(settings, workers, tables=True)
    try:
        trained = train(settings, plan, spark, bar=not quiet())
        _step(5, "report")
        path = _write_report(spark, settings, batch, organized, trained.model_id)
        views.register(spark, settings.lake)
        answer = views.query(spark, _QUERY, 100)
    finally:
        spark.stop()
    return trained, path, format_rows(answer.columns, answer.rows, "table")


def _write_report(
    spark: "SparkSession", settings: "Settings", batch: str, organized: "OrganizedDataset", model_id: str
) -> str:
    from web.report import report, training, uploads
    from web.report.dataset import DatasetSummary

    page = report.Report(
        batch,
        uploads.load(spark, settings.lake, batch),
        DatasetSummary.of(organized),
        training.load(spark, settings, model_id),
    )
    return report.write(page, report.default_folder(settings))


@contextmanager
def _external_broker(settings: "Settings") -> Iterator[str]:
    yield settings.kafka.bootstrap


def _step(number: int, text: str) -> None:
    say(f"\n[{number}/5] {text}")


def _summary(results: dict[str, object], trained: "TrainedModel", answer: str) -> str:
    from jobs.cli.text_table import format_table

    accuracy = trained.evaluation.accuracy
    uploads = ", ".join(f"{results[what]:,} {what}" for what in ("pushed", "accepted", "rejected"))
    shown = [
        ("uploads", uploads),
        ("dataset", results["dataset_id"]),
        ("model", trained.model_id),
        ("training", f"{trained.plan.workers} workers, {trained.images_per_second:,.0f} images/s"),
        ("test accuracy", "no test pictures" if accuracy is None else f"{accuracy:.4f}"),
        ("time", f"{results['seconds']} s"),
        ("report", results["report"]),
    ]
    return "\n".join(
        [
            "",
            format_table(["", "result"], shown),
            f'\nhub sql "{_QUERY}"',
            answer,
        ]
    )


def _next_commands(model_id: str, batch: str) -> str:
    """Commands to try next, as the reader types them."""
    from jobs.cli.next_command import in_container, typed, typed_with_file

    where = "" if in_container() else " (in the virtual environment, `. .venv/bin/activate`)"
    reasons = "sql \"SELECT reason, count(*) FROM uploads WHERE verdict = 'rejected' GROUP BY reason\""
    lines = [
        f"\nNext commands{where}:",
        f"  {typed_with_file(f'predict --model {model_id}', 'PICTURE.jpg')}",
        f"  {typed(reasons)}",
        f"  {typed(f'report {batch} --to - > report.html')}",
    ]
    if in_container():
        return "\n".join([*lines, f"  {typed_with_file('push', 'FOLDER')}", f"  {typed('ingest --once')}"])
    lines.append("  hub up && hub push FOLDER && hub ingest --once && hub organize")
    return "\n".join([*lines, f"  hub serve        # all of it in a browser: {_address()}"])


def _address() -> str:
    """Where `hub serve` will be."""
    from conf import settings as configuration

    web = configuration.load().web
    return f"http://{web.host}:{web.port}" if web.port else "it prints its address"


if __name__ == "__main__":
    run(main)
