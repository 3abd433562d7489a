"""Consumer lag of the ledger behind the topic, measured in a thread."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from conf.sections import Kafka
from streaming import topics
from streaming.watch.ingest_report import Lag

_INTERVAL_SECONDS = 1.0
_POLL_MS = 500
_FETCH_BYTES = 1  # the broker then returns one batch of records, whatever its size


class LagMonitor:
    """A thread that compares the topic's end offsets with the offsets in the ledger.

    The lag in seconds is the age of the oldest record that is not in the ledger; this record is fetched once
    per partition and offset. While the broker is unreachable, the last lag stays.

    Args:
        on_lag: called from the thread after each measurement.
    """

    def __init__(self, kafka: Kafka, bootstrap: str, on_lag: Callable[[Lag], None]) -> None:
        self._kafka, self._bootstrap, self._on_lag = kafka, bootstrap, on_lag
        self._positions: dict[int, int] = {}
        self._timestamps: dict[tuple[int, int], float] = {}
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
                self._poll_offsets()
            except (KafkaError, OSError, RuntimeError, ValueError):  # unreachable, or closed meanwhile
                self._stop.wait(_INTERVAL_SECONDS)

    def _poll_offsets(self) -> None:
        options = topics.client_options(self._kafka, self._bootstrap)
        del options["bootstrap_timeout_ms"]
        consumer = KafkaConsumer(
            **options, group_id=None, enable_auto_commit=False, max_partition_fetch_bytes=_FETCH_BYTES
        )
        try:
            last = False
            while not last:
                last = self._stop.is_set()  # measure once more at the end, for the report
                if self._positions:
                    self._on_lag(self._measure(consumer, self._positions))
                if not last:
                    self._wake.wait(_INTERVAL_SECONDS)
                    self._wake.clear()
        finally:
            consumer.close()

    def _measure(self, consumer: KafkaConsumer, positions: Mapping[int, int]) -> Lag:
        numbers = consumer.partitions_for_topic(self._kafka.topic) or set()
        partitions = [TopicPartition(self._kafka.topic, p) for p in sorted(numbers)]
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        due = {at.partition: max(positions.get(at.partition, 0), begins[at]) for at in partitions}
        lag = {at.partition: max(0, ends[at] - due[at.partition]) for at in partitions}
        oldest = self._oldest_timestamp(consumer, {(p, due[p]) for p, records in lag.items() if records})
        return Lag(lag, 0.0 if oldest is None else max(0.0, time.time() - oldest))

    def _oldest_timestamp(self, consumer: KafkaConsumer, wanted: set[tuple[int, int]]) -> float | None:
        """Unix time of the oldest of the records at these partitions and offsets; None if there is none."""
        self._timestamps = {at: stamp for at, stamp in self._timestamps.items() if at in wanted}
        missing = {
            TopicPartition(self._kafka.topic, p): offset for p, offset in wanted - set(self._timestamps)
        }
        if missing:
            consumer.assign(list(missing))
            for at, offset in missing.items():
                consumer.seek(at, offset)
            deadline = time.monotonic() + _INTERVAL_SECONDS
            while missing and time.monotonic() < deadline:
                for at, records in consumer.poll(timeout_ms=_POLL_MS, max_records=len(missing)).items():
                    if at in missing:
                        self._timestamps[at.partition, missing.pop(at)] = records[0].timestamp / 1000
                        consumer.pause(at)
        return min(self._timestamps.values(), default=None)
