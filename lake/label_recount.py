"""Recounts the accepted uploads of each label from the ledger."""

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake.label_hierarchy import Hierarchy
from lake.table import Table

# The first written name that says more than the slug; names of rows that were erased are null.
_FIRST_NAME = (
    "min_by(label_name, struct(event_time, topic, partition, offset)) FILTER (WHERE label_name <> label)"
)


def recount(spark: SparkSession, settings: Settings, uploads: DataFrame) -> None:
    """Set counts and display names in `labels` to those of the uploads. Labels without an upload are deleted.

    Labels that labels.csv lists keep their display names.

    Args:
        uploads: rows of the ledger; accepted ones count.
    """
    listed = list(Hierarchy.read(settings.labels.file).labels)
    accepted = (
        uploads.where(f.col("verdict") == "accepted")
        .groupBy("label")
        .agg(f.count("*").alias("accepted"), f.expr(_FIRST_NAME).alias("name"))
        .withColumn("listed", f.col("label").isin(listed))
    )
    values = {
        "accepted": "new.accepted",
        "ready": f"new.accepted >= {settings.labels.ready_images}",
        "display_name": "IF(new.listed, old.display_name, coalesce(new.name, new.label))",
    }
    (
        DeltaTable.forPath(spark, settings.lake.at(Table.LABELS))
        .alias("old")
        .merge(accepted.alias("new"), "old.label = new.label")
        .whenMatchedUpdate(
            condition=" OR ".join(f"NOT (old.{name} <=> ({value}))" for name, value in values.items()),
            set=values,
        )
        .whenNotMatchedBySourceDelete()
        .execute()
    )
