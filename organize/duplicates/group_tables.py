"""The tables `duplicate_pairs`, `groups` and `group_merges`: what is read and written when groups change."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import row_merge, row_writer, tables
from lake.row_writer import literal
from lake.table import Table
from organize.duplicates.comparison.verification import VERSION, Match
from organize.duplicates.group_ids import own_id

_PER_QUERY = 2000  # ids in a condition


def pairs(spark: SparkSession, lake: Lake, version: int) -> Iterator[Match]:
    """All verified pairs of a table version."""
    for row in tables.read(spark, lake, Table.DUPLICATE_PAIRS, version).toLocalIterator():
        yield Match.of(row.asDict())


def append_pairs(settings: Settings, matches: Sequence[Match]) -> None:
    """Append verified pairs that the table does not have, in one commit, without Spark."""
    rows = [
        {
            "first": match.first,
            "second": match.second,
            "relation": match.relation.value,
            "correlation": match.correlation,
            "significance": match.significance,
            "verified_by": VERSION,
        }
        for match in matches
    ]
    row_writer.append(settings, Table.DUPLICATE_PAIRS, *rows)


def group_ids(settings: Settings, image_ids: Iterable[str]) -> dict[str, str]:
    """Image id to group id, of some images and of all that are in a group with one of them; without Spark."""
    found = {image_id: own_id(image_id) for image_id in image_ids}
    named = _groups_where(settings, "image_id", found)
    return found | _groups_where(settings, "group_id", {*named.values(), *found.values()})


def _groups_where(settings: Settings, column: str, values: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    ordered = sorted(values)
    for start in range(0, len(ordered), _PER_QUERY):
        where = f"{column} IN ({literal(*ordered[start : start + _PER_QUERY])})"
        rows = row_writer.read(settings, Table.GROUPS, ["image_id", "group_id"], where)
        found |= {row["image_id"]: row["group_id"] for row in rows}
    return found


def ended_ids(settings: Settings) -> set[str]:
    """Ids of groups that were merged into others."""
    return {row["group_id"] for row in row_writer.read(settings, Table.GROUP_MERGES, ["group_id"])}


def write_groups(settings: Settings, rows: Sequence[dict[str, Any]], merged: Mapping[str, str]) -> None:
    """Write merges, and then rows of groups, without Spark. Idempotent: a merge is recorded once.

    The merges come first: once the rows are written, nobody can tell which groups there were before.
    """
    merges = [{"group_id": old, "merged_into": new} for old, new in sorted(merged.items())]
    row_merge.upsert(settings, Table.GROUP_MERGES, "group_id", merges)
    row_merge.upsert(settings, Table.GROUPS, "image_id", rows)
