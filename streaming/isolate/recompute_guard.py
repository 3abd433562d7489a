"""Guard against recomputed verdicts: Spark may not silently recompute a lost partition of verified pictures.

Spark recomputes a cached partition that was lost with its executor. A picture that had timed out, or whose
object store was unavailable, may then get another verdict, after the driver has already found the duplicates.
The task fails instead, and the ledger verifies the micro-batch again as a whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import TaskContext
from pyspark.sql import SparkSession

_PROPERTY = "hub.judged"


class RecomputedPartition(Exception):
    """A partition of a micro-batch was lost with its executor."""


@contextmanager
def recompute_refused(spark: SparkSession) -> Iterator[None]:
    """Make every task fail that verifies pictures for a job of this block and thread."""
    context = spark.sparkContext
    context.setLocalProperty(_PROPERTY, "yes")
    try:
        yield
    finally:
        context.setLocalProperty(_PROPERTY, None)  # type: ignore[arg-type]  # None removes the property


def refuse_recompute() -> None:
    """Called in a task before it verifies pictures.

    Raises:
        RecomputedPartition: the task belongs to a job inside `recompute_refused`.
    """
    task = TaskContext.get()
    if task is not None and task.getLocalProperty(_PROPERTY):
        raise RecomputedPartition


def was_recomputed(error: BaseException) -> bool:
    """Whether a job failed with `RecomputedPartition`."""
    return f"{RecomputedPartition.__module__}.{RecomputedPartition.__name__}" in str(error)
