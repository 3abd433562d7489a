"""The follower that keeps `samples` and `labels` up to date with the ledger."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark import inheritable_thread_target
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from lake import transactions
from lake.label_hierarchy import Hierarchy
from lake.table import Table
from streaming.contract.verdict import Verdict
from streaming.follow.follower import FollowerContext, Write
from streaming.follow.label_counts import LabelCounts
from streaming.follow.samples import COLUMNS, Samples


def writer(context: FollowerContext) -> Write:
    """Make the function that writes each micro-batch."""
    settings = context.settings
    hierarchy = Hierarchy.read(settings.labels.file)
    labels = LabelCounts(settings, hierarchy)
    return SamplesFollower(Samples(settings, context.images), labels).write


@dataclass(frozen=True)
class SamplesFollower:
    """Updates both tables from one read of the ledger.

    Args:
        samples: writes one row per image.
        labels: counts the accepted uploads of each label.
    """

    samples: Samples
    labels: LabelCounts

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Write a micro-batch; idempotent."""
        spark, lake = uploads.sparkSession, self.samples.settings.lake
        with transactions.prefetch(spark, lake, Table.SAMPLES, Table.LABELS):
            self._update_tables(spark, uploads, batch)

    def _update_tables(self, spark: SparkSession, uploads: DataFrame, batch: int) -> None:
        accepted = uploads.where(f.col("verdict") == Verdict.ACCEPTED).select(*COLUMNS).toArrow()
        # Both commits run in parallel, since a commit mostly waits. The thread inherits Spark's local
        # properties, such as the id of the streaming query.
        add_labels = inheritable_thread_target(spark)(self.labels.add_uploads)
        with ThreadPoolExecutor(1) as pool:
            labels_written = pool.submit(add_labels, spark, accepted, batch)
            self.samples.add_uploads(spark, accepted, batch)
            labels_written.result()
