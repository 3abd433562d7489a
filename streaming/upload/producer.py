"""Kafka producer of `hub push`: idempotent, with bounded memory and a count of every record."""

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

_BATCH_BYTES = 1 << 19  # of one partition in one request; larger batches were not faster
_LINGER_MS = 10
_RECORD_OVERHEAD = 4096  # bytes that kafka-python needs for a record beside its content
_POLL_SECONDS = 0.2


def push(
    kafka: Kafka,
    limits: Push,
    bootstrap: str,
    records: Iterable[ProducerRecord | Unsent],
    rate: float | None = None,
    on_progress: Callable[[PushReport], None] = lambda report: None,
) -> PushReport:
    """Send records and wait until each is acknowledged or has failed.

    The producer is idempotent and uses acks=all: an acknowledged record is in the topic exactly once.
    Records are retried for `limits.retry_seconds`. A shorter broker outage loses no record; a longer one ends
    the push. The first Ctrl-C also ends it, after the records in flight are acknowledged or have failed.

    Args:
        records: read as fast as the broker accepts them, at most `limits.in_flight_bytes` ahead.
        rate: maximum records per second.
        on_progress: called after each record and while waiting, with the counts so far.

    Raises:
        BrokerUnreachable: no broker answers at the address.
        StreamingError: the cluster refuses a request.
    """
    if not topics.partitions(kafka, bootstrap, kafka.topic):  # raises BrokerUnreachable, too
        topics.create(kafka, bootstrap)
    report, window = PushReport(), _Window(limits.in_flight_bytes)
    with (
        quiet_logs(),
        first_interrupt() as stop,
        connected(kafka, limits.retry_seconds, bootstrap) as producer,
    ):
        started = time.monotonic()
        for record in records:
            if isinstance(record, Unsent):
                report.unsent += 1
                report.count_failed(record.why)
                continue
            _throttle(report.sent, started, rate, stop)
            while not stop.is_set() and not report.gave_up and not window.has_room(record.size):
                on_progress(report)
            if stop.is_set() or report.gave_up:
                break
            _send(producer, kafka.topic, record, report, window)
            on_progress(report)
        report.interrupted = stop.is_set()
        _drain(producer, report, limits, on_progress)
        report.seconds = time.monotonic() - started
    on_progress(report)
    return report


class _Window:
    """Limits the bytes in flight; a record larger than the window is sent alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    def has_room(self, size: int) -> bool:
        """Whether so many more bytes may be sent; waits up to `_POLL_SECONDS` for room."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._used == 0 or self._used + size <= self._size, _POLL_SECONDS
            )

    def add(self, size: int) -> None:
        """Add bytes in flight; a negative size removes them."""
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
        report.count_acknowledged(length)

    def failed(error: BaseException) -> None:
        window.add(-size)
        report.count_failed(_one_line(error))
        # After one record timed out, the next ones would time out as well.
        report.gave_up = report.gave_up or isinstance(error, KafkaTimeoutError)

    try:
        future = producer.send(topic, value=record.value, key=record.key, headers=list(record.headers))
    except KafkaError as error:
        failed(error)
        return
    future.add_callback(acknowledged)
    future.add_errback(failed)


def _drain(
    producer: KafkaProducer,
    report: PushReport,
    limits: Push,
    on_progress: Callable[[PushReport], None],
) -> None:
    """Wait for the records in flight; those without an answer at the deadline count as failed."""
    deadline = time.monotonic() + limits.retry_seconds + 5
    while report.in_flight and time.monotonic() < deadline:
        with suppress(KafkaError):  # a flush timeout is no failure; the callbacks count failures
            producer.flush(timeout=_POLL_SECONDS)
        on_progress(report)
    report.finish()


@contextmanager
def connected(kafka: Kafka, retry_seconds: float, bootstrap: str) -> Iterator[KafkaProducer]:
    """A connected producer, idempotent and with acks=all: an acknowledged record is stored exactly once.

    Args:
        retry_seconds: how long a record is retried before it has failed.

    Raises:
        BrokerUnreachable: no broker answers at the address.
    """
    retry_ms = round(retry_seconds * 1000)
    request_ms = min(30_000, max(1_000, retry_ms // 2))
    options = topics.client_options(kafka, bootstrap) | {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None,  # pictures are already compressed
        "max_request_size": topics.RECORD_BYTES,
        "batch_size": _BATCH_BYTES,
        "linger_ms": _LINGER_MS,
        "request_timeout_ms": request_ms,
        "delivery_timeout_ms": max(retry_ms, request_ms + _LINGER_MS),
        "max_block_ms": retry_ms,
        "metrics_enabled": False,
    }
    try:
        producer = KafkaProducer(**options)
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        raise BrokerUnreachable(
            f"the Kafka broker at {bootstrap} stopped answering: {_one_line(error)}"
        ) from error
    try:
        yield producer
    finally:
        _close(producer)


def _close(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=1)
    except KafkaError:
        # close() raises if records cannot be flushed, and would be called again at the interpreter's exit.
        producer._sender.force_close()
        producer._closed = True


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Silence kafka-python, which logs every retry, while the block runs; its callers count the results."""
    logger = logging.getLogger("kafka")
    level = logger.level
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _throttle(sent: int, started: float, rate: float | None, stop: threading.Event) -> None:
    if rate is not None:
        stop.wait(max(0.0, started + sent / rate - time.monotonic()))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
