"""The processor cores that this process may use: those of its Spark task, or all of an ordinary process."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
_END = object()


@cache
def task_cores() -> int:
    """Cores of the Spark task (`spark.task.cpus`) if this process runs one, otherwise all that it may use."""
    if pyspark := sys.modules.get("pyspark"):
        task = pyspark.TaskContext.get()
        if task is not None:
            return int(task.cpus())
    return len(os.sched_getaffinity(0))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "hub-decode")


def ahead(items: Iterable[Made]) -> Iterator[Made]:
    """Yield items; on several cores the next one is made in a thread while this one is in use."""
    if task_cores() == 1:
        yield from items
        return
    iterator = iter(items)
    with ThreadPoolExecutor(1, "hub-ahead") as thread:
        following = thread.submit(next, iterator, _END)
        while (item := following.result()) is not _END:
            following = thread.submit(next, iterator, _END)
            yield item  # type: ignore[misc]  # not the end


def spread(work: Callable[[Given], Made], values: Iterable[Given]) -> Iterator[Made]:
    """Apply a function to values in threads, one for each core; results are in the order of the values.

    Decoders release Python's interpreter lock, so pictures are decoded in parallel.
    """
    cores = task_cores()
    return map(work, values) if cores == 1 else _threads(cores).map(work, values)
