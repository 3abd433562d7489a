"""`samples`, one row per image, kept up to date with the ledger."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Lake
from lake import tables
from lake.schemas import LABEL_CONFLICT, SAMPLES, Table
from streaming.images import ImageIndex
from streaming.ledger import query_id

# Columns of `uploads` that it reads; never pixels.
COLUMNS = [
    "verdict", "image_id", "label", "flags", "phash", "upload_id", "device", "user", "batch", "event_time",
    "topic", "partition", "offset",
]  # fmt: skip
_ARRIVAL = "event_time", "topic", "partition", "offset"
# What leaves the images of the table and their first labels as they are.
_HARMLESS = {"UPDATE", "MERGE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}

Fields = dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """Adds new images to `samples` and marks those that are claimed under two labels.

    Args:
        lake: whose table it is.
        index: of the images that have a sample, brought up to date by `index_of`.
    """

    lake: Lake
    index: ImageIndex

    def take(self, spark: SparkSession, accepted: list[Fields], batch: int) -> None:
        """Take in the accepted uploads of one batch; safe to call again with the same one.

        New images are appended and only disputed ones merged: a MERGE of all would read the whole table for
        each batch.

        Args:
            accepted: with the columns of `COLUMNS`.
        """
        images = _by_image(accepted)
        known = self.index.labels(images)
        fresh = {image_id: _sample(claims) for image_id, claims in images.items() if image_id not in known}
        disputed = [
            image_id
            for image_id, label in known.items()
            if label is not None and any(claim["label"] != label for claim in images[image_id])
        ]
        if not disputed and not fresh:
            return
        if disputed:
            self._dispute(spark, disputed)
        if fresh:
            self._append(spark, list(fresh.values()), batch)
        labels = {image_id: _undisputed(sample) for image_id, sample in fresh.items()}
        self.index.add(tables.version(spark, self.lake, Table.SAMPLES), labels, disputed)

    def _append(self, spark: SparkSession, samples: list[Fields], batch: int) -> None:
        rows = pa.Table.from_pylist(samples, schema=to_arrow_schema(SAMPLES, timezone="UTC"))
        new = spark.createDataFrame(rows, SAMPLES).coalesce(1)
        tables.write_once(new, self.lake, Table.SAMPLES, f"samples-{query_id(spark)}", batch)

    def _dispute(self, spark: SparkSession, image_ids: list[str]) -> None:
        """Flag samples whose label is only claimed; what somebody has decided stays decided."""
        disputed = spark.createDataFrame([(image_id,) for image_id in image_ids], "image_id string")
        (
            DeltaTable.forPath(spark, self.lake.at(Table.SAMPLES))
            .alias("old")
            .merge(f.broadcast(disputed).alias("new"), "old.image_id = new.image_id")
            .whenMatchedUpdate(
                condition="old.label_source = 'claimed' "
                f"AND NOT array_contains(old.flags, '{LABEL_CONFLICT}')",
                set={"flags": f"array_union(old.flags, array('{LABEL_CONFLICT}'))"},
            )
            .execute()
        )


def index_of(spark: SparkSession, lake: Lake, index: ImageIndex) -> ImageIndex:
    """Bring an index up to date with the table: after a crash, an erasure, or on a new machine."""
    version = tables.version(spark, lake, Table.SAMPLES)
    if index.version() < 0 or not _only_harmless_since(spark, lake, index.version(), version):
        samples = tables.read(spark, lake, Table.SAMPLES, version)
        label = f.when(~f.array_contains("flags", LABEL_CONFLICT), f.col("label"))
        index.replace(version, samples.select("image_id", label).toLocalIterator())
    return index


def _only_harmless_since(spark: SparkSession, lake: Lake, known: int, version: int) -> bool:
    if known == version:
        return True
    history = DeltaTable.forPath(spark, lake.at(Table.SAMPLES)).history(max(1, version - known)).collect()
    return version - known == len(history) and all(_is_harmless(row) for row in history)


def _is_harmless(commit: Row) -> bool:
    moved = [commit.operationMetrics.get(f"numTargetRows{what}", "0") for what in ("Inserted", "Deleted")]
    return commit.operation in _HARMLESS and moved == ["0", "0"]


def _by_image(uploads: Iterable[Fields]) -> dict[str, list[Fields]]:
    """Uploads of each image, the first to arrive first."""
    images: dict[str, list[Fields]] = {}
    for upload in sorted(uploads, key=lambda upload: tuple(upload[name] for name in _ARRIVAL)):
        images.setdefault(upload["image_id"], []).append(upload)
    return images


def _sample(claims: list[Fields]) -> Fields:
    """The row of a new image; the fields of its first upload."""
    first = claims[0]
    disputed = any(claim["label"] != first["label"] for claim in claims)
    sample = {name: first.get(name) for name in SAMPLES.names}
    return sample | {"label_source": "claimed", "flags": first["flags"] + [LABEL_CONFLICT] * disputed}


def _undisputed(sample: Fields) -> str | None:
    return None if LABEL_CONFLICT in sample["flags"] else sample["label"]
