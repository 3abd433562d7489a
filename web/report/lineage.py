"""What became of a batch: the newest model, or else the newest dataset, with a picture of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from lake.table import Table
from models.registry import model_cards
from web.report import dataset


@dataclass(frozen=True)
class Lineage:
    """The dataset and the model of a batch; None where there is none."""

    dataset_id: str | None
    model_id: str | None


def of_batch(spark: SparkSession, settings: Settings, batch: str) -> Lineage:
    """Find the newest ready model whose dataset has an image of the batch, else the newest such dataset."""
    datasets = list(_datasets_with(spark, settings, batch))
    for card in model_cards.ready_cards(settings):
        if card.dataset_id in datasets:
            return Lineage(card.dataset_id, card.model_id)
    return Lineage(datasets[0] if datasets else None, None)


def _datasets_with(spark: SparkSession, settings: Settings, batch: str) -> Iterator[str]:
    """Ids of the datasets with an image of the batch, newest first."""
    if not tables.exists(spark, settings.lake, Table.DATASETS):
        return
    accepted = tables.read_complete(spark, settings.lake, Table.UPLOADS).where(f.col("batch") == batch)
    accepted = accepted.where("verdict = 'accepted'")
    rows = accepted.select("image_id", "label", "ingest_time").collect()
    images, labels = {row.image_id for row in rows}, {row.label for row in rows}
    begun = min((row.ingest_time for row in rows), default=None)
    known = tables.read_complete(spark, settings.lake, Table.DATASETS).orderBy(f.desc("created"))
    for row in known.select("dataset_id", "labels", "created").collect():
        if begun is None or row.created < begun or labels.isdisjoint(row.labels):
            continue
        storage = Storage(settings.lake.at("snapshots", row.dataset_id), settings.s3)
        if not images.isdisjoint(dataset.image_ids(DatasetSnapshot.load(storage))):
            yield row.dataset_id
