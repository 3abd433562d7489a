"""Taking a user out of the tables; see docs/decisions/006-erasure.md."""

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
from lake.schemas import LABEL_CONFLICT, UPLOADS, Table
from lake.snapshot import Snapshot
from lake.storage import Storage

ERASED = "erased"
_PLACE = ["topic", "partition", "offset"]
# What is left of an erased upload: that the offset was taken, and when.
_KEPT = {*_PLACE, "ingest_time", "ingest_batch"}


@dataclass(frozen=True)
class Traces:
    """What there is of a user.

    Args:
        uploads, accepted: rows of the ledger.
        images_removed: images that nobody else has uploaded.
        images_kept: images that others have uploaded, too.
        datasets: snapshot id to images of the user in it.
        unreadable: snapshots that could not be looked into.
        models: ids of models that were trained on such a snapshot.
    """

    uploads: int
    accepted: int
    images_removed: int
    images_kept: int
    datasets: dict[str, int]
    unreadable: list[str]
    models: list[str]


def of_user(user: str) -> Column:
    """Whether a row of the ledger is of the user, by its column or by what a rejected upload said."""
    claimed = f.exists("headers", lambda h: (h["key"] == "ce_user") & (h["value"] == f.lit(user.encode())))
    return f.coalesce((f.col("user") == user) | claimed, f.col("user") == user, claimed, f.lit(False))


def traces(spark: SparkSession, settings: Settings, user: str) -> Traces:
    """Look for a user; changes nothing."""
    lake = settings.lake
    counted = (
        tables.read(spark, lake, Table.UPLOADS)
        .where(of_user(user))
        .agg(f.count("*").alias("uploads"), f.count_if(f.col("verdict") == "accepted").alias("accepted"))
        .collect()[0]
    )
    images = _successors(spark, lake, user).persist()
    try:
        removed = images.where("upload_id IS NULL").count()
        datasets, unreadable = _datasets(spark, settings, images.select("image_id"))
        kept = images.count() - removed
    finally:
        images.unpersist()
    models = tables.read(spark, lake, Table.MODELS).where(f.col("dataset_id").isin(*datasets, *unreadable))
    named = [row.model_id for row in models.select("model_id").orderBy("created").collect()]
    return Traces(counted.uploads, counted.accepted, removed, kept, datasets, unreadable, named)


def hand_over(spark: SparkSession, lake: Lake, user: str) -> None:
    """Remove the user's images from `samples`, or hand them to the first of the others who uploaded them.

    Running it again changes nothing.
    """
    images = _successors(spark, lake, user).persist()
    try:
        claimed = "old.label_source = 'claimed'"
        stays = f"NOT ({claimed}) OR old.label = new.label"
        conflict = f"IF(new.labels > 1, array('{LABEL_CONFLICT}'), CAST(array() AS array<string>))"
        values = {name: f"new.{name}" for name in ("upload_id", "device", "user", "batch", "event_time")} | {
            "label": f"IF({claimed}, new.label, old.label)",
            "label_quality": f"IF({stays}, old.label_quality, NULL)",
            "suggested_label": f"IF({stays}, old.suggested_label, NULL)",
            "flags": f"IF({claimed}, array_union(array_remove(old.flags, '{LABEL_CONFLICT}'), {conflict}), "
            "old.flags)",
        }
        _samples(spark, lake).merge(images.alias("new"), "old.image_id = new.image_id").whenMatchedDelete(
            "new.upload_id IS NULL"
        ).whenMatchedUpdate(set=values).execute()
        # A group is named by an image of it: one that is gone may not name it; organize groups anew.
        gone = images.where("upload_id IS NULL").select("image_id")
        _samples(spark, lake).merge(
            gone.alias("new"), "old.duplicate_group = new.image_id"
        ).whenMatchedUpdate(set={"duplicate_group": "NULL", "split": "NULL"}).execute()
    finally:
        images.unpersist()


def redact(spark: SparkSession, lake: Lake, user: str) -> None:
    """Empty the user's rows in the ledger in one commit; each offset stays accounted for.

    Of an accepted upload's id a hash is left, so that a late repetition of it is still a duplicate.
    """

    @f.udf("string", useArrow=False)
    def hashed(upload_id: str | None) -> str | None:
        return None if upload_id is None else erased_ids.mark(upload_id)

    accepted_id = f.when(f.col("verdict") == "accepted", f.col("upload_id"))
    rows = tables.read(spark, lake, Table.UPLOADS).where(of_user(user))
    rows = rows.select(*_PLACE, accepted_id.alias("accepted_id")).withColumn("hash", hashed("accepted_id"))
    values = {field.name: f"CAST(NULL AS {field.dataType.simpleString()})" for field in UPLOADS}
    values = {f"`{name}`": value for name, value in values.items() if name not in _KEPT}
    values |= {"`verdict`": f"'{ERASED}'", "`upload_id`": "new.hash"}
    same = " AND ".join(f"old.`{name}` = new.`{name}`" for name in _PLACE)
    (
        DeltaTable.forPath(spark, lake.at(Table.UPLOADS))
        .alias("old")
        .merge(rows.drop("accepted_id").alias("new"), same)
        .whenMatchedUpdate(set=values)
        .execute()
    )


def _successors(spark: SparkSession, lake: Lake, user: str) -> DataFrame:
    """One row per image of the user: the first accepted upload of it by others, nulls where there is none.

    `labels` counts the different labels that others claim for it.
    """
    accepted = tables.read(spark, lake, Table.UPLOADS).where(f.col("verdict") == "accepted")
    mine = accepted.where(of_user(user)).select("image_id").distinct()
    columns = ["image_id", "label", "upload_id", "device", "user", "batch", "event_time"]
    others = accepted.where(~of_user(user)).select(*columns, *_PLACE).join(mine, "image_id", "left_semi")
    of_image = Window.partitionBy("image_id")
    first = (
        others.withColumn("labels", f.size(f.collect_set("label").over(of_image)))
        .withColumn("nth", f.row_number().over(of_image.orderBy("event_time", *_PLACE)))
        .where("nth = 1")
        .select(*columns, "labels")
    )
    return mine.join(first, "image_id", "left")


def _samples(spark: SparkSession, lake: Lake) -> DeltaTable:
    return DeltaTable.forPath(spark, lake.at(Table.SAMPLES)).alias("old")


def _datasets(spark: SparkSession, settings: Settings, images: DataFrame) -> tuple[dict[str, int], list[str]]:
    found, unreadable = {}, []
    snapshots = Storage(settings.lake.at("snapshots"), settings.s3)
    # Also what an organization left that was killed before it was done.
    places = {name: settings.lake.at("snapshots", name) for name in snapshots.folders()}
    rows = tables.read(spark, settings.lake, Table.DATASETS).select("dataset_id", "path").collect()
    for name, place in (places | {row.dataset_id: row.path for row in rows}).items():
        try:
            snapshot = Snapshot.load(Storage(place, settings.s3))
            paths = [f"{place}/{shard.path}" for split in snapshot.shards.values() for shard in split]
            shards = spark.read.parquet(*paths).select("image_id")
            held = shards.join(images, "image_id", "left_semi").count()
        except (DamagedSnapshot, PySparkException, Py4JJavaError):
            unreadable.append(name)
            continue
        if held:
            found[name] = held
    return found, sorted(unreadable)
