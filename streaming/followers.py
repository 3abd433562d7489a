"""The queries that follow the ledger: samples, labels and dead letters, each idempotent by its own batch id.

They read `uploads` as a Delta stream, so a slow MERGE never holds up the front door, and a dead-letter
topic that is away loses nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from conf.settings import Kafka, Lake
from lake.labels import Hierarchy
from lake.schemas import Table
from streaming.ledger import query_id
from streaming.verdict import Verdict

LABEL_CONFLICT = "label_conflict"


@dataclass(frozen=True)
class SamplesFollower:
    """Keeps `samples` (one row per image) and `labels` (accepted uploads of each) up to date.

    Args:
        lake: whose tables they are.
        ready_images: accepted uploads from which a label is ready.
        hierarchy: parents and display names of labels.
    """

    lake: Lake
    ready_images: int
    hierarchy: Hierarchy

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Merge the accepted uploads of one batch."""
        accepted = uploads.where(f.col("verdict") == Verdict.ACCEPTED).select(
            "image_id", "label", "flags", "phash", "upload_id", "device", "user", "batch", "event_time",
            "topic", "partition", "offset",
        ).persist()  # fmt: skip
        try:
            self._merge_samples(accepted)
            self._merge_labels(accepted, batch)
        finally:
            accepted.unpersist()

    def _merge_samples(self, accepted: DataFrame) -> None:
        """Insert new images; an image that is there under another label gets the flag label_conflict.

        Running it twice with the same rows changes nothing.
        """
        by_arrival = Window.partitionBy("image_id").orderBy("event_time", "topic", "partition", "offset")
        conflict = f.when(f.size("claimed") > 1, f.array(f.lit(LABEL_CONFLICT))).otherwise(f.array())
        images = (
            accepted.withColumn("claimed", f.collect_set("label").over(Window.partitionBy("image_id")))
            .withColumn("nth", f.row_number().over(by_arrival))
            .where("nth = 1")
            .withColumn("flags", f.array_union("flags", conflict.cast("array<string>")))
            .withColumn("label_source", f.lit("claimed"))
            .select(
                "image_id", "label", "label_source", "flags", "phash", "upload_id", "device", "user", "batch",
                "event_time", "claimed",
            )
        )  # fmt: skip
        values = {name: f"new.{name}" for name in images.columns if name != "claimed"}
        (
            DeltaTable.forPath(images.sparkSession, self.lake.at(Table.SAMPLES))
            .alias("old")
            .merge(images.alias("new"), "old.image_id = new.image_id")
            .whenMatchedUpdate(
                condition=f"NOT array_contains(old.flags, '{LABEL_CONFLICT}') "
                "AND old.label_source = 'claimed' AND exists(new.claimed, label -> label <> old.label)",
                set={"flags": f"array_union(old.flags, array('{LABEL_CONFLICT}'))"},
            )
            .whenNotMatchedInsert(values=values)
            .execute()
        )

    def _merge_labels(self, accepted: DataFrame, batch: int) -> None:
        """Add the batch's uploads to the counts; Delta drops the commit of a batch that it has seen."""
        spark = accepted.sparkSession
        names = [(label.name, label.parent, label.display_name) for label in self.hierarchy.labels.values()]
        known = spark.createDataFrame(names, "label string, parent string, display_name string")
        counts = accepted.groupBy("label").agg(f.count("*").alias("accepted"))
        counts = counts.join(f.broadcast(known), "label", "left")
        ready = self.ready_images
        with _once(spark, f"labels-{query_id(spark)}", batch):
            (
                DeltaTable.forPath(spark, self.lake.at(Table.LABELS))
                .alias("old")
                .merge(counts.alias("new"), "old.label = new.label")
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
                        "display_name": "coalesce(new.display_name, new.label)",
                        "accepted": "new.accepted",
                        "ready": f"new.accepted >= {ready}",
                    }
                )
                .execute()
            )


@dataclass(frozen=True)
class DeadLetterFollower:
    """Sends every rejected upload, as it came, to the dead-letter topic, with where and why in its headers.

    Args:
        kafka: settings of the cluster.
        options: of Spark's Kafka sink.
    """

    kafka: Kafka
    options: dict[str, str]

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Send the rejected uploads of one batch; after a crash some may be sent again."""
        (
            uploads.where(f.col("verdict") == Verdict.REJECTED)
            .select(f.col("device").alias("key"), f.col("payload").alias("value"), with_reason())
            .write.format("kafka")
            .options(**self.options)
            .option("topic", self.kafka.rejected_topic)
            .save()
        )


def with_reason() -> Column:
    """The original headers and hub_reason, hub_detail, hub_topic, hub_partition, hub_offset."""
    added = [
        f.struct(f.lit(f"hub_{name}").alias("key"), f.col(name).cast("string").cast("binary").alias("value"))
        for name in ("reason", "detail", "topic", "partition", "offset")
    ]
    return f.concat(f.coalesce("headers", f.array()), f.array(*added)).alias("headers")


@contextmanager
def _once(spark: SparkSession, application: str, version: int) -> Iterator[None]:
    """Make the MERGE inside idempotent; the writer's options do it for appends only."""
    names = {"txnAppId": application, "txnVersion": str(version)}
    for name, value in names.items():
        spark.conf.set(f"spark.databricks.delta.write.{name}", value)
    try:
        yield
    finally:
        for name in names:
            spark.conf.unset(f"spark.databricks.delta.write.{name}")
