"""Judging a picture once: what was judged and then lost is told, not judged anew.

Spark makes lost partitions of a cache again, silently. A picture that the decoder had no time for, or whose
store was away, may come out otherwise then, after the driver has decided what repeats what.
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
    """Let no task of a job in this block, on this thread, judge pictures."""
    context = spark.sparkContext
    context.setLocalProperty(_PROPERTY, "yes")
    try:
        yield
    finally:
        context.setLocalProperty(_PROPERTY, None)  # type: ignore[arg-type]  # this is how one is removed


def refuse_recompute() -> None:
    """In a task, before it judges.

    Raises:
        JudgedAgain: it is one of a job within `judging_refused`.
    """
    task = TaskContext.get()
    if task is not None and task.getLocalProperty(_PROPERTY):
        raise RecomputedPartition


def was_recomputed(error: BaseException) -> bool:
    """Whether a job failed because a task would have judged again."""
    return f"{RecomputedPartition.__module__}.{RecomputedPartition.__name__}" in str(error)
