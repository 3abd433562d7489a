"""Keeps `labels`, the number of accepted uploads of each label and its name, up to date with the ledger."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from conf.settings import Settings
from lake import tables
from lake.errors import StorageError
from lake.label_hierarchy import Hierarchy
from lake.label_recount import recount
from lake.locks import commit_lease
from lake.schemas import LABELS
from lake.table import Table
from streaming.follow.follower import ARRIVAL_ORDER
from streaming.ledger.ledger import query_id


@dataclass(frozen=True)
class LabelCounts:
    """Writes the table `labels`.

    Args:
        settings: of the hub; a label is ready from `labels.ready_images` accepted uploads.
        hierarchy: parents and display names of labels; a label that it does not list is called as it was
            first written.
    """

    settings: Settings
    hierarchy: Hierarchy

    def add_uploads(self, spark: SparkSession, accepted: pa.Table, batch: int) -> None:
        """Add a micro-batch's uploads to the counts; Delta skips the commit of a batch committed before.

        The table is small, so it is overwritten: a MERGE of ten rows takes three times as long. Meanwhile
        nobody may place a label in it.

        Args:
            accepted: the accepted uploads, with label, label_name and the columns of `ARRIVAL_ORDER`.
        """
        counts = Counter(accepted["label"].to_pylist())
        if not counts:
            return
        with commit_lease.held_alone(self.settings, Table.LABELS):
            self._write(spark, counts, _first_names(accepted), batch)

    def _write(self, spark: SparkSession, counts: Counter[str], names: dict[str, str], batch: int) -> None:
        lake = self.settings.lake
        rows = {row.label: row.asDict() for row in tables.read(spark, lake, Table.LABELS).collect()}
        for label, count in counts.items():
            row = rows.setdefault(label, {"label": label, "display_name": label, "accepted": 0})
            if listed := self.hierarchy.labels.get(label):
                row |= {"parent": listed.parent, "display_name": listed.display_name}
            elif row["display_name"] in {label, None}:
                row["display_name"] = names.get(label, label)
            row["accepted"] = (row["accepted"] or 0) + count
            row["ready"] = row["accepted"] >= self.settings.labels.ready_images
        table = pa.Table.from_pylist(list(rows.values()), schema=to_arrow_schema(LABELS))
        frame = spark.createDataFrame(table, LABELS).coalesce(1)
        tables.write_once(frame, lake, Table.LABELS, f"labels-{query_id(spark)}", batch, "overwrite")


def _first_names(uploads: pa.Table) -> dict[str, str]:
    """Label to the first name, in order of arrival, that says more than the slug (as in `recount`)."""
    longer = uploads.filter(pc.not_equal(uploads["label_name"], uploads["label"]))  # null compares as false
    order = pc.sort_indices(longer, [(name, "descending") for name in ARRIVAL_ORDER])
    newest_first = longer.select(["label", "label_name"]).take(order).to_pydict()
    return dict(zip(newest_first["label"], newest_first["label_name"], strict=True))


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
        recount(spark, settings, ledger.where(followed))
    except (PySparkException, Py4JJavaError) as error:
        raise StorageError(f"cannot recount the labels: {tables.first_line(error)}") from None
