"""The tables `duplicate_pairs`, `groups` and `group_merges`: what is read and written when groups change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from lake import tables
from lake.schemas import SCHEMAS
from lake.table import Table
from organize.duplicates.comparison.verification import VERSION, Match
from organize.duplicates.group_ids import own_id


def pairs(spark: SparkSession, lake: Lake, version: int) -> Iterator[Match]:
    """All verified pairs of a table version."""
    for row in tables.read(spark, lake, Table.DUPLICATE_PAIRS, version).toLocalIterator():
        yield Match.of(row.asDict())


def append_pairs(spark: SparkSession, lake: Lake, matches: Sequence[Match]) -> None:
    """Append verified pairs that the table does not have, in one commit."""
    rows = [(m.first, m.second, m.relation.value, m.correlation, m.significance, VERSION) for m in matches]
    _frame(spark, Table.DUPLICATE_PAIRS, rows).write.format("delta").mode("append").save(
        lake.at(Table.DUPLICATE_PAIRS)
    )


def group_ids(spark: SparkSession, lake: Lake, image_ids: Iterable[str]) -> dict[str, str]:
    """Image id to group id, of some images and of all that are in a group with one of them."""
    wanted = list(image_ids)
    groups = tables.read(spark, lake, Table.GROUPS).select("image_id", "group_id")
    asked = spark.createDataFrame([(image_id,) for image_id in wanted], "image_id string")
    named = groups.join(f.broadcast(asked), "image_id").select("group_id").distinct()
    own = spark.createDataFrame([(own_id(image_id),) for image_id in wanted], "group_id string")
    rows = groups.join(f.broadcast(named.union(own).distinct()), "group_id").collect()
    found = {row.image_id: row.group_id for row in rows}
    return {image_id: own_id(image_id) for image_id in wanted} | found


def ended_ids(spark: SparkSession, lake: Lake) -> set[str]:
    """Ids of groups that were merged into others."""
    rows = tables.read(spark, lake, Table.GROUP_MERGES).select("group_id").toLocalIterator()
    return {row.group_id for row in rows}


def write_groups(
    spark: SparkSession, lake: Lake, rows: Sequence[dict[str, Any]], merged: Mapping[str, str]
) -> None:
    """Write merges, and then rows of groups. Idempotent: a merge is recorded once.

    The merges come first: once the rows are written, nobody can tell which groups there were before.
    """
    if merged:
        tables.upsert(
            spark,
            lake,
            Table.GROUP_MERGES,
            [{"group_id": old, "merged_into": new} for old, new in sorted(merged.items())],
            "group_id",
        )
    if rows:
        tables.upsert(spark, lake, Table.GROUPS, _frame(spark, Table.GROUPS, rows), "image_id")


def save_in_samples(spark: SparkSession, lake: Lake, group_of: Mapping[str, str]) -> None:
    """Set `duplicate_group` of samples; unchanged rows are not written."""
    rows = spark.createDataFrame(sorted(group_of.items()), "image_id string, duplicate_group string")
    tables.update(spark, lake, Table.SAMPLES, f.broadcast(rows), "image_id")


def _frame(spark: SparkSession, table: Table, rows: Sequence[Any]) -> DataFrame:
    return spark.createDataFrame(list(rows), SCHEMAS[table]).coalesce(1)
