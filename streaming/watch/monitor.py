"""What is seen of a running ingestion: counts, lag, metrics and the progress log."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from conf.settings import Settings
from streaming.ledger.ledger import BatchCounts
from streaming.ledger.resume_offsets import query_of
from streaming.watch import metrics
from streaming.watch.ingest_report import IngestReport, Lag
from streaming.watch.lag import LagWatch
from streaming.watch.metrics import IngestMetrics
from streaming.watch.progress_log import ProgressLog

_LISTENER_SECONDS = 5.0


@dataclass(frozen=True)
class IngestMonitor:
    """Takes note of batches and positions for everybody who wants to know.

    Args:
        report: that counts and lag are added to.
        lag, metrics, log: who is told.
        on_batch: called after each commit to the ledger.
    """

    report: IngestReport
    lag: LagWatch
    metrics: IngestMetrics
    log: ProgressLog
    on_batch: Callable[[BatchCounts], None]

    def committed(self, counts: BatchCounts) -> None:
        """A micro-batch was committed to the ledger."""
        self.report.add(counts)
        self.metrics.committed(counts)
        self.on_batch(counts)

    def held_up(self, follower: str, why: str | None) -> None:
        """A follower has failed and will be started again, or, without a why, has been."""
        self.report.held_up_by(follower, why)

    def ended(self, runs: set[str]) -> None:
        """Wait, a few seconds at most, until Spark has told the last of these runs."""
        self.log.wait_for(runs, _LISTENER_SECONDS)


@contextmanager
def monitored(
    spark: SparkSession,
    settings: Settings,
    bootstrap: str,
    report: IngestReport,
    on_batch: Callable[[BatchCounts], None],
) -> Iterator[IngestMonitor]:
    """Watch the ingestion that runs in the block.

    Raises:
        MetricsUnavailable: metrics cannot be served where the settings want them.
    """
    ready = threading.Event()
    watches: list[IngestMonitor] = []

    def progressed(progress: dict[str, Any]) -> None:
        if ready.is_set() and progress["name"] == query_of(settings.kafka.topic):
            _progressed(watches[0], settings.kafka.topic, progress)

    def behind(lag: Lag) -> None:
        report.behind(lag)
        figures.behind(lag)

    with ExitStack() as stack:
        figures = stack.enter_context(metrics.served(settings.metrics))
        log = ProgressLog(settings.logs, progressed)
        stack.callback(log.close)
        lag = stack.enter_context(LagWatch(settings.kafka, bootstrap, behind))
        watches.append(IngestMonitor(report, lag, figures, log, on_batch))
        ready.set()
        spark.streams.addListener(log)
        stack.callback(spark.streams.removeListener, log)
        yield watches[0]


def _progressed(watch: IngestMonitor, topic: str, progress: dict[str, Any]) -> None:
    ends = (progress["sources"][0]["endOffset"] or {}).get(topic, {})
    watch.lag.moved({int(partition): offset for partition, offset in ends.items()})
    if progress["numInputRows"]:
        watch.metrics.took(progress["durationMs"].get("triggerExecution", 0) / 1000)
