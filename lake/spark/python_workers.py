"""Garbage collection (gc) in the Python workers of Spark."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def freeze_gc() -> None:
    """Exclude all objects that exist now from garbage collections; Spark runs one after each task.

    Modules and their classes are never garbage, but scanning them took 43 ms a task
    (docs/measurements/micro-batch-latency.md).
    """
    gc.collect()
    gc.freeze()


@contextmanager
def gc_after_batch() -> Iterator[None]:
    """Collect garbage after an Arrow batch, not during it, when its rows (thousands of objects) are in use.

    The first batch loads all modules that later ones need; once frozen, almost nothing is left to scan.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        freeze_gc()
        gc.collect()
