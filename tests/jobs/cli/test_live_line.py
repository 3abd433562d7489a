"""The line that an ingestion shows, and how time spans read."""

import io

import pytest

from jobs.cli import live_line
from streaming.ledger.ledger import BatchCounts
from streaming.units import duration
from streaming.watch.ingest_report import IngestReport, Lag, Rate
from tests.support.waiting import comes_true


def test_the_line_says_rate_lag_and_why_uploads_are_rejected() -> None:
    report = IngestReport()
    assert live_line.line(report, Rate()).startswith("0 records, 0/s · lag – · accepted 0 · rejected 0")
    report.add(BatchCounts(4000, 3890, {"truncated": 60, "empty": 30, "bad_label": 12, "too_small": 8}))
    report.behind(Lag({0: 12_000, 1: 300}, 75.0))
    line = live_line.line(report, Rate())
    assert "4,000 records" in line
    assert "lag 12,300, 1 min 15 s" in line
    assert line.endswith("accepted 3,890 · rejected 110: truncated 60, empty 30, bad_label 12, …")
    report.behind(Lag({0: 0, 1: 0}, 0.0))
    assert " · lag 0 · " in live_line.line(report, Rate())


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_shown_where_nobody_looks(quiet: bool) -> None:
    stream = io.StringIO()
    with live_line.shown(IngestReport(), quiet, stream):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (18_120, "5 h 2 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_time_spans_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("quiet", [True, False])
def test_a_log_tells_which_follower_is_held_up_and_when_it_goes_on(quiet: bool) -> None:
    report, stream = IngestReport(), io.StringIO()
    with live_line.shown(report, quiet, stream):
        report.held_up_by("dead-letters", "TimeoutException: no broker")
        assert comes_true(lambda: "dead-letters wait, the ledger goes on: Timeout" in stream.getvalue(), 10)
        report.held_up_by("dead-letters", None)
        assert comes_true(lambda: stream.getvalue().endswith("dead-letters go on\n"), 10)
    assert stream.getvalue().count("wait") == 1


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_line, "_NOTE_SECONDS", 0.0)
    report, stream = IngestReport(), io.StringIO()
    with live_line.shown(report, False, stream):
        report.add(BatchCounts(40, 39, {"empty": 1}))
        assert comes_true(lambda: "accepted 39 · rejected 1: empty 1\n" in stream.getvalue(), 10)
    assert "\r" not in stream.getvalue()
