"""Libraries that this process will need, loaded or read again before it does."""

import importlib
import os
import threading
from contextlib import suppress
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def import_in_background(module: str) -> threading.Thread:
    """Import something in the background that takes a while and is needed later."""
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    return thread


def prefetch_libraries() -> threading.Thread:
    """Ask the system, in the background, for the whole of this process's libraries; nothing where it cannot.

    What a training uses only at its end (TFLite's converter, drawing) has not been used since its start.
    Where memory is short, or is given back after a minute without use, it has left memory by then and is
    read again page by page, while people wait for the results.
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
