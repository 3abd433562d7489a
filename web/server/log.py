"""The log of the server: warnings and errors with their traces, in a file that is rotated."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE = "web.log"
_BYTES, _FILES = 10 * 2**20, 3


@contextmanager
def written_to(folder: Path) -> Iterator[None]:
    """Write warnings and errors to a file while the block runs; commands disable logging otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(folder / FILE, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    root, kafka = logging.root, logging.getLogger("kafka")
    before, levels = root.manager.disable, (root.level, kafka.level)
    others = [(each, each.level) for each in root.handlers]
    for each, level in others:  # what a command shows on its terminal stays as it was
        each.setLevel(max(level, root.level))
    kafka.setLevel(logging.CRITICAL)  # it would log each retry
    root.setLevel(min(root.level, logging.WARNING))
    root.addHandler(handler)
    logging.disable(logging.NOTSET)
    try:
        yield
    finally:
        logging.disable(before)
        root.setLevel(levels[0])
        kafka.setLevel(levels[1])
        for each, level in others:
            each.setLevel(level)
        root.removeHandler(handler)
        handler.close()
