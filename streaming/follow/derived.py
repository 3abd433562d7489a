"""The query that follows the ledger with what is derived from it: samples and labels."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark import inheritable_thread_target
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from lake import tables
from lake.schemas import Table
from streaming.contract.verdict import Verdict
from streaming.follow.label_counts import LabelCounts
from streaming.follow.samples import COLUMNS, Samples


@dataclass(frozen=True)
class SamplesFollower:
    """Takes in batches of the ledger; one query and one reading for both tables.

    Args:
        samples: one row per image.
        labels: with the accepted uploads of each.
    """

    samples: Samples
    labels: LabelCounts

    def write(self, uploads: DataFrame, batch: int) -> None:
        """Take in one batch; safe to call again with the same one."""
        with tables.ready(uploads.sparkSession, self.samples.lake, Table.SAMPLES, Table.LABELS):
            self._take(uploads, batch)

    def _take(self, uploads: DataFrame, batch: int) -> None:
        spark = uploads.sparkSession
        accepted = uploads.where(f.col("verdict") == Verdict.ACCEPTED).select(*COLUMNS).toArrow()
        labels = accepted["label"].to_pylist()
        # A commit is mostly waiting, so the two go side by side; the thread inherits what query it is for.
        count = inheritable_thread_target(spark)(self.labels.take)
        with ThreadPoolExecutor(1) as pool:
            counted = pool.submit(count, spark, labels, batch)
            self.samples.take(spark, accepted, batch)
            counted.result()
