"""Lakes for tests of groups: uploads and samples of scenes, without Kafka."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from pyspark.sql import DataFrame, SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.pictures.pixels import encode_jpeg
from lake.table import Table
from organize.duplicates.grouping import Grouping, opened_store
from streaming.verify.phash import phash
from tests.support.media.scenes import RGB

_SCHEMA = (
    "image_id string, upload_id string, label string, user string, phash long, width int, height int, "
    "jpeg binary"
)


@dataclass(frozen=True)
class Picture:
    """A picture with the columns that grouping reads."""

    rgb: RGB
    user: str = "u1"

    @property
    def image_id(self) -> str:
        return hashlib.sha256(self.rgb.tobytes() + str(self.rgb.shape).encode()).hexdigest()

    def row(self) -> tuple[object, ...]:
        height, width = self.rgb.shape[:2]
        name, gray = self.image_id, cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)
        return (
            name,
            f"upload-{name[:8]}",
            "scene",
            self.user,
            phash(gray),
            width,
            height,
            encode_jpeg(self.rgb, 90),
        )


def new_lake(spark: SparkSession, settings: Settings, folder: Path) -> Settings:
    """Settings of a lake with empty tables, and of a folder for its local index."""
    organize = settings.organize.model_copy(update={"index_dir": folder / "index"})
    own = settings.model_copy(update={"lake": Lake(root=str(folder / "lake")), "organize": organize})
    tables.create(spark, own.lake)
    return own


def add(spark: SparkSession, own: Settings, pictures: Iterable[Picture]) -> DataFrame:
    """Write uploads and samples of pictures, as an ingestion does; the images for `Grouping.group`."""
    rows = spark.createDataFrame([picture.row() for picture in pictures], _SCHEMA)
    uploads = rows.selectExpr(
        "*", "'accepted' AS verdict", "CAST(array() AS array<string>) AS flags", "0L AS ingest_batch",
        "timestamp'2026-01-01' AS event_time", "'images' AS topic", "0 AS partition", "0L AS offset",
    )  # fmt: skip
    uploads.write.format("delta").mode("append").save(own.lake.at(Table.UPLOADS))
    samples = uploads.select("image_id", "upload_id", "label", "user", "phash", "flags", "event_time")
    samples.selectExpr("*", "'claimed' AS label_source").write.format("delta").mode("append").save(
        own.lake.at(Table.SAMPLES)
    )
    return rows


def group(spark: SparkSession, own: Settings, images: DataFrame, known: Sequence[str]) -> int:
    """Group images; each known image is a neighbour of each: in a small lake nothing is far away."""
    with opened_store(spark, own) as store:
        return Grouping(spark, own, store).group(images, lambda ids: dict.fromkeys(ids, known))


def partition_of(spark: SparkSession, own: Settings, image_ids: Collection[str]) -> set[frozenset[str]]:
    """The groups of images in `samples`, as sets of images."""
    groups: dict[str, set[str]] = {}
    for row in tables.read(spark, own.lake, Table.SAMPLES).collect():
        if row.image_id in image_ids:
            groups.setdefault(row.duplicate_group, set()).add(row.image_id)
    return {frozenset(images) for images in groups.values()}
