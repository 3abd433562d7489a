"""How far the ledger is behind the topic, looked at from beside the queries."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from conf.sections import Kafka
from streaming import topics
from streaming.watch.ingest_report import Lag

_TURN_SECONDS = 1.0
_POLL_MS = 500
_FETCH_BYTES = 1  # the broker gives one batch of records, whatever its size


class LagWatch:
    """A thread that compares the topic's end offsets with what the ledger has taken.

    Its age in seconds is that of the oldest record which is not in the ledger: that one record is fetched
    once per partition and position. A broker that is away leaves the last figures standing.

    Args:
        on_lag: called from the thread after each look.
    """

    def __init__(self, kafka: Kafka, bootstrap: str, on_lag: Callable[[Lag], None]) -> None:
        self._kafka, self._bootstrap, self._on_lag = kafka, bootstrap, on_lag
        self._positions: dict[int, int] = {}
        self._stamps: dict[tuple[int, int], float] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def __enter__(self) -> "LagWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(self._kafka.connect_seconds)

    def moved(self, positions: Mapping[int, int]) -> None:
        """Tell what the ledger has taken: partition to the next offset; below 0 is the earliest there is."""
        self._positions = self._positions | dict(positions)
        self._wake.set()

    def _run(self) -> None:
        if not logging.getLogger().isEnabledFor(logging.DEBUG):
            logging.getLogger("kafka").setLevel(logging.CRITICAL)
        while not self._stop.is_set():
            try:
                self._watch()
            except (KafkaError, OSError, RuntimeError, ValueError):  # away, or closed under our hands
                self._stop.wait(_TURN_SECONDS)

    def _watch(self) -> None:
        options = topics.connection(self._kafka, self._bootstrap)
        del options["bootstrap_timeout_ms"]
        consumer = KafkaConsumer(
            **options, group_id=None, enable_auto_commit=False, max_partition_fetch_bytes=_FETCH_BYTES
        )
        try:
            last = False
            while not last:
                last = self._stop.is_set()  # one more look at the end, for the report
                if self._positions:
                    self._on_lag(self._look(consumer, self._positions))
                if not last:
                    self._wake.wait(_TURN_SECONDS)
                    self._wake.clear()
        finally:
            consumer.close()

    def _look(self, consumer: KafkaConsumer, positions: Mapping[int, int]) -> Lag:
        known = consumer.partitions_for_topic(self._kafka.topic) or set()
        parts = [TopicPartition(self._kafka.topic, p) for p in sorted(known)]
        begins, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        due = {at.partition: max(positions.get(at.partition, 0), begins[at]) for at in parts}
        behind = {at.partition: max(0, ends[at] - due[at.partition]) for at in parts}
        oldest = self._oldest(consumer, {(p, due[p]) for p, records in behind.items() if records})
        return Lag(behind, 0.0 if oldest is None else max(0.0, time.time() - oldest))

    def _oldest(self, consumer: KafkaConsumer, wanted: set[tuple[int, int]]) -> float | None:
        self._stamps = {at: stamp for at, stamp in self._stamps.items() if at in wanted}
        missing = {TopicPartition(self._kafka.topic, p): offset for p, offset in wanted - set(self._stamps)}
        if missing:
            consumer.assign(list(missing))
            for at, offset in missing.items():
                consumer.seek(at, offset)
            deadline = time.monotonic() + _TURN_SECONDS
            while missing and time.monotonic() < deadline:
                for at, records in consumer.poll(timeout_ms=_POLL_MS, max_records=len(missing)).items():
                    if at in missing:
                        self._stamps[at.partition, missing.pop(at)] = records[0].timestamp / 1000
                        consumer.pause(at)
        return min(self._stamps.values(), default=None)
