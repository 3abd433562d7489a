"""Keeps `labels`, the number of accepted uploads of each label, up to date with the ledger."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from conf.sections import Lake
from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.label_hierarchy import Hierarchy
from lake.label_recount import recount
from lake.schemas import LABELS
from lake.table import Table
from streaming.ledger.ledger import query_id


@dataclass(frozen=True)
class LabelCounts:
    """Writes the table `labels`.

    Args:
        lake: of the table.
        ready_images: accepted uploads from which a label is ready.
        hierarchy: parents and display names of labels.
    """

    lake: Lake
    ready_images: int
    hierarchy: Hierarchy

    def add_uploads(self, spark: SparkSession, accepted: Iterable[str], batch: int) -> None:
        """Add a micro-batch's uploads to the counts; Delta skips the commit of a batch committed before.

        The table is small and has no other writer during an ingestion, so it is overwritten: a MERGE of ten
        rows takes three times as long.

        Args:
            accepted: the label of each accepted upload.
        """
        counts = Counter(accepted)
        if not counts:
            return
        rows = {row.label: row.asDict() for row in tables.read(spark, self.lake, Table.LABELS).collect()}
        for label, count in counts.items():
            row = rows.setdefault(label, self._new_row(label))
            row["accepted"] = (row["accepted"] or 0) + count
            row["ready"] = row["accepted"] >= self.ready_images
        table = pa.Table.from_pylist(list(rows.values()), schema=to_arrow_schema(LABELS))
        frame = spark.createDataFrame(table, LABELS).coalesce(1)
        tables.write_once(frame, self.lake, Table.LABELS, f"labels-{query_id(spark)}", batch, "overwrite")

    def _new_row(self, label: str) -> dict[str, Any]:
        listed = self.hierarchy.labels.get(label)
        parent, name = (listed.parent, listed.display_name) if listed else (None, label)
        return {"label": label, "parent": parent, "display_name": name, "accepted": 0, "ready": False}


def recount_followed(spark: SparkSession, settings: Settings, followed: Column) -> None:
    """Reset the counts to those of the uploads that a new follower will not read; it adds the others.

    The rows are selected by offset, not by table version: Delta does not read versions older than a week.

    Raises:
        StorageError: the labels cannot be counted.
    """
    if tables.read(spark, settings.lake, Table.LABELS).isEmpty():
        return
    ledger = tables.read(spark, settings.lake, Table.UPLOADS)
    try:
        recount(spark, settings.lake, ledger.where(followed), settings.labels.ready_images)
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(f"cannot recount the labels: {tables.first_line(error)}") from None
