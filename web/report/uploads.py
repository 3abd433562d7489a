"""The uploads of a batch on the page: counts, samples of each label, an example of each rejection."""

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from conf.sections import Lake
from lake import tables
from lake.table import Table
from web.pictures.specimen import preview
from web.report.picture import Picture

_PER_LABEL = 8
_CANDIDATES = 4  # rejected uploads read per reason; the first that can be decoded is shown


@dataclass(frozen=True)
class RejectedExample:
    """An example of the rejected uploads of a reason, and their number."""

    reason: str
    count: int
    detail: str
    picture: Picture


@dataclass(frozen=True)
class UploadSummary:
    """The uploads of a batch, from the ledger.

    Args:
        batch: name of the upload batch.
        submitted, accepted, rejected: numbers of uploads.
        samples: label to some of its accepted pictures.
        rejected_examples: one for each reason, most frequent first.
        flags: quality flag to the number of accepted uploads with it.
    """

    batch: str
    submitted: int
    accepted: int
    rejected: int
    samples: dict[str, list[Picture]]
    rejected_examples: list[RejectedExample]
    flags: dict[str, int]


def load(spark: SparkSession, lake: Lake, batch: str) -> UploadSummary:
    """Read the summary of an upload batch from the ledger."""
    rows = tables.read_complete(spark, lake, Table.UPLOADS).where(f.col("batch") == batch)
    rows = rows.unionByName(_without_batch(spark, lake, rows))
    counts = {row.verdict: row["count"] for row in rows.groupBy("verdict").count().collect()}
    flagged = rows.where("verdict = 'accepted'").select(f.explode("flags").alias("flag"))
    return UploadSummary(
        batch=batch,
        submitted=sum(counts.values()),
        accepted=counts.get("accepted", 0),
        rejected=counts.get("rejected", 0),
        samples=_samples(rows),
        rejected_examples=_rejected_examples(rows),
        flags={row.flag: row["count"] for row in flagged.groupBy("flag").count().orderBy("flag").collect()},
    )


def _without_batch(spark: SparkSession, lake: Lake, rows: DataFrame) -> DataFrame:
    """Uploads between those of the batch that have no valid batch header, because they are too broken."""
    bounds = rows.groupBy("topic", "partition").agg(
        f.min("offset").alias("first"), f.max("offset").alias("last")
    )
    unnamed = tables.read_complete(spark, lake, Table.UPLOADS).where("batch IS NULL")
    between = unnamed.join(f.broadcast(bounds), ["topic", "partition"]).where("offset BETWEEN first AND last")
    return between.drop("first", "last")


def _samples(rows: DataFrame) -> dict[str, list[Picture]]:
    in_label = Window.partitionBy("label").orderBy("image_id")
    chosen = (
        rows.where("verdict = 'accepted'")
        .dropDuplicates(["image_id"])
        .withColumn("nth", f.row_number().over(in_label))
        .where(f.col("nth") <= _PER_LABEL)
        .select("label", "thumbnail", "width", "height", "flags")
        .orderBy("label", "nth")
    )
    pictures: dict[str, list[Picture]] = {}
    for row in chosen.collect():
        caption = " · ".join([f"{row.width}×{row.height}", *row.flags])
        pictures.setdefault(row.label, []).append(Picture(bytes(row.thumbnail), "", caption))
    return pictures


def _rejected_examples(rows: DataFrame) -> list[RejectedExample]:
    in_reason = Window.partitionBy("reason")
    candidates = (
        rows.where("verdict = 'rejected'")
        .withColumn("count", f.count("*").over(in_reason))
        .withColumn("nth", f.row_number().over(in_reason.orderBy("bytes", "partition", "offset")))
        .where(f.col("nth") <= _CANDIDATES)
        .orderBy(f.desc("count"), "reason", "nth")
        .select("reason", "count", "detail", "payload", "label", "device", "bytes")
    )
    chosen: dict[str, RejectedExample] = {}
    for row in candidates.collect():
        example = _rejected_example(row)
        current = chosen.setdefault(row.reason, example)
        if current.picture.jpeg is None and example.picture.jpeg is not None:
            chosen[row.reason] = example
    return list(chosen.values())


def _rejected_example(row: Any) -> RejectedExample:
    shown = preview(None if row.payload is None else bytes(row.payload))
    caption = " · ".join(filter(None, (row.device, row.label, f"{row.bytes:,} bytes")))
    return RejectedExample(row.reason, row["count"], row.detail, Picture(shown.jpeg, shown.hexdump, caption))
