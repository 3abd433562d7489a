"""The live line of an ingestion, and the format of durations."""

import io

import pytest

from jobs.cli import live_line
from streaming.ledger.ledger import BatchCounts
from streaming.units import duration
from streaming.watch.ingest_report import IngestReport, Lag, Rate
from tests.support.waiting import wait_until


def test_live_line_shows_rate_lag_and_reject_reasons() -> None:
    report = IngestReport()
    assert live_line.format_line(report, Rate()).startswith(
        "0 records, 0/s · lag – · accepted 0 · rejected 0"
    )
    report.add(BatchCounts(4000, 3890, {"truncated": 60, "empty": 30, "bad_label": 12, "too_small": 8}))
    report.set_lag(Lag({0: 12_000, 1: 300}, 75.0))
    line = live_line.format_line(report, Rate())
    assert "4,000 records" in line
    assert "lag 12,300, 1 min 15 s" in line
    assert line.endswith("accepted 3,890 · rejected 110: truncated 60, empty 30, bad_label 12, …")
    report.set_lag(Lag({0: 0, 1: 0}, 0.0))
    assert " · lag 0 · " in live_line.format_line(report, Rate())


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_shown_without_a_terminal(quiet: bool) -> None:
    stream = io.StringIO()
    with live_line.show_progress(IngestReport(), quiet, stream):
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
def test_duration_format(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failing_follower_and_its_recovery_are_logged(quiet: bool) -> None:
    report, stream = IngestReport(), io.StringIO()
    with live_line.show_progress(report, quiet, stream):
        report.set_follower_failure("dead-letters", "TimeoutException: no broker")
        failing = "follower dead-letters is failing and retried, ingestion continues: Timeout"
        assert wait_until(lambda: failing in stream.getvalue(), 10)
        report.set_follower_failure("dead-letters", None)
        assert wait_until(lambda: stream.getvalue().endswith("follower dead-letters has recovered\n"), 10)
    assert stream.getvalue().count("is failing") == 1


def test_progress_is_logged_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_line, "_LOG_SECONDS", 0.0)
    report, stream = IngestReport(), io.StringIO()
    with live_line.show_progress(report, False, stream):
        report.add(BatchCounts(40, 39, {"empty": 1}))
        assert wait_until(lambda: "accepted 39 · rejected 1: empty 1\n" in stream.getvalue(), 10)
    assert "\r" not in stream.getvalue()
