"""Erasure in the tables of duplicate groups: an erased image vanishes, its group and its split stay."""

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.settings import Settings
from lake import tables
from lake.storage import Storage
from lake.table import Table

FOLDER = "duplicates"  # of the lake
ERASURES = "erasures.json"


HELD_TOGETHER = "group of an erased image"  # `verified_by` of the pairs that an erasure writes
_CERTAIN = 1000.0  # significance at which no calibration parts them
_SAME_SCENE = "same scene"


def delete_pairs(spark: SparkSession, settings: Settings) -> None:
    """Delete the pairs of images that have no sample any more. Idempotent.

    An erased image may be all that two others of its group have in common. Pairs of the group's first image
    with each other one keep them together, so that near duplicates never come into different splits.
    """
    rows = tables.read(spark, settings.lake, Table.DUPLICATE_PAIRS)
    ends = rows.select(f.explode(f.array("first", "second")).alias("image_id")).distinct()
    erased = [row.image_id for row in _without_sample(spark, settings, ends).collect()]
    if erased:
        table = DeltaTable.forPath(spark, settings.lake.at(Table.DUPLICATE_PAIRS))
        _hold_together(spark, settings, erased)
        table.delete(f.col("first").isin(erased) | f.col("second").isin(erased))


def _hold_together(spark: SparkSession, settings: Settings, erased: list[str]) -> None:
    """Write certain pairs among the other images of the groups that lose an image."""
    groups = tables.read(spark, settings.lake, Table.GROUPS).select("group_id", "image_id")
    gone = f.col("image_id").isin(erased)
    losing = groups.where(gone).select("group_id").distinct()
    remaining = groups.where(~gone).join(losing, "group_id", "left_semi")
    by_group = remaining.groupBy("group_id").agg(f.array_sort(f.collect_set("image_id")).alias("images"))
    pairs = by_group.where(f.size("images") > 1).select(
        f.col("images")[0].alias("first"), f.explode(f.expr("slice(images, 2, size(images))")).alias("second")
    )
    (
        DeltaTable.forPath(spark, settings.lake.at(Table.DUPLICATE_PAIRS))
        .alias("old")
        .merge(pairs.alias("new"), "old.first = new.first AND old.second = new.second")
        .whenMatchedUpdate(set={"significance": f.lit(_CERTAIN), "verified_by": f.lit(HELD_TOGETHER)})
        .whenNotMatchedInsert(
            values={
                "first": "new.first",
                "second": "new.second",
                "relation": f.lit(_SAME_SCENE),
                "correlation": f.lit(0.0),
                "significance": f.lit(_CERTAIN),
                "verified_by": f.lit(HELD_TOGETHER),
            }
        )
        .execute()
    )


def delete_from_groups(spark: SparkSession, settings: Settings) -> None:
    """Delete images that have no sample any more from their groups. Idempotent.

    The images that resembled them stay in their groups, so they keep their splits. Local stores of pictures
    are told by a number in the lake that images were erased.
    """
    rows = tables.read(spark, settings.lake, Table.GROUPS)
    named = rows.select("image_id").union(rows.select("matched_image").where("matched_image IS NOT NULL"))
    erased = [row.image_id for row in _without_sample(spark, settings, named.distinct()).collect()]
    if erased:
        table = DeltaTable.forPath(spark, settings.lake.at(Table.GROUPS))
        table.delete(f.col("image_id").isin(erased))
        nothing = dict.fromkeys(("matched_image", "relation", "verified_by", "score"), "NULL")
        table.update(f.col("matched_image").isin(erased), nothing)
    storage = Storage(settings.lake.at(FOLDER), settings.s3)
    storage.write_json(ERASURES, {"count": erasures(settings) + 1})


def erasures(settings: Settings) -> int:
    """How many erasures have deleted images from groups."""
    storage = Storage(settings.lake.at(FOLDER), settings.s3)
    return int(str(storage.read_json(ERASURES)["count"])) if storage.exists(ERASURES) else 0


def _without_sample(spark: SparkSession, settings: Settings, images: DataFrame) -> DataFrame:
    samples = tables.read(spark, settings.lake, Table.SAMPLES).select("image_id")
    return images.join(samples, "image_id", "left_anti")
