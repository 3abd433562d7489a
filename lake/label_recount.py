"""Recounts the accepted uploads of each label from the ledger."""

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from lake.table import Table


def recount(spark: SparkSession, lake: Lake, uploads: DataFrame, ready_images: int) -> None:
    """Set the counts in `labels` to those of the uploads. Labels without an accepted upload are deleted.

    Args:
        uploads: rows of the ledger.
        ready_images: accepted uploads from which a label is ready.
    """
    accepted = (
        uploads.where(f.col("verdict") == "accepted").groupBy("label").agg(f.count("*").alias("accepted"))
    )
    differs = f"old.accepted <> new.accepted OR old.ready <> (new.accepted >= {ready_images})"
    (
        DeltaTable.forPath(spark, lake.at(Table.LABELS))
        .alias("old")
        .merge(accepted.alias("new"), "old.label = new.label")
        .whenMatchedUpdate(
            condition=differs,
            set={"accepted": "new.accepted", "ready": f"new.accepted >= {ready_images}"},
        )
        .whenNotMatchedBySourceDelete()
        .execute()
    )
