"""A picture on the page, and the thumbnails of accepted images."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from conf.sections import Lake
from lake import tables
from lake.table import Table


@dataclass(frozen=True)
class Picture:
    """A picture on the page with its caption: JPEG bytes, or else a hex dump."""

    jpeg: bytes | None
    hexdump: str
    caption: str


def load_thumbnails(spark: SparkSession, lake: Lake, image_ids: Sequence[str]) -> dict[str, bytes]:
    """Read the thumbnails of images; image id to JPEG bytes."""
    uploads = tables.read_complete(spark, lake, Table.UPLOADS).where("verdict = 'accepted'")
    wanted = uploads.where(f.col("image_id").isin(list(image_ids))).dropDuplicates(["image_id"])
    return {row.image_id: bytes(row.thumbnail) for row in wanted.select("image_id", "thumbnail").collect()}
