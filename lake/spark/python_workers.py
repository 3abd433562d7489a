"""Garbage collection in the Python workers of Spark."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def freeze_gc() -> None:
    """Keep what is loaded so far out of garbage collections, of which Spark makes one after each task.

    Modules and their classes stay anyway; looking through them took 43 ms a task (docs/decisions/008).
    """
    gc.collect()
    gc.freeze()


@contextmanager
def gc_after_batch() -> Iterator[None]:
    """Collect garbage behind an Arrow batch, not while its rows, thousands of objects, are all in use.

    The first batch loads what all others need; from then on next to nothing is left to look through.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        freeze_gc()
        gc.collect()
