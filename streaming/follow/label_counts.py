"""`labels`, with the accepted uploads of each, kept up to date with the ledger."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from conf.sections import Lake
from lake import tables
from lake.label_hierarchy import Hierarchy
from lake.schemas import LABELS, Table
from streaming.ledger.ledger import query_id


@dataclass(frozen=True)
class LabelCounts:
    """Keeps `labels` up to date.

    Args:
        lake: whose table it is.
        ready_images: accepted uploads from which a label is ready.
        hierarchy: parents and display names of labels.
    """

    lake: Lake
    ready_images: int
    hierarchy: Hierarchy

    def take(self, spark: SparkSession, accepted: Iterable[str], batch: int) -> None:
        """Add the batch's uploads to the counts; Delta drops the commit of a batch that it has seen.

        The table is small and nobody else writes it during an ingestion, so it is written anew: a MERGE of
        ten rows takes three times as long.

        Args:
            accepted: the label of each accepted upload.
        """
        counted = Counter(accepted)
        if not counted:
            return
        rows = {row.label: row.asDict() for row in tables.read(spark, self.lake, Table.LABELS).collect()}
        for label, count in counted.items():
            row = rows.setdefault(label, self._new(label))
            row["accepted"] = (row["accepted"] or 0) + count
            row["ready"] = row["accepted"] >= self.ready_images
        table = pa.Table.from_pylist(list(rows.values()), schema=to_arrow_schema(LABELS))
        counts = spark.createDataFrame(table, LABELS).coalesce(1)
        tables.write_once(counts, self.lake, Table.LABELS, f"labels-{query_id(spark)}", batch, "overwrite")

    def _new(self, label: str) -> dict[str, Any]:
        known = self.hierarchy.labels.get(label)
        parent, name = (known.parent, known.display_name) if known else (None, label)
        return {"label": label, "parent": parent, "display_name": name, "accepted": 0, "ready": False}
