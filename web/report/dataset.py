"""A dataset on the page: its images by label and split."""

from collections import Counter
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.snapshot import DatasetSnapshot, Split
from lake.storage import Storage
from lake.table import Table
from organize.datasets.dataset import OrganizedDataset


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset.

    Args:
        dataset_id: of the dataset.
        counts: label to split to number of images.
        groups: number of its duplicate groups; None if the samples are gone.
        left_out: reason to number of images that were not chosen, where that is known.
    """

    dataset_id: str
    counts: dict[str, dict[str, int]]
    groups: int | None
    left_out: dict[str, int]

    @classmethod
    def of(cls, organized: OrganizedDataset) -> "DatasetSummary":
        """The summary of a dataset that was just organized."""
        return cls(organized.dataset_id, organized.counts, organized.groups, organized.left_out)

    @property
    def totals(self) -> dict[str, int]:
        """Split to number of images."""
        return {split: sum(counts[split] for counts in self.counts.values()) for split in Split}


def load(spark: SparkSession, settings: Settings, dataset_id: str) -> DatasetSummary:
    """Read the summary of a dataset from its snapshot.

    Raises:
        DamagedSnapshot: it cannot be read.
    """
    snapshot = DatasetSnapshot.load(Storage(settings.lake.at("snapshots", dataset_id), settings.s3))
    counts = {label: dict.fromkeys((split.value for split in Split), 0) for label in snapshot.labels}
    for split in Split:
        for column in snapshot.column(split, "label"):
            for index, count in Counter(column.to_pylist()).items():
                counts[snapshot.labels[index]][split.value] += count
    return DatasetSummary(dataset_id, counts, _groups(spark, settings, snapshot), {})


def image_ids(snapshot: DatasetSnapshot) -> set[str]:
    """The ids of a dataset's images."""
    columns = (column for split in Split for column in snapshot.column(split, "image_id"))
    return {image_id for column in columns for image_id in column.to_pylist()}


def _groups(spark: SparkSession, settings: Settings, snapshot: DatasetSnapshot) -> int | None:
    if not tables.exists(spark, settings.lake, Table.SAMPLES):
        return None
    chosen = spark.createDataFrame([(each,) for each in sorted(image_ids(snapshot))], "image_id string")
    samples = tables.read_complete(spark, settings.lake, Table.SAMPLES).select("image_id", "duplicate_group")
    grouped = chosen.join(samples, "image_id").select(f.count_distinct("duplicate_group").alias("groups"))
    return int(grouped.collect()[0].groups)
