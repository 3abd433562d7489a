"""The report of one run from push to model: an HTML page that needs nothing but itself."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from conf.sections import Lake
from lake import tables
from lake.schemas import Table
from lake.snapshot import Split
from organize.dataset import Organized
from web.specimen import specimen

_PER_LABEL = 8
_MISTAKES = 24
_CANDIDATES = 4  # of each reason; the first that can be shown as a picture is


@dataclass(frozen=True)
class Picture:
    """A picture on the page: JPEG bytes or, failing that, a hex dump, and a line below it."""

    jpeg: bytes | None
    hexdump: str
    caption: str


@dataclass(frozen=True)
class Refusal:
    """One rejected upload of a reason, and how many there were."""

    reason: str
    count: int
    detail: str
    picture: Picture


@dataclass(frozen=True)
class Uploads:
    """What the ledger says of a batch of uploads.

    Args:
        batch: its name.
        submitted, accepted, rejected: uploads.
        samples: label to some accepted pictures of it.
        refusals: one for each reason, most frequent first.
        flags: quality flag to accepted uploads that carry it.
    """

    batch: str
    submitted: int
    accepted: int
    rejected: int
    samples: dict[str, list[Picture]]
    refusals: list[Refusal]
    flags: dict[str, int]


@dataclass(frozen=True)
class Training:
    """What the page shows of a model.

    Args:
        model_id, architecture: of the model.
        workers, epochs: of the training run.
        seconds: it took.
        test_accuracy: share of the test split; None where that was empty.
        curves, confusion: PNG bytes.
        mistakes: misclassified test images.
    """

    model_id: str
    architecture: str
    workers: int
    epochs: int
    seconds: float
    test_accuracy: float | None
    curves: bytes
    confusion: bytes
    mistakes: list[Picture]


def uploads_of(spark: SparkSession, lake: Lake, batch: str) -> Uploads:
    """Read what the page shows of a batch from the ledger."""
    rows = tables.read(spark, lake, Table.UPLOADS).where(f.col("batch") == batch)
    rows = rows.unionByName(_nameless(spark, lake, rows))
    counts = {row.verdict: row["count"] for row in rows.groupBy("verdict").count().collect()}
    flagged = rows.where("verdict = 'accepted'").select(f.explode("flags").alias("flag"))
    return Uploads(
        batch=batch,
        submitted=sum(counts.values()),
        accepted=counts.get("accepted", 0),
        rejected=counts.get("rejected", 0),
        samples=_samples(rows),
        refusals=_refusals(rows),
        flags={row.flag: row["count"] for row in flagged.groupBy("flag").count().orderBy("flag").collect()},
    )


def thumbnails_of(spark: SparkSession, lake: Lake, image_ids: Sequence[str]) -> dict[str, bytes]:
    """Thumbnails of images by their ids."""
    uploads = tables.read(spark, lake, Table.UPLOADS).where("verdict = 'accepted'")
    wanted = uploads.where(f.col("image_id").isin(list(image_ids))).dropDuplicates(["image_id"])
    return {row.image_id: bytes(row.thumbnail) for row in wanted.select("image_id", "thumbnail").collect()}


def mistakes_of(
    spark: SparkSession, lake: Lake, mistakes: Sequence[tuple[str, str, str, float]]
) -> list[Picture]:
    """Pictures of the surest mistakes.

    Args:
        mistakes: image_id, true label, predicted label and its probability, the surest first.
    """
    shown = mistakes[:_MISTAKES]
    thumbnails = thumbnails_of(spark, lake, [image_id for image_id, *_ in shown])
    return [
        Picture(thumbnails.get(image_id), "", f"{true}, called {predicted} ({probability:.0%})")
        for image_id, true, predicted, probability in shown
    ]


def render(uploads: Uploads, organized: Organized, training: Training | None) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("web"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html").render(
        uploads=uploads,
        organized=organized,
        splits=[split.value for split in Split],
        training=training,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _nameless(spark: SparkSession, lake: Lake, rows: DataFrame) -> DataFrame:
    """Uploads without a batch header that lie between those of the batch: the most broken ones."""
    bounds = rows.groupBy("topic", "partition").agg(
        f.min("offset").alias("first"), f.max("offset").alias("last")
    )
    whole = tables.read(spark, lake, Table.UPLOADS).where("batch IS NULL")
    between = whole.join(f.broadcast(bounds), ["topic", "partition"]).where("offset BETWEEN first AND last")
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
    found: dict[str, list[Picture]] = {}
    for row in chosen.collect():
        caption = " · ".join([f"{row.width}×{row.height}", *row.flags])
        found.setdefault(row.label, []).append(Picture(bytes(row.thumbnail), "", caption))
    return found


def _refusals(rows: DataFrame) -> list[Refusal]:
    in_reason = Window.partitionBy("reason")
    candidates = (
        rows.where("verdict = 'rejected'")
        .withColumn("count", f.count("*").over(in_reason))
        .withColumn("nth", f.row_number().over(in_reason.orderBy("bytes", "partition", "offset")))
        .where(f.col("nth") <= _CANDIDATES)
        .orderBy(f.desc("count"), "reason", "nth")
        .select("reason", "count", "detail", "payload", "label", "device", "bytes")
    )
    chosen: dict[str, Refusal] = {}
    for row in candidates.collect():
        refusal = _refusal(row)
        known = chosen.setdefault(row.reason, refusal)
        if known.picture.jpeg is None and refusal.picture.jpeg is not None:
            chosen[row.reason] = refusal
    return list(chosen.values())


def _refusal(row: Any) -> Refusal:
    found = specimen(None if row.payload is None else bytes(row.payload))
    said = " · ".join(filter(None, (row.device, row.label, f"{row.bytes:,} bytes")))
    return Refusal(row.reason, row["count"], row.detail, Picture(found.jpeg, found.hexdump, said))


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
