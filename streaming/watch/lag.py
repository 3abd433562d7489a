"""Lag of the ledger behind the topic, measured in a thread."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from conf.sections import Kafka
from streaming import topics
from streaming.backlog import Backlog
from streaming.errors import StreamingError
from streaming.watch.ingest_report import Lag

_INTERVAL_SECONDS = 1.0


class LagMonitor:
    """A thread that counts the committed records after the offsets in the ledger.

    The lag in seconds is the age of the oldest record that is not in the ledger. While the broker is
    unreachable, the last lag stays.

    Args:
        on_lag: called from the thread after each measurement.
    """

    def __init__(self, kafka: Kafka, bootstrap: str, on_lag: Callable[[Lag], None]) -> None:
        self._kafka, self._bootstrap, self._on_lag = kafka, bootstrap, on_lag
        self._positions: dict[int, int] = {}
        self._backlog = Backlog()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def __enter__(self) -> "LagMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(self._kafka.connect_seconds)

    def set_positions(self, positions: Mapping[int, int]) -> None:
        """Set the ledger's next offset of each partition; a negative one means the earliest available."""
        self._positions = self._positions | dict(positions)
        self._wake.set()

    def _run(self) -> None:
        if not logging.getLogger().isEnabledFor(logging.DEBUG):
            logging.getLogger("kafka").setLevel(logging.CRITICAL)
        while not self._stop.is_set():
            try:
                with topics.admin_client(self._kafka, self._bootstrap) as client:
                    self._measure_until_stopped(client)
            except (StreamingError, KafkaError, OSError, RuntimeError, ValueError):  # unreachable, or closed
                self._stop.wait(_INTERVAL_SECONDS)

    def _measure_until_stopped(self, client: KafkaAdminClient) -> None:
        last = False
        while not last:
            last = self._stop.is_set()  # measure once more at the end, for the report
            if self._positions:
                self._measure(client, self._positions)
            if not last:
                self._wake.wait(_INTERVAL_SECONDS)
                self._wake.clear()

    def _measure(self, client: KafkaAdminClient, positions: Mapping[int, int]) -> None:
        for topic in topics.describe_with(client, [self._kafka.topic]):
            starts = {partition: positions.get(partition, 0) for partition in topic.offsets}
            found = self._backlog.count(client, topic, starts)
            times = [each.oldest for each in found.values() if each.records and each.oldest is not None]
            waiting = any(each.records for each in found.values())
            age = max(0.0, time.time() - min(times)) if times else None if waiting else 0.0
            self._on_lag(Lag({partition: each.records for partition, each in found.items()}, age))
