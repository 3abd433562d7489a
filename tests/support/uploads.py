"""Valid uploads, sending them to Kafka, and reading topics."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from conf.sections import Kafka
from streaming import topics
from streaming.contract.record import Header, Upload
from tests.support import pictures

_START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

Raw = tuple[bytes | None, bytes | None, Sequence[Header]]


def upload(number: int, label: str = "cat", **changed: Any) -> Upload:
    """A valid upload; each number has another picture."""
    plain = Upload(
        id=uuid.uuid4().hex,
        device=f"phone-{number % 7}",
        time=_START + timedelta(seconds=number),
        label=label,
        content=pictures.jpeg(seed=number),
        user=f"user-{number % 7}",
        batch="tests",
    )
    return replace(plain, **changed)


def send(kafka: Kafka, uploads: Iterable[Upload | Raw], partition: int | None = None) -> None:
    """Send uploads or raw (key, value, headers), and wait for all acknowledgements."""
    options = topics.client_options(kafka, kafka.bootstrap) | {"max_request_size": topics.RECORD_BYTES}
    producer = KafkaProducer(**options, acks="all", linger_ms=5)
    try:
        sent = []
        for each in uploads:
            key, value, headers = (
                (each.key(), each.content, each.headers()) if isinstance(each, Upload) else each
            )
            sent.append(
                producer.send(kafka.topic, value=value, key=key, headers=list(headers), partition=partition)
            )
        for future in sent:
            future.get(timeout=30)
    finally:
        producer.close()


@contextmanager
def open_transaction(kafka: Kafka, uploads: Iterable[Upload], partition: int = 0) -> Iterator[KafkaProducer]:
    """Send uploads in a transaction that is still open in the block, which may commit it or give it up."""
    options = topics.client_options(kafka, kafka.bootstrap)
    producer = KafkaProducer(**options, acks="all", transactional_id=f"phones-{uuid.uuid4()}")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for each in uploads:
            producer.send(
                kafka.topic, value=each.content, key=each.key(), headers=each.headers(), partition=partition
            )
        producer.flush()
        yield producer
    finally:
        producer.close()


def received(kafka: Kafka, topic: str) -> list[Any]:
    """Read all records of a topic, up to its current end."""
    options = topics.client_options(kafka, kafka.bootstrap)
    del options["bootstrap_timeout_ms"]
    consumer = KafkaConsumer(**options, group_id=None, auto_offset_reset="earliest")
    try:
        parts = [TopicPartition(topic, p) for p in topics.partitions(kafka, kafka.bootstrap, topic)]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        consumer.seek_to_beginning(*parts)
        found: list[Any] = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for records in consumer.poll(timeout_ms=500).values():
                found += records
        return found
    finally:
        consumer.close()
