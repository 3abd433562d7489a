"""Keeps `samples`, one row per image, up to date with the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from delta.tables import DeltaTable
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.locks import commit_lease
from lake.schemas import LABEL_CONFLICT, SAMPLES
from lake.table import Table
from streaming.follow.follower import ARRIVAL_ORDER
from streaming.follow.image_index import ImageIndex
from streaming.ledger.ledger import query_id

# Columns of `uploads` that this follower reads; never pixels.
COLUMNS = [
    "verdict", "image_id", "label", "label_name", "flags", "phash", "upload_id", "device", "user", "batch",
    *ARRIVAL_ORDER,
]  # fmt: skip
# Delta operations that change no image ids and no claimed labels, if they insert and delete no rows.
_NEUTRAL_OPERATIONS = {"UPDATE", "MERGE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}


@dataclass(frozen=True)
class Samples:
    """Adds new images to `samples`, and flags images that were uploaded with two labels.

    Args:
        settings: of the hub.
        index: of the images that have a sample, up to date (see `update_index`).
    """

    settings: Settings
    index: ImageIndex

    def add_uploads(self, spark: SparkSession, accepted: pa.Table, batch: int) -> None:
        """Add the accepted uploads of one micro-batch; idempotent.

        New images are appended, and only those with a label conflict merged: a MERGE of all images would read
        the whole table for each batch.

        Args:
            accepted: with the columns of `COLUMNS`.
        """
        first_rows, claimed = _by_image(accepted)
        known = self.index.labels(first_rows)
        new_rows = {image_id: row for image_id, row in first_rows.items() if image_id not in known}
        conflicting = [
            image_id
            for image_id, label in known.items()
            if label is not None and claimed[image_id] != {label}
        ]
        if not conflicting and not new_rows:
            return
        labels = {image_id: _single_label(claimed[image_id]) for image_id in new_rows}
        if new_rows:
            has_conflict = [label is None for label in labels.values()]
            rows = _sample_rows(accepted.take(list(new_rows.values())), has_conflict)
            new = spark.createDataFrame(rows, SAMPLES).coalesce(1)
        lake = self.settings.lake
        with commit_lease.held(self.settings, Table.SAMPLES):
            if conflicting:
                self._flag_conflicts(spark, conflicting)
            if new_rows:
                tables.write_once(new, lake, Table.SAMPLES, f"samples-{query_id(spark)}", batch)
        self.index.add(tables.version(spark, lake, Table.SAMPLES), labels, conflicting)

    def _flag_conflicts(self, spark: SparkSession, image_ids: list[str]) -> None:
        """Flag samples with a label conflict; reviewed labels (checked or corrected) are skipped."""
        conflicting = spark.createDataFrame([(image_id,) for image_id in image_ids], "image_id string")
        tables.retry_on_conflict(  # `hub organize` writes samples, too
            lambda: (
                DeltaTable.forPath(spark, self.settings.lake.at(Table.SAMPLES))
                .alias("old")
                .merge(f.broadcast(conflicting).alias("new"), "old.image_id = new.image_id")
                .whenMatchedUpdate(
                    condition="old.label_source = 'claimed' "
                    f"AND NOT array_contains(old.flags, '{LABEL_CONFLICT}')",
                    set={"flags": f"array_union(old.flags, array('{LABEL_CONFLICT}'))"},
                )
                .execute()
            )
        )


def update_index(spark: SparkSession, lake: Lake, index: ImageIndex) -> ImageIndex:
    """Rebuild the index if it is outdated: after a crash, after an erasure, or on a new machine."""
    version = tables.version(spark, lake, Table.SAMPLES)
    if index.version() < 0 or not _is_unchanged_since(spark, lake, index.version(), version):
        samples = tables.read(spark, lake, Table.SAMPLES, version)
        label = f.when(~f.array_contains("flags", LABEL_CONFLICT), f.col("label"))
        index.replace(version, samples.select("image_id", label).toLocalIterator())
    return index


def _is_unchanged_since(spark: SparkSession, lake: Lake, indexed: int, version: int) -> bool:
    """Whether no commit after the indexed version changed image ids or claimed labels."""
    if indexed == version:
        return True
    history = DeltaTable.forPath(spark, lake.at(Table.SAMPLES)).history(max(1, version - indexed)).collect()
    return version - indexed == len(history) and all(_is_neutral(row) for row in history)


def _is_neutral(commit: Row) -> bool:
    counts = [commit.operationMetrics.get(f"numTargetRows{what}", "0") for what in ("Inserted", "Deleted")]
    return commit.operation in _NEUTRAL_OPERATIONS and counts == ["0", "0"]


def _by_image(uploads: pa.Table) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Image ids to the row number of their first upload, in order of arrival, and to all their labels."""
    order = pc.sort_indices(uploads, [(name, "ascending") for name in ARRIVAL_ORDER])
    ordered = uploads.select(["image_id", "label"]).take(order).to_pydict()
    first_rows: dict[str, int] = {}
    claimed: dict[str, set[str]] = {}
    for image_id, label, row in zip(*ordered.values(), order.to_pylist(), strict=True):
        first_rows.setdefault(image_id, row)
        claimed.setdefault(image_id, set()).add(label)
    return first_rows, claimed


def _single_label(labels: set[str]) -> str | None:
    return next(iter(labels)) if len(labels) == 1 else None


def _sample_rows(uploads: pa.Table, has_conflict: Sequence[bool]) -> pa.Table:
    """Rows of new images, from their first uploads. Stays in Arrow: Python objects would take long."""
    schema = to_arrow_schema(SAMPLES, timezone="UTC")
    flags = uploads["flags"]
    if any(has_conflict):
        pairs = zip(flags.to_pylist(), has_conflict, strict=True)
        flags = pa.array([(own or []) + [LABEL_CONFLICT] * conflict for own, conflict in pairs])
    columns = {
        **{name: uploads[name] for name in schema.names if name in uploads.column_names},
        "label_source": pa.array(["claimed"] * len(uploads)),
        "flags": flags,
    }
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(len(uploads), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
