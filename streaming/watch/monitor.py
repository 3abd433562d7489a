"""Monitor of a running ingestion: passes commits and progress to report, lag, metrics and progress log."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from conf.settings import Settings
from streaming.ledger.ledger import BatchCounts
from streaming.ledger.resume_offsets import query_name
from streaming.watch import metrics
from streaming.watch.ingest_report import IngestReport, Lag
from streaming.watch.lag import LagMonitor
from streaming.watch.metrics import IngestMetrics
from streaming.watch.progress_log import ProgressLog

_LISTENER_SECONDS = 5.0


@dataclass(frozen=True)
class IngestMonitor:
    """Passes the events of an ingestion to its report, metrics and callbacks.

    Args:
        report: receives counts and lag.
        lag: receives the ledger's offsets.
        metrics: receives counts, durations and lag.
        log: writes each progress of Spark.
        on_batch: called after each commit to the ledger.
    """

    report: IngestReport
    lag: LagMonitor
    metrics: IngestMetrics
    log: ProgressLog
    on_batch: Callable[[BatchCounts], None]

    def record_commit(self, counts: BatchCounts) -> None:
        """Record a micro-batch that was committed to the ledger."""
        self.report.add(counts)
        self.metrics.count_batch(counts)
        self.on_batch(counts)

    def record_follower(self, follower: str, error: str | None) -> None:
        """Record the error of a follower that failed and will be restarted; None after the restart."""
        self.report.set_follower_failure(follower, error)

    def wait_for_end(self, runs: set[str]) -> None:
        """Wait up to 5 s until Spark has reported the end of these runs."""
        self.log.wait_for(runs, _LISTENER_SECONDS)


@contextmanager
def monitored(
    spark: SparkSession,
    settings: Settings,
    bootstrap: str,
    report: IngestReport,
    on_batch: Callable[[BatchCounts], None],
) -> Iterator[IngestMonitor]:
    """Monitor the ingestion that runs in the block.

    Raises:
        MetricsUnavailable: metrics cannot be served at the host and port of the settings.
    """
    ready = threading.Event()
    monitors: list[IngestMonitor] = []

    def on_progress(progress: dict[str, Any]) -> None:
        if ready.is_set() and progress["name"] == query_name(settings.kafka.topic):
            _record_progress(monitors[0], settings.kafka.topic, progress)

    def on_lag(lag: Lag) -> None:
        report.set_lag(lag)
        ingest_metrics.set_lag(lag)

    with ExitStack() as stack:
        ingest_metrics = stack.enter_context(metrics.served(settings.metrics))
        log = ProgressLog(settings.logs, on_progress)
        stack.callback(log.close)
        lag = stack.enter_context(LagMonitor(settings.kafka, bootstrap, on_lag))
        monitors.append(IngestMonitor(report, lag, ingest_metrics, log, on_batch))
        ready.set()
        spark.streams.addListener(log)
        stack.callback(spark.streams.removeListener, log)
        yield monitors[0]


def _record_progress(monitor: IngestMonitor, topic: str, progress: dict[str, Any]) -> None:
    """Pass the end offsets and the duration of a micro-batch of the ledger's query to the monitor."""
    ends = (progress["sources"][0]["endOffset"] or {}).get(topic, {})
    monitor.lag.set_positions({int(partition): offset for partition, offset in ends.items()})
    if progress["numInputRows"]:
        monitor.metrics.observe_batch_seconds(progress["durationMs"].get("triggerExecution", 0) / 1000)
