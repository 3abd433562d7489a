"""Finds and redacts a user's data in the tables; see docs/decisions/006-erasure.md."""

from dataclasses import dataclass

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.erasure import erased_ids
from lake.errors import DamagedSnapshot
from lake.schemas import LABEL_CONFLICT, UPLOADS
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from lake.table import Table

ERASED = "erased"
_POSITION = ["topic", "partition", "offset"]
# Columns of an erased upload that stay: they record that its offset was ingested, and when.
_KEPT_COLUMNS = {*_POSITION, "ingest_time", "ingest_batch"}


@dataclass(frozen=True)
class Traces:
    """The data of a user in the lake.

    Args:
        uploads, accepted: numbers of rows in the ledger.
        images_removed: number of images that nobody else has uploaded.
        images_kept: number of images that others have uploaded, too.
        datasets: dataset snapshot id to number of the user's images in it.
        unreadable: ids of dataset snapshots that cannot be read.
        models: ids of models that were trained on any of these snapshots.
        decisions, watches: decisions about labels that the user took, and labels that the user waits for.
    """

    uploads: int
    accepted: int
    images_removed: int
    images_kept: int
    datasets: dict[str, int]
    unreadable: list[str]
    models: list[str]
    decisions: int = 0
    watches: int = 0


def is_of_user(user: str) -> Column:
    """Condition for ledger rows of a user: by column `user`, or by a rejected upload's header `ce_user`."""
    value = f.lit(user.encode())
    in_headers = f.exists("headers", lambda h: (h["key"] == "ce_user") & (h["value"] == value))
    in_column = f.col("user") == user
    return f.coalesce(in_column | in_headers, in_column, in_headers, f.lit(False))


def find_traces(spark: SparkSession, settings: Settings, user: str) -> Traces:
    """Find a user's data; changes nothing."""
    lake = settings.lake
    counts = (
        tables.read(spark, lake, Table.UPLOADS)
        .where(is_of_user(user))
        .agg(f.count("*").alias("uploads"), f.count_if(f.col("verdict") == "accepted").alias("accepted"))
        .collect()[0]
    )
    images = _images_with_new_owners(spark, lake, user).persist()
    try:
        removed = images.where("upload_id IS NULL").count()
        datasets, unreadable = _find_in_datasets(spark, settings, images.select("image_id"))
        kept = images.count() - removed
    finally:
        images.unpersist()
    trained = f.col("dataset_id").isin(*datasets, *unreadable)
    models = tables.read_complete(spark, lake, Table.MODELS).where(trained)
    model_ids = [row.model_id for row in models.select("model_id").orderBy("created").collect()]
    of_person = [
        tables.read_complete(spark, lake, table).where(f.col("user") == user).count()
        for table in (Table.DECISIONS, Table.WATCHES)
    ]
    return Traces(counts.uploads, counts.accepted, removed, kept, datasets, unreadable, model_ids, *of_person)


def reassign_samples(spark: SparkSession, lake: Lake, user: str) -> None:
    """Delete the user's samples, or reassign them to the first other user who uploaded the same image.

    Idempotent.
    """
    images = _images_with_new_owners(spark, lake, user).persist()
    try:
        claimed = "old.label_source = 'claimed'"
        label_stays = f"NOT ({claimed}) OR old.label = new.label"
        conflict = f"IF(new.labels > 1, array('{LABEL_CONFLICT}'), CAST(array() AS array<string>))"
        values = {name: f"new.{name}" for name in ("upload_id", "device", "user", "batch", "event_time")} | {
            "label": f"IF({claimed}, new.label, old.label)",
            "label_quality": f"IF({label_stays}, old.label_quality, NULL)",
            "suggested_label": f"IF({label_stays}, old.suggested_label, NULL)",
            "label_reason": f"IF({label_stays}, old.label_reason, NULL)",
            "cluster": f"IF({label_stays}, old.cluster, NULL)",
            "cluster_distance": f"IF({label_stays}, old.cluster_distance, NULL)",
            "outlier": f"IF({label_stays}, old.outlier, NULL)",
            "flags": f"IF({claimed}, array_union(array_remove(old.flags, '{LABEL_CONFLICT}'), {conflict}), "
            "old.flags)",
        }
        _remember_splits(spark, lake, images.where("upload_id IS NULL").select("image_id"))
        _samples(spark, lake).merge(images.alias("new"), "old.image_id = new.image_id").whenMatchedDelete(
            "new.upload_id IS NULL"
        ).whenMatchedUpdate(set=values).execute()
        # A group's name is the id of one of its images. Groups named after a deleted image are dissolved, and
        # the next `hub organize` groups their images again. Each image keeps its split.
        deleted = images.where("upload_id IS NULL").select("image_id")
        _samples(spark, lake).merge(
            deleted.alias("new"), "old.duplicate_group = new.image_id"
        ).whenMatchedUpdate(set={"duplicate_group": "NULL"}).execute()
    finally:
        images.unpersist()


def delete_embeddings(spark: SparkSession, lake: Lake) -> None:
    """Delete the embeddings of images without a sample: no user is left who uploaded them. Idempotent.

    `hub organize` embeds only images that have a sample, and not while an erasure runs.
    """
    samples = tables.read(spark, lake, Table.SAMPLES).select("image_id")
    embedded = tables.read(spark, lake, Table.EMBEDDINGS).select("image_id").distinct()
    erased = embedded.join(samples, "image_id", "left_anti")
    (
        DeltaTable.forPath(spark, lake.at(Table.EMBEDDINGS))
        .alias("old")
        .merge(erased.alias("new"), "old.image_id = new.image_id")
        .whenMatchedDelete()
        .execute()
    )


def _remember_splits(spark: SparkSession, lake: Lake, deleted: DataFrame) -> None:
    """Keep the splits of deleted images: one that was trained on is not tested on when it comes back."""

    @f.udf("string", useArrow=False)
    def key(image_id: str) -> str:
        return erased_ids.split_key(image_id)

    samples = tables.read(spark, lake, Table.SAMPLES).where("split IS NOT NULL").join(deleted, "image_id")
    rows = samples.select(key("image_id").alias("key"), "split")
    if not rows.isEmpty():
        tables.create_or_extend(spark, lake, Table.ERASED_SPLITS)
        tables.upsert(spark, lake, Table.ERASED_SPLITS, rows, "key")


def redact_uploads(spark: SparkSession, lake: Lake, user: str) -> None:
    """Set the user's ledger rows to null in one commit; the rows and their offsets stay.

    The id of an accepted upload becomes its hash, so that the same upload is still rejected as a duplicate.
    """

    @f.udf("string", useArrow=False)
    def hash_id(upload_id: str | None) -> str | None:
        return None if upload_id is None else erased_ids.erased_id(upload_id)

    accepted_id = f.when(f.col("verdict") == "accepted", f.col("upload_id"))
    rows = tables.read(spark, lake, Table.UPLOADS).where(is_of_user(user))
    rows = rows.select(*_POSITION, accepted_id.alias("accepted_id")).withColumn(
        "hash", hash_id("accepted_id")
    )
    values = {field.name: f"CAST(NULL AS {field.dataType.simpleString()})" for field in UPLOADS}
    values = {f"`{name}`": value for name, value in values.items() if name not in _KEPT_COLUMNS}
    values |= {"`verdict`": f"'{ERASED}'", "`upload_id`": "new.hash"}
    same_position = " AND ".join(f"old.`{name}` = new.`{name}`" for name in _POSITION)
    (
        DeltaTable.forPath(spark, lake.at(Table.UPLOADS))
        .alias("old")
        .merge(rows.drop("accepted_id").alias("new"), same_position)
        .whenMatchedUpdate(set=values)
        .execute()
    )


def _images_with_new_owners(spark: SparkSession, lake: Lake, user: str) -> DataFrame:
    """One row for each image of the user, with the first accepted upload of it by others, or nulls.

    `labels` is the number of different labels in the others' uploads of the image.
    """
    accepted = tables.read(spark, lake, Table.UPLOADS).where(f.col("verdict") == "accepted")
    images = accepted.where(is_of_user(user)).select("image_id").distinct()
    columns = ["image_id", "label", "upload_id", "device", "user", "batch", "event_time"]
    others = (
        accepted.where(~is_of_user(user)).select(*columns, *_POSITION).join(images, "image_id", "left_semi")
    )
    by_image = Window.partitionBy("image_id")
    first = (
        others.withColumn("labels", f.size(f.collect_set("label").over(by_image)))
        .withColumn("nth", f.row_number().over(by_image.orderBy("event_time", *_POSITION)))
        .where("nth = 1")
        .select(*columns, "labels")
    )
    return images.join(first, "image_id", "left")


def _samples(spark: SparkSession, lake: Lake) -> DeltaTable:
    return DeltaTable.forPath(spark, lake.at(Table.SAMPLES)).alias("old")


def _find_in_datasets(
    spark: SparkSession, settings: Settings, images: DataFrame
) -> tuple[dict[str, int], list[str]]:
    """Count the images in each dataset snapshot: ids to counts above 0, and ids of unreadable snapshots."""
    counts, unreadable = {}, []
    snapshots = Storage(settings.lake.at("snapshots"), settings.s3)
    # Includes unfinished snapshots, which a killed `hub organize` left behind.
    folders = {name: settings.lake.at("snapshots", name) for name in snapshots.list_folders()}
    rows = tables.read_complete(spark, settings.lake, Table.DATASETS).select("dataset_id", "path").collect()
    for dataset_id, folder in (folders | {row.dataset_id: row.path for row in rows}).items():
        try:
            snapshot = DatasetSnapshot.load(Storage(folder, settings.s3))
            paths = [f"{folder}/{shard.path}" for split in snapshot.shards.values() for shard in split]
            shards = spark.read.parquet(*paths).select("image_id")
            count = shards.join(images, "image_id", "left_semi").count()
        except (DamagedSnapshot, PySparkException, Py4JJavaError):
            unreadable.append(dataset_id)
            continue
        if count:
            counts[dataset_id] = count
    return counts, sorted(unreadable)
