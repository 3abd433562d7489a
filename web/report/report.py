"""The report of a batch, a model or both: a self-contained HTML page, rendered with Jinja."""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.errors import UsageError
from conf.settings import Settings
from lake import tables
from lake.snapshot import Split
from lake.storage import Storage
from lake.table import Table
from models.errors import UnknownModel
from models.registry import model_cards
from web.report import dataset, lineage, training, uploads
from web.report.dataset import DatasetSummary
from web.report.training import TrainingSummary
from web.report.uploads import UploadSummary

FOLDER = "reports"  # in the lake
_NEWEST = 5  # batches named in an error


@dataclass(frozen=True)
class Report:
    """What a page shows; each part is optional.

    Args:
        subject: id of the batch or of the model.
        uploads: of a batch.
        dataset: made of them, or the model's.
        training: of a model.
    """

    subject: str
    uploads: UploadSummary | None = None
    dataset: DatasetSummary | None = None
    training: TrainingSummary | None = None


def load(spark: SparkSession, settings: Settings, subject: str) -> Report:
    """Collect the report of a batch, with its dataset and newest model, or the report of a model.

    Raises:
        UsageError: there is neither a batch nor a model of this name; the message names some batches.
        UnusableModel: the model is not ready.
    """
    try:
        model_cards.any_card(settings, subject)
    except UnknownModel as error:
        _refuse_unknown_batch(spark, settings, subject, str(error))
        return _of_batch(spark, settings, subject)
    trained = training.load(spark, settings, subject)
    dataset_id = model_cards.any_card(settings, subject).dataset_id
    return Report(subject, dataset=dataset.load(spark, settings, dataset_id), training=trained)


def _of_batch(spark: SparkSession, settings: Settings, batch: str) -> Report:
    became = lineage.of_batch(spark, settings, batch)
    return Report(
        batch,
        uploads.load(spark, settings.lake, batch),
        dataset.load(spark, settings, became.dataset_id) if became.dataset_id else None,
        training.load(spark, settings, became.model_id) if became.model_id else None,
    )


def _refuse_unknown_batch(spark: SparkSession, settings: Settings, batch: str, no_model: str) -> None:
    newest = []
    if tables.exists(spark, settings.lake, Table.UPLOADS):
        rows = tables.read_complete(spark, settings.lake, Table.UPLOADS).where("batch IS NOT NULL")
        if not rows.where(f.col("batch") == batch).isEmpty():
            return
        by_batch = rows.groupBy("batch").agg(f.max("ingest_time").alias("last")).orderBy(f.desc("last"))
        newest = [row.batch for row in by_batch.limit(_NEWEST).collect()]
    known = f"the newest are {', '.join(newest)}" if newest else "there is none yet"
    raise UsageError(f"no batch {batch!r}: {known}; and {no_model}")


def render(report: Report) -> str:
    """Render the page as HTML."""
    environment = Environment(
        loader=PackageLoader("web.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html").render(
        subject=report.subject,
        uploads=report.uploads,
        dataset=report.dataset,
        splits=[split.value for split in Split],
        training=report.training,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def write(report: Report, folder: Storage) -> str:
    """Write the page as `<subject>.html` into a folder; returns its path or URI.

    Raises:
        StorageError: the folder cannot be written.
    """
    name = re.sub(r"^\.|[/\\\x00-\x1f]", "_", report.subject) + ".html"
    folder.write(name, render(report).encode())
    return f"{folder.root}/{name}"


def default_folder(settings: Settings) -> Storage:
    """The folder of reports in the lake."""
    return Storage(settings.lake.at(FOLDER), settings.s3)


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
