"""One line on a person's terminal that says what an ingestion is doing."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from streaming.units import duration

if TYPE_CHECKING:
    from streaming.ingested import IngestReport, Rate

_REASONS = 3
_TURN_SECONDS = 0.5
_CLEAR = "\r\x1b[2K"


@contextmanager
def shown(report: "IngestReport", quiet: bool, stream: TextIO = sys.stderr) -> Iterator[None]:
    """Show the line while the block runs; nothing where it is quiet or no terminal."""
    from streaming.ingested import Rate

    if quiet or not stream.isatty():
        yield
        return
    stop, rate, begun = threading.Event(), Rate(), time.monotonic()

    def draw() -> None:
        while True:
            text = line(report, rate, time.monotonic() - begun)
            width = max(20, shutil.get_terminal_size().columns - 1)
            stream.write(_CLEAR + (text if len(text) <= width else f"{text[: width - 1]}…"))
            stream.flush()
            if stop.wait(_TURN_SECONDS):
                return

    drawing = threading.Thread(target=draw, name="live-line", daemon=True)
    drawing.start()
    try:
        yield
    finally:
        stop.set()
        drawing.join()
        stream.write(_CLEAR)
        stream.flush()


def line(report: "IngestReport", rate: "Rate", seconds: float) -> str:
    """The line; what matters most comes first, because a narrow terminal cuts its end.

    Lag is what the topic holds and the ledger does not, and the age of the oldest record of it.
    """
    rejected = sum(report.rejected.values())
    parts = [f"{report.records:,} records, {rate.at(report.records):,.0f}/s"]
    if report.lag_records is None:
        parts.append("lag –")
    else:
        age = f", oldest {duration(report.lag_seconds or 0.0)}" if report.lag_records else ""
        parts.append(f"lag {report.lag_records:,}{age}")
    parts.append(f"{report.accepted:,} accepted")
    most = ", ".join(f"{reason} {count:,}" for reason, count in report.most_rejected(_REASONS))
    more = ", …" if len(report.rejected) > _REASONS else ""
    parts.append(f"{rejected:,} rejected" + (f" ({most}{more})" if most else ""))
    return f"ingest {duration(seconds)}: " + " · ".join(parts)
