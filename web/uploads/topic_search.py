"""Finds uploads in Kafka by their ids: which of those that got no answer were stored nevertheless."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from conf.sections import Kafka
from streaming import topics
from web.uploads.receipts import Receipt

_MARGIN = timedelta(seconds=10)  # by which the broker's clock may be late
_POLL_MS = 500


def find(kafka: Kafka, bootstrap: str, upload_ids: Collection[str], since: datetime) -> list[Receipt]:
    """Receipts of the uploads that the topic has.

    Args:
        upload_ids: which are looked for.
        since: when the first of them was sent.

    Raises:
        BrokerUnreachable, KafkaError: Kafka does not answer.
    """
    wanted, found = frozenset(upload_ids), []
    for record in _records(kafka, bootstrap, since):
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        if headers.get("ce_id") in wanted:
            found.append(_receipt(record, headers))
    return found


def _records(kafka: Kafka, bootstrap: str, since: datetime) -> Iterator[Any]:
    """Records that the topic has now, and that were stored after a time."""
    numbers = topics.partitions(kafka, bootstrap, kafka.topic)
    parts = [TopicPartition(kafka.topic, number) for number in numbers]
    options = topics.client_options(kafka, bootstrap)
    del options["bootstrap_timeout_ms"]
    consumer = KafkaConsumer(**options, group_id=None, metrics_enabled=False)
    try:
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        milliseconds = round((since - _MARGIN).timestamp() * 1000)
        for part, place in consumer.offsets_for_times(dict.fromkeys(parts, milliseconds)).items():
            consumer.seek(part, ends[part] if place is None else place.offset)
        while any(consumer.position(part) < ends[part] for part in parts):
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                yield from records
    finally:
        consumer.close()


def _receipt(record: Any, headers: Mapping[str, str]) -> Receipt:
    return Receipt(
        headers["ce_id"],
        headers.get("ce_user", ""),
        (record.key or b"").decode(errors="replace"),
        headers.get("ce_batch"),
        headers.get("ce_label", ""),
        datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(),
    )
