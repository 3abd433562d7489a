"""Producer records for tests, and the records that arrived in the topic."""

import os
from collections import Counter

from conf.sections import Kafka
from conf.settings import Settings
from streaming.contract.producer_record import ProducerRecord
from streaming.sources.items import Item
from streaming.upload import push_request
from streaming.upload.phones import Fleet
from streaming.upload.push_request import PushRequest
from tests.support.uploads import received


def records(count: int, size: int = 1000, devices: int = 5) -> list[ProducerRecord]:
    fleet = Fleet(devices, "tests")
    items = (Item(f"cat/{n}.jpg", os.urandom(size), "cat") for n in range(count))
    return [ProducerRecord.of(fleet.upload(number, item)) for number, item in enumerate(items)]


def producer_records(request: PushRequest, settings: Settings) -> list[ProducerRecord]:
    return [
        record for record in push_request.records(request, settings) if isinstance(record, ProducerRecord)
    ]


def header(record: ProducerRecord, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def identity(record: ProducerRecord) -> tuple[object, ...]:
    return record.key, record.value, tuple(record.headers)


def received_counts(kafka: Kafka) -> Counter[tuple[object, ...]]:
    return Counter((r.key, r.value, tuple(r.headers)) for r in received(kafka, kafka.topic))
