"""Prometheus metrics of an ingestion, served over HTTP while it runs.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from conf.sections import Metrics
from streaming.errors import MetricsUnavailable
from streaming.ledger.ledger import BatchCounts
from streaming.watch.ingest_report import Lag

_BUCKETS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)


class IngestMetrics:
    """The metrics, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._records = Counter(
            "hub_ingest_records", "Kafka records verified and committed to the ledger.", registry=registry
        )
        self._accepted = Counter("hub_ingest_accepted", "Uploads accepted.", registry=registry)
        self._rejected = Counter(
            "hub_ingest_rejected", "Uploads rejected, by reason.", ["reason"], registry=registry
        )
        self._batches = Counter(
            "hub_ingest_batches", "Micro-batches committed to the ledger.", registry=registry
        )
        self._seconds = Histogram(
            "hub_ingest_batch_seconds", "Time a micro-batch took, from its trigger to its commit.",
            buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self._lag = Gauge(
            "hub_ingest_lag_records", "Committed records that are not in the ledger.", ["partition"],
            registry=registry,
        )  # fmt: skip
        self._lag_seconds = Gauge(
            "hub_ingest_lag_seconds",
            "Age of the oldest record that is not in the ledger; 0 for none, NaN if unknown.",
            registry=registry,
        )  # fmt: skip
        self._lag_seconds.set(math.nan)
        self._commit = Gauge(
            "hub_ingest_last_commit_timestamp_seconds", "Unix time of the last commit; 0 for none.",
            registry=registry,
        )  # fmt: skip

    def count_batch(self, counts: BatchCounts) -> None:
        """Count a micro-batch."""
        self._records.inc(counts.records)
        self._accepted.inc(counts.accepted)
        for reason, count in counts.rejected.items():
            self._rejected.labels(reason).inc(count)
        self._batches.inc()
        self._commit.set(time.time())

    def observe_batch_seconds(self, seconds: float) -> None:
        """Record the duration of a micro-batch."""
        self._seconds.observe(seconds)

    def set_lag(self, lag: Lag) -> None:
        """Set the lag."""
        for partition, records in lag.partitions.items():
            self._lag.labels(str(partition)).set(records)
        self._lag_seconds.set(math.nan if lag.seconds is None else lag.seconds)


@contextmanager
def served(settings: Metrics) -> Iterator[IngestMetrics]:
    """Serve the metrics at http://host:port/metrics while the block runs; with port 0 they are not served.

    Raises:
        MetricsUnavailable: the port is in use or the host is not an address of this machine.
    """
    metrics = IngestMetrics()
    if not settings.port:
        yield metrics
        return
    try:
        server, thread = start_http_server(settings.port, settings.host, metrics.registry)
    except OSError as error:
        raise MetricsUnavailable(
            f"metrics cannot be served at {settings.host}:{settings.port}: {error.strerror or error}; set "
            "HUB__METRICS__PORT to a free port, or to 0 for no metrics, and HUB__METRICS__HOST to an address "
            "of this machine"
        ) from None
    try:
        yield metrics
    finally:
        _stop(server, thread)


def _stop(server: object, thread: threading.Thread) -> None:
    server.shutdown()  # type: ignore[attr-defined]  # a WSGIServer
    server.server_close()  # type: ignore[attr-defined]
    thread.join(5)
