"""What a Python worker of Spark does once for all of its tasks."""

import gc
from functools import cache


@cache
def settle() -> None:
    """Keep what is loaded so far out of garbage collections, of which Spark makes one after each task.

    Modules and their classes stay anyway; looking through them took 43 ms a task (docs/decisions/008).
    """
    gc.collect()
    gc.freeze()
