"""Erasure of what people and models said about a user's images: clusters, probes, decisions, watches.

See docs/decisions/027-clusters-and-label-checks.md.
"""

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.erasure.redaction import is_of_user
from lake.storage import Storage
from lake.table import Table

PROBES = "label-checks"  # folder of the lake
_CLUSTER_COLUMNS = {
    "cluster": ("cluster_distance", "outlier"),
    "overall_cluster": ("overall_distance", "overall_outlier"),
}


def delete_clusters(spark: SparkSession, lake: Lake, user: str) -> None:
    """Delete the clusters that contain an image of the user: a centroid of few images resembles them.

    The next clustering forms them again without the image. Comes before the samples are deleted. Idempotent.
    """
    samples = tables.read_complete(spark, lake, Table.SAMPLES)
    own = samples.join(_images(spark, lake, user), "image_id", "left_semi")
    ids = own.select(f.explode(f.array(*_CLUSTER_COLUMNS)).alias("id")).where("id IS NOT NULL").distinct()
    found = [row.id for row in ids.collect()]
    if not found:
        return
    tables.create_or_extend(spark, lake, Table.SAMPLES)  # a lake of an older hub lacks columns
    for column, measured in _CLUSTER_COLUMNS.items():
        values = dict.fromkeys((column, *measured), "NULL")
        _table(spark, lake, Table.SAMPLES).update(f.col(column).isin(found), values)
    _table(spark, lake, Table.CLUSTERS).delete(f.col("cluster").isin(found))


def delete_probes(settings: Settings) -> None:
    """Delete the saved probes of label checks, which have learnt from the user's images, too. Idempotent.

    The next check, or the next new images, teach another one without them.
    """
    Storage(settings.lake.at(PROBES), settings.s3).delete_all()


def redact_decisions(spark: SparkSession, lake: Lake, user: str) -> None:
    """Delete decisions on images that are gone, and the user's name and label from those that stay.

    Comes after the samples are deleted and before the ledger is redacted. Idempotent.
    """
    decisions = _table(spark, lake, Table.DECISIONS)
    samples = tables.read(spark, lake, Table.SAMPLES).select("image_id")
    decided = tables.read(spark, lake, Table.DECISIONS).select("image_id").distinct()
    gone = decided.join(samples, "image_id", "left_anti")
    same_image = "old.image_id = new.image_id"
    decisions.alias("old").merge(gone.alias("new"), same_image).whenMatchedDelete().execute()
    shared = _images(spark, lake, user)
    decisions.alias("old").merge(shared.alias("new"), same_image).whenMatchedUpdate(
        condition="old.source_before = 'claimed' AND old.label_before IS NOT NULL",
        set={"label_before": "NULL"},
    ).execute()
    decisions.update(f.col("user") == user, {"`user`": "NULL"})


def delete_watches(spark: SparkSession, lake: Lake, user: str) -> None:
    """Delete the labels that the user watches. Idempotent."""
    _table(spark, lake, Table.WATCHES).delete(f.col("user") == user)


def _images(spark: SparkSession, lake: Lake, user: str) -> DataFrame:
    """Ids of the images that the user uploaded, as `image_id`."""
    accepted = tables.read(spark, lake, Table.UPLOADS).where(f.col("verdict") == "accepted")
    return accepted.where(is_of_user(user)).select("image_id").distinct()


def _table(spark: SparkSession, lake: Lake, table: Table) -> DeltaTable:
    return DeltaTable.forPath(spark, lake.at(table))
