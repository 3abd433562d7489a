"""One line on a person's terminal that says what an ingestion is doing."""

import shutil
import sys
import threading
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
    stop, rate = threading.Event(), Rate()

    def draw() -> None:
        while True:
            text = line(report, rate)
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


def line(report: "IngestReport", rate: "Rate") -> str:
    """The line, short enough to show what matters in 80 columns; a narrow terminal cuts its end.

    Lag is what the topic holds and the ledger does not, and the age of the oldest record of it.
    """
    lag = "lag –"
    if report.lag_records is not None:
        age = f", {duration(report.lag_seconds or 0.0)}" if report.lag_records else ""
        lag = f"lag {report.lag_records:,}{age}"
    most = ", ".join(f"{reason} {count:,}" for reason, count in report.most_rejected(_REASONS))
    more = ", …" if len(report.rejected) > _REASONS else ""
    held_up = [f"{name} wait: {why}" for name, why in report.held_up.items()]
    return " · ".join(
        [
            *held_up,
            f"{report.records:,} records, {rate.at(report.records):,.0f}/s",
            lag,
            f"accepted {report.accepted:,}",
            f"rejected {sum(report.rejected.values()):,}" + (f": {most}{more}" if most else ""),
        ]
    )
