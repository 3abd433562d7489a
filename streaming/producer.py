"""Sending uploads to Kafka so that what is acknowledged is safe and what is not is counted."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from conf.settings import Kafka, Push
from streaming import topics
from streaming.record import Header, Upload

_BATCH_BYTES = 1 << 19  # of one partition in one request; larger ones gained nothing
_LINGER_MS = 10


@dataclass(frozen=True)
class Record:
    """What goes over the wire."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]

    @classmethod
    def of(cls, upload: Upload) -> "Record":
        """An upload in the contract's form."""
        return cls(upload.key(), upload.content, upload.headers())

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


@dataclass
class PushReport:
    """What became of the records.

    Args:
        sent: handed to the producer.
        acknowledged: written by all replicas the cluster asks for.
        failed: everything else.
        bytes: of the acknowledged records' values.
        seconds: from the first record to the last acknowledgement.
        first_error: why the first failed one did.
    """

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    first_error: str | None = None
    interrupted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def images_per_second(self) -> float:
        """Acknowledged records each second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0

    def succeed(self, size: int) -> None:
        """Count an acknowledgement."""
        with self._lock:
            self.acknowledged += 1
            self.bytes += size

    def fail(self, why: str) -> None:
        """Count a failure."""
        with self._lock:
            self.failed += 1
            self.first_error = self.first_error or why


def push(
    kafka: Kafka,
    limits: Push,
    bootstrap: str,
    records: Iterable[Record],
    rate: float | None = None,
    on_progress: Callable[[PushReport], None] = lambda report: None,
) -> PushReport:
    """Send records and wait until each is acknowledged or given up.

    The producer is idempotent and asks for all replicas: an acknowledged record is in the topic once.
    Records are retried for `limits.retry_seconds`, so a broker that is away for less loses none.

    Args:
        records: read as fast as the broker takes them, never more than `limits.in_flight_bytes` ahead.
        rate: records each second at most.
        on_progress: called after each record with the counts so far.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    topics.partitions(kafka, bootstrap, kafka.topic)  # an absent broker is told before anything is sent
    report, begun = PushReport(), time.monotonic()
    window = _Window(limits.in_flight_bytes)
    with _quiet_logs():
        producer = KafkaProducer(**_options(kafka, limits, bootstrap))
        try:
            for record in records:
                _pace(report.sent, begun, rate)
                _send(producer, kafka.topic, record, report, window)
                on_progress(report)
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            _finish(producer, report, limits)
    report.seconds = time.monotonic() - begun
    on_progress(report)
    return report


class _Window:
    """Bytes that may wait for an acknowledgement; a record larger than the window goes alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    def enter(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._size)
            self._used += size

    def leave(self, size: int) -> None:
        with self._changed:
            self._used -= size
            self._changed.notify()


def _send(producer: KafkaProducer, topic: str, record: Record, report: PushReport, window: _Window) -> None:
    window.enter(record.size)
    report.sent += 1

    def acknowledged(_: Any) -> None:
        window.leave(record.size)
        report.succeed(len(record.value or b""))

    def failed(error: BaseException) -> None:
        window.leave(record.size)
        report.fail(_why(error))

    try:
        future = producer.send(topic, value=record.value, key=record.key, headers=list(record.headers))
    except KafkaError as error:
        failed(error)
        return
    future.add_callback(acknowledged)
    future.add_errback(failed)


def _finish(producer: KafkaProducer, report: PushReport, limits: Push) -> None:
    """Wait for what is in flight; what the producer still holds at the end has failed."""
    try:
        producer.flush(timeout=limits.retry_seconds + 5)
    except KafkaError as error:
        report.first_error = report.first_error or _why(error)
    producer.close(timeout=5)
    lost = report.sent - report.acknowledged - report.failed
    for _ in range(lost):
        report.fail("no acknowledgement")


def _options(kafka: Kafka, limits: Push, bootstrap: str) -> dict[str, Any]:
    patience = round(limits.retry_seconds * 1000)
    return topics.connection(kafka, bootstrap) | {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None,  # pictures are packed already
        "max_request_size": topics.RECORD_BYTES,
        "batch_size": _BATCH_BYTES,
        "linger_ms": _LINGER_MS,
        "delivery_timeout_ms": patience,
        "max_block_ms": patience,
        "request_timeout_ms": min(30_000, max(1_000, patience // 2)),
    }


def _pace(sent: int, begun: float, rate: float | None) -> None:
    if rate is not None:
        wait = begun + sent / rate - time.monotonic()
        if wait > 0:
            threading.Event().wait(wait)


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _quiet_logs:  # noqa: N801  # used like a function
    """kafka-python logs every retry; the report says what became of it."""

    def __enter__(self) -> None:
        logger = logging.getLogger("kafka")
        self._level = logger.level
        if not logging.getLogger().isEnabledFor(logging.DEBUG):
            logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka").setLevel(self._level)
