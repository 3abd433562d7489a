"""Lakes for tests of groups: uploads and samples of scenes, written without Spark."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from pyspark.sql import SparkSession

from conf.sections import Lake
from conf.settings import Settings
from lake import row_writer
from lake.pictures.pixels import encode_jpeg
from lake.table import Table
from organize.chunk import SampleChanges
from organize.duplicates.grouping import Grouping, opened_store
from organize.duplicates.prints import with_prints
from organize.features.description import describe_here
from streaming.verify.phash import phash
from tests.support.media.scenes import RGB
from tests.web import lakes

_COLUMNS = ("image_id", "phash", "width", "height", "jpeg")  # that grouping reads
_CREATED = (Table.EMBEDDINGS, Table.DUPLICATE_PAIRS, Table.GROUPS, Table.GROUP_MERGES)


@dataclass(frozen=True)
class Picture:
    """A picture that is uploaded."""

    rgb: RGB

    @property
    def image_id(self) -> str:
        return hashlib.sha256(self.rgb.tobytes() + str(self.rgb.shape).encode()).hexdigest()

    def row(self) -> dict[str, Any]:
        """The row in the ledger."""
        height, width = self.rgb.shape[:2]
        gray = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)
        return lakes.upload_row(
            0, image_id=self.image_id, upload_id=self.image_id[:8], flags=[], width=width, height=height,
            phash=phash(gray), jpeg=encode_jpeg(self.rgb, 90),
        )  # fmt: skip


def new_lake(settings: Settings, folder: Path) -> Settings:
    """Settings of a lake with empty tables, and of a folder for its local index."""
    organize = settings.organize.model_copy(update={"index_dir": folder / "index"})
    own = settings.model_copy(update={"lake": Lake(root=str(folder / "lake")), "organize": organize})
    for table in _CREATED:
        lakes.append(own, table, [])
    return own


def add(own: Settings, pictures: Sequence[Picture]) -> pa.Table:
    """Write uploads and samples of pictures, as an ingestion does; the images for `Grouping.group`."""
    rows = [picture.row() for picture in pictures]
    lakes.append(own, Table.UPLOADS, rows)
    lakes.append(own, Table.SAMPLES, [row | {"label_source": "claimed"} for row in rows])
    batch = pa.RecordBatch.from_pylist([{name: row[name] for name in _COLUMNS} for row in rows])
    return describe_here(pa.Table.from_batches([batch]), [with_prints])


def group(spark: SparkSession, own: Settings, images: pa.Table, known: Sequence[str]) -> int:
    """Group images; each known image is a neighbour of each: in a small lake nothing is far away."""
    changes = SampleChanges(own)
    with opened_store(spark, own) as store:
        grouped = Grouping(spark, own, store, changes).group(images, lambda ids: dict.fromkeys(ids, known))
    changes.write()
    return grouped


def partition_of(own: Settings, image_ids: Collection[str]) -> set[frozenset[str]]:
    """The groups of images in `samples`, as sets of images."""
    groups: dict[str, set[str]] = {}
    for row in row_writer.read(own, Table.SAMPLES, ["image_id", "duplicate_group"]):
        if row["image_id"] in image_ids:
            groups.setdefault(row["duplicate_group"], set()).add(row["image_id"])
    return {frozenset(images) for images in groups.values()}
