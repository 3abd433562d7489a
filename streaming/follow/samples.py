"""`samples`, one row per image, kept up to date with the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from delta.tables import DeltaTable
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema

from conf.sections import Lake
from lake import tables
from lake.schemas import LABEL_CONFLICT, SAMPLES, Table
from streaming.follow.image_index import ImageIndex
from streaming.ledger.ledger import query_id

# Columns of `uploads` that it reads; never pixels.
COLUMNS = [
    "verdict", "image_id", "label", "flags", "phash", "upload_id", "device", "user", "batch", "event_time",
    "topic", "partition", "offset",
]  # fmt: skip
_ARRIVAL = "event_time", "topic", "partition", "offset"
# What leaves the images of the table and their first labels as they are.
_HARMLESS = {"UPDATE", "MERGE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}


@dataclass(frozen=True)
class Samples:
    """Adds new images to `samples` and marks those that are claimed under two labels.

    Args:
        lake: whose table it is.
        index: of the images that have a sample, brought up to date by `index_of`.
    """

    lake: Lake
    index: ImageIndex

    def take(self, spark: SparkSession, accepted: pa.Table, batch: int) -> None:
        """Take in the accepted uploads of one batch; safe to call again with the same one.

        New images are appended and only disputed ones merged: a MERGE of all would read the whole table for
        each batch.

        Args:
            accepted: with the columns of `COLUMNS`.
        """
        firsts, claimed = _by_image(accepted)
        known = self.index.labels(firsts)
        fresh = {image_id: row for image_id, row in firsts.items() if image_id not in known}
        disputed = [
            image_id
            for image_id, label in known.items()
            if label is not None and claimed[image_id] != {label}
        ]
        if not disputed and not fresh:
            return
        if disputed:
            self._dispute(spark, disputed)
        labels = {image_id: _only(claimed[image_id]) for image_id in fresh}
        if fresh:
            rows = _samples(accepted.take(list(fresh.values())), [label is None for label in labels.values()])
            new = spark.createDataFrame(rows, SAMPLES).coalesce(1)
            tables.write_once(new, self.lake, Table.SAMPLES, f"samples-{query_id(spark)}", batch)
        self.index.add(tables.version(spark, self.lake, Table.SAMPLES), labels, disputed)

    def _dispute(self, spark: SparkSession, image_ids: list[str]) -> None:
        """Flag samples whose label is only claimed; what somebody has decided stays decided."""
        disputed = spark.createDataFrame([(image_id,) for image_id in image_ids], "image_id string")
        tables.retried(  # organizing writes samples, too
            lambda: (
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


def _by_image(uploads: pa.Table) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Images to the row of their first upload, the first to arrive first, and to the labels claimed."""
    order = pc.sort_indices(uploads, [(name, "ascending") for name in _ARRIVAL])
    arrived = uploads.select(["image_id", "label"]).take(order).to_pydict()
    firsts: dict[str, int] = {}
    claimed: dict[str, set[str]] = {}
    for image_id, label, row in zip(*arrived.values(), order.to_pylist(), strict=True):
        firsts.setdefault(image_id, row)
        claimed.setdefault(image_id, set()).add(label)
    return firsts, claimed


def _only(labels: set[str]) -> str | None:
    return next(iter(labels)) if len(labels) == 1 else None


def _samples(uploads: pa.Table, disputed: Sequence[bool]) -> pa.Table:
    """Rows of new images, with the fields of their first uploads. Columns stay Arrow's: objects take long."""
    schema = to_arrow_schema(SAMPLES, timezone="UTC")
    flags = uploads["flags"]
    if any(disputed):
        marked = zip(flags.to_pylist(), disputed, strict=True)
        flags = pa.array([(kept or []) + [LABEL_CONFLICT] * is_disputed for kept, is_disputed in marked])
    columns = {
        **{name: uploads[name] for name in schema.names if name in uploads.column_names},
        "label_source": pa.array(["claimed"] * len(uploads)),
        "flags": flags,
    }
    given = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(len(uploads), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(given, schema=schema)
