"""Progress of a running ingestion: one live line on a terminal, or a log line now and then."""

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

_REASONS_SHOWN = 3
_REFRESH_SECONDS = 0.5
_LOG_SECONDS = 30.0
_CLEAR_LINE = "\r\x1b[2K"


@contextmanager
def show_progress(report: "IngestReport", quiet: bool, stream: TextIO = sys.stderr) -> Iterator[None]:
    """Show progress while the block runs: a live line on a terminal, else a log line every 30 s.

    With `quiet` only failing followers are logged.
    """
    stop = threading.Event()
    show = _redraw if stream.isatty() and not quiet else _log
    thread = threading.Thread(target=show, args=(report, stop, stream, quiet), name="live-line", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _redraw(report: "IngestReport", stop: threading.Event, stream: TextIO, quiet: bool) -> None:
    from streaming.watch.ingest_report import Rate

    rate, stopped = Rate(), False
    while not stopped:
        text = format_line(report, rate)
        width = max(20, shutil.get_terminal_size().columns - 1)
        stream.write(_CLEAR_LINE + (text if len(text) <= width else f"{text[: width - 1]}…"))
        stream.flush()
        stopped = stop.wait(_REFRESH_SECONDS)
    stream.write(_CLEAR_LINE)
    stream.flush()


def _log(report: "IngestReport", stop: threading.Event, stream: TextIO, quiet: bool) -> None:
    from streaming.watch.ingest_report import Rate

    rate, records, held_up = Rate(), 0, report.held_up
    due = time.monotonic() + _LOG_SECONDS
    while not stop.wait(_REFRESH_SECONDS):
        lines = follower_changes(held_up, report.held_up)
        held_up = report.held_up
        if not quiet and time.monotonic() >= due and report.records != records:
            lines.append(format_line(report, rate))
            records, due = report.records, time.monotonic() + _LOG_SECONDS
        stream.writelines(f"{text}\n" for text in lines)
        stream.flush()


def follower_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Log lines for followers that started to fail, fail for another reason, or run again.

    Args:
        before, now: name of a failing follower to the reason.
    """
    failed = [
        f"follower {name} is failing and retried, ingestion continues: {why}"
        for name, why in now.items()
        if before.get(name) != why
    ]
    return failed + [f"follower {name} has recovered" for name in before if name not in now]


def format_line(report: "IngestReport", rate: "Rate") -> str:
    """The live line. The important part fits 80 columns; a narrow terminal truncates the end.

    Lag is the number of records in the topic that the ledger does not have yet, and the age of the oldest.
    """
    lag = "lag –"
    if report.lag_records is not None:
        known = report.lag_records and report.lag_seconds is not None
        age = f", {duration(report.lag_seconds or 0.0)}" if known else ""
        lag = f"lag {report.lag_records:,}{age}"
    most = ", ".join(f"{reason} {count:,}" for reason, count in report.top_reasons(_REASONS_SHOWN))
    more = ", …" if len(report.rejected) > _REASONS_SHOWN else ""
    failing = [f"{name} failing: {why}" for name, why in report.held_up.items()]
    return " · ".join(
        [
            *failing,
            f"{report.records:,} records, {rate.update(report.records):,.0f}/s",
            lag,
            f"accepted {report.accepted:,}",
            f"rejected {sum(report.rejected.values()):,}" + (f": {most}{more}" if most else ""),
        ]
    )
