"""Sending uploads to Kafka so that what is acknowledged is safe and what is not is counted."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from conf.sections import Kafka, Push
from streaming import topics
from streaming.contract.producer_record import ProducerRecord, Unsent
from streaming.errors import BrokerUnreachable
from streaming.upload.interrupts import first_interrupt
from streaming.upload.push_report import PushReport

_BATCH_BYTES = 1 << 19  # of one partition in one request; larger ones gained nothing
_LINGER_MS = 10
_RECORD_OVERHEAD = 4096  # what kafka-python keeps for a record beside its bytes
_TURN_SECONDS = 0.2


def push(
    kafka: Kafka,
    limits: Push,
    bootstrap: str,
    records: Iterable[ProducerRecord | Unsent],
    rate: float | None = None,
    on_progress: Callable[[PushReport], None] = lambda report: None,
) -> PushReport:
    """Send records and wait until each is acknowledged or given up.

    The producer is idempotent and asks for all replicas: an acknowledged record is in the topic once.
    Records are retried for `limits.retry_seconds`, so a broker that is away for less loses none; when it is
    away for longer, the push ends. The first Ctrl-C ends it too, once what is in flight is settled.

    Args:
        records: read as fast as the broker takes them, never more than `limits.in_flight_bytes` ahead.
        rate: records each second at most.
        on_progress: called after each record and while waiting, with the counts so far.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        StreamingError: the cluster refuses.
    """
    if not topics.partitions(kafka, bootstrap, kafka.topic):  # tells of an absent broker, too
        topics.create(kafka, bootstrap)
    report, window = PushReport(), _Window(limits.in_flight_bytes)
    with _quiet_logs(), first_interrupt() as stop, _producer(kafka, limits, bootstrap) as producer:
        begun = time.monotonic()
        for record in records:
            if isinstance(record, Unsent):
                report.unsent += 1
                report.fail(record.why)
                continue
            _pace(report.sent, begun, rate, stop)
            while not stop.is_set() and not report.gave_up and not window.has_room(record.size):
                on_progress(report)
            if stop.is_set() or report.gave_up:
                break
            _send(producer, kafka.topic, record, report, window)
            on_progress(report)
        report.interrupted = stop.is_set()
        _settle(producer, report, limits, on_progress)
        report.seconds = time.monotonic() - begun
    on_progress(report)
    return report


class _Window:
    """Bytes that may wait for an acknowledgement; a record larger than the window goes alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    def has_room(self, size: int) -> bool:
        """Whether so much more may be sent; waits a little where it may not."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._used == 0 or self._used + size <= self._size, _TURN_SECONDS
            )

    def add(self, size: int) -> None:
        """Note that so much was sent, or with a minus sign that it was settled."""
        with self._changed:
            self._used += size
            if size < 0:
                self._changed.notify()


def _send(
    producer: KafkaProducer, topic: str, record: ProducerRecord, report: PushReport, window: _Window
) -> None:
    size, length = record.size + _RECORD_OVERHEAD, len(record.value or b"")
    window.add(size)
    report.sent += 1

    def acknowledged(_: Any) -> None:
        window.add(-size)
        report.succeed(length)

    def failed(error: BaseException) -> None:
        window.add(-size)
        report.fail(_why(error))
        # Records behind one that was retried for so long would fare no better.
        report.gave_up = report.gave_up or isinstance(error, KafkaTimeoutError)

    try:
        future = producer.send(topic, value=record.value, key=record.key, headers=list(record.headers))
    except KafkaError as error:
        failed(error)
        return
    future.add_callback(acknowledged)
    future.add_errback(failed)


def _settle(
    producer: KafkaProducer,
    report: PushReport,
    limits: Push,
    on_progress: Callable[[PushReport], None],
) -> None:
    """Wait for what is in flight; what has no answer by the end counts as failed."""
    deadline = time.monotonic() + limits.retry_seconds + 5
    while report.in_flight and time.monotonic() < deadline:
        with suppress(KafkaError):  # a flush says only that some are still under way; the callbacks know
            producer.flush(timeout=_TURN_SECONDS)
        on_progress(report)
    report.finish()


@contextmanager
def _producer(kafka: Kafka, limits: Push, bootstrap: str) -> Iterator[KafkaProducer]:
    patience = round(limits.retry_seconds * 1000)
    request = min(30_000, max(1_000, patience // 2))
    options = topics.connection(kafka, bootstrap) | {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None,  # pictures are packed already
        "max_request_size": topics.RECORD_BYTES,
        "batch_size": _BATCH_BYTES,
        "linger_ms": _LINGER_MS,
        "request_timeout_ms": request,
        "delivery_timeout_ms": max(patience, request + _LINGER_MS),
        "max_block_ms": patience,
        "metrics_enabled": False,
    }
    try:
        producer = KafkaProducer(**options)
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        raise BrokerUnreachable(
            f"the Kafka broker at {bootstrap} stopped answering: {_why(error)}"
        ) from error
    try:
        yield producer
    finally:
        _close(producer)


def _close(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=1)
    except KafkaError:
        # It stops at what cannot be flushed, and would try again at the interpreter's exit.
        producer._sender.force_close()
        producer._closed = True


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """kafka-python logs every retry; the report says what became of it."""
    logger = logging.getLogger("kafka")
    level = logger.level
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _pace(sent: int, begun: float, rate: float | None, stop: threading.Event) -> None:
    if rate is not None:
        stop.wait(max(0.0, begun + sent / rate - time.monotonic()))


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
