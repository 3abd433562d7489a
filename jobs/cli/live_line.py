"""One line on a person's terminal that says what an ingestion is doing."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from streaming.units import duration

if TYPE_CHECKING:
    from streaming.watch.ingest_report import IngestReport, Rate

_REASONS = 3
_TURN_SECONDS = 0.5
_NOTE_SECONDS = 30.0
_CLEAR = "\r\x1b[2K"


@contextmanager
def shown(report: "IngestReport", quiet: bool, stream: TextIO = sys.stderr) -> Iterator[None]:
    """Show the line while the block runs; in a log, which is no terminal, a new one now and then.

    Where it is quiet only what is held up is told.
    """
    stop = threading.Event()
    show = _draw if stream.isatty() and not quiet else _note
    showing = threading.Thread(target=show, args=(report, stop, stream, quiet), name="live-line", daemon=True)
    showing.start()
    try:
        yield
    finally:
        stop.set()
        showing.join()


def _draw(report: "IngestReport", stop: threading.Event, stream: TextIO, quiet: bool) -> None:
    from streaming.watch.ingest_report import Rate

    rate, stopped = Rate(), False
    while not stopped:
        text = line(report, rate)
        width = max(20, shutil.get_terminal_size().columns - 1)
        stream.write(_CLEAR + (text if len(text) <= width else f"{text[: width - 1]}…"))
        stream.flush()
        stopped = stop.wait(_TURN_SECONDS)
    stream.write(_CLEAR)
    stream.flush()


def _note(report: "IngestReport", stop: threading.Event, stream: TextIO, quiet: bool) -> None:
    from streaming.watch.ingest_report import Rate

    rate, records, held_up = Rate(), 0, report.held_up
    due = time.monotonic() + _NOTE_SECONDS
    while not stop.wait(_TURN_SECONDS):
        lines = changes(held_up, report.held_up)
        held_up = report.held_up
        if not quiet and time.monotonic() >= due and report.records != records:
            lines.append(line(report, rate))
            records, due = report.records, time.monotonic() + _NOTE_SECONDS
        stream.writelines(f"{text}\n" for text in lines)
        stream.flush()


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What to say of followers that have failed since, for another reason perhaps, or go on again."""
    failed = [
        f"{name} wait, the ledger goes on: {why}" for name, why in now.items() if before.get(name) != why
    ]
    return failed + [f"{name} go on" for name in before if name not in now]


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
