"""Import modules and prefetch libraries in the background, before the process needs them."""

import importlib
import os
import threading
from contextlib import suppress
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def import_in_background(module: str) -> threading.Thread:
    """Import a module in the background that imports slowly and is needed later."""
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    return thread


def prefetch_libraries() -> threading.Thread:
    """Load this process's shared libraries into the page cache, in the background (`posix_fadvise`).

    A training uses some code only at its end (TFLite's converter, plots). By then the system may have evicted
    these pages from the page cache and would read them again page by page while people wait for the results.
    Does nothing where the system has no `posix_fadvise`.
    """
    thread = threading.Thread(target=_read_ahead, name="hub-libraries", daemon=True)
    thread.start()
    return thread


def _read_ahead() -> None:
    if not hasattr(os, "posix_fadvise") or not _MAPS.exists():
        return
    for path in sorted({line.split(maxsplit=5)[-1] for line in _MAPS.read_text().splitlines()}):
        if ".so" in Path(path).suffixes:
            with suppress(OSError), Path(path).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
