"""Lakes with uploads and samples, written without Kafka."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from conf.settings import Settings
from lake import tables
from lake.pictures.pixels import encode_jpeg
from lake.table import Table
from tests.support.media import scenes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LABELS = ("cat", "dog", "owl")
_START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def image_id(number: int) -> str:
    return hashlib.sha256(f"picture {number}".encode()).hexdigest()


def picture(number: int) -> bytes:
    """The stored picture of a number; from 30 on, the mirror image of an earlier one."""
    rgb = scenes.scene(number % 30, 60, 48)
    return encode_jpeg(rgb if number < 30 else scenes.mirrored(rgb), 90)


def add_uploads(spark: "SparkSession", own: Settings, numbers: Iterable[int]) -> None:
    """One commit to the ledger: an accepted upload of a picture of its own for each number."""
    rows: list[tuple[object, ...]] = [
        ("images", 0, number, f"u{number}", f"user-{number % 3}", f"phone-{number % 5}", "tests",
         LABELS[number % 3], "accepted", image_id(number), number * 2**40, [],
         _START + timedelta(seconds=number), picture(number))
        for number in numbers
    ]  # fmt: skip
    schema = (
        "topic string, partition int, offset long, upload_id string, user string, device string, "
        "batch string, label string, verdict string, image_id string, phash long, flags array<string>, "
        "event_time timestamp, jpeg binary"
    )
    frame = spark.createDataFrame(rows, schema).coalesce(1)
    frame.write.format("delta").mode("append").save(own.lake.at(Table.UPLOADS))


def add_samples(spark: "SparkSession", own: Settings, numbers: Sequence[int]) -> None:
    """The samples of these uploads, as the follower of an ingestion adds them."""
    uploads = tables.read(spark, own.lake, Table.UPLOADS)
    wanted = uploads.where(uploads.upload_id.isin([f"u{number}" for number in numbers]))
    rows = wanted.selectExpr(
        "image_id", "label", "'claimed' AS label_source", "flags", "phash", "upload_id", "device", "user",
        "batch", "event_time",
    )  # fmt: skip
    rows.coalesce(1).write.format("delta").mode("append").save(own.lake.at(Table.SAMPLES))
