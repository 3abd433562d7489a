"""The query that counts the accepted uploads of each label."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Lake
from lake.labels import Hierarchy
from lake.schemas import Table
from streaming.ledger import query_id
from streaming.verdict import Verdict

# Columns of `uploads` that it reads.
COLUMNS = ["verdict", "label"]


@dataclass(frozen=True)
class LabelsFollower:
    """Keeps `labels` up to date.

    Args:
        lake: whose table it is.
        ready_images: accepted uploads from which a label is ready.
        hierarchy: parents and display names of labels.
    """

    lake: Lake
    ready_images: int
    hierarchy: Hierarchy

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Add the batch's uploads to the counts; Delta drops the commit of a batch that it has seen."""
        spark = uploads.sparkSession
        accepted = uploads.where(f.col("verdict") == Verdict.ACCEPTED)
        counted = [(row["label"], row["count"]) for row in accepted.groupBy("label").count().collect()]
        if not counted:
            return
        counts = spark.createDataFrame(
            [(label, *self._names(label), count) for label, count in counted],
            "label string, parent string, display_name string, accepted long",
        )
        ready = self.ready_images
        with _once(spark, f"labels-{query_id(spark)}", batch):
            (
                DeltaTable.forPath(spark, self.lake.at(Table.LABELS))
                .alias("old")
                .merge(f.broadcast(counts).alias("new"), "old.label = new.label")
                .whenMatchedUpdate(
                    set={
                        "accepted": "coalesce(old.accepted, 0) + new.accepted",
                        "ready": f"coalesce(old.accepted, 0) + new.accepted >= {ready}",
                    }
                )
                .whenNotMatchedInsert(
                    values={
                        "label": "new.label",
                        "parent": "new.parent",
                        "display_name": "new.display_name",
                        "accepted": "new.accepted",
                        "ready": f"new.accepted >= {ready}",
                    }
                )
                .execute()
            )

    def _names(self, label: str) -> tuple[str | None, str]:
        known = self.hierarchy.labels.get(label)
        return (known.parent, known.display_name) if known else (None, label)


@contextmanager
def _once(spark: SparkSession, application: str, version: int) -> Iterator[None]:
    """Make the MERGE inside idempotent; the writer's options do it for appends only."""
    options = {
        "spark.databricks.delta.write.txnAppId": application,
        "spark.databricks.delta.write.txnVersion": str(version),
    }
    for name, value in options.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in options:
            spark.conf.unset(name)
