"""Numbers of this server for Prometheus."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10)


class Metrics:
    """Counts requests and uploads."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "hub_web_requests", "Requests", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "hub_web_request_seconds", "Time to the answer's end", ["route"], registry=registry,
            buckets=_SECONDS,
        )  # fmt: skip
        self._stored = Counter("hub_web_uploads_stored", "Uploads that Kafka acknowledged", registry=registry)
        self._bytes = Counter("hub_web_upload_bytes", "Bytes of these uploads", registry=registry)
        self._memory = Gauge("hub_web_upload_bytes_in_memory", "Bytes that wait", registry=registry)
        self._pending = Gauge("hub_web_uploads_without_verdict", "Stored, no verdict", registry=registry)
        self._versions = Gauge("hub_web_table_version", "Of a copy", ["table"], registry=registry)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is its pattern, so that ids do not make series."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_stored(self, size: int) -> None:
        """Count an upload that Kafka has acknowledged, and its bytes."""
        self._stored.inc()
        self._bytes.inc(size)

    def observe(self, bytes_in_memory: int, without_verdict: int, versions: Mapping[str, int]) -> None:
        """Set the numbers that are read when they are asked for."""
        self._memory.set(bytes_in_memory)
        self._pending.set(without_verdict)
        for table, version in versions.items():
            self._versions.labels(table).set(version)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)
