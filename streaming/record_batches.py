"""Record batches of a topic: how many committed records each has, and how old they are.

Only the headers of the batches are read. Kafka does not compress them, so no codec is needed.
Docs: Kafka's RecordBatch format, and KIP-98 for transactions.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import for_code
from kafka.protocol.consumer import FetchRequest

# Offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and maximum timestamp,
# producer id, producer epoch, sequence, number of records.
_HEADER = struct.Struct(">qiibIhiqqqhii")
_OLD_HEADER = struct.Struct(">qiibbq")  # before Kafka 0.11: offset, length, CRC, magic, attributes, timestamp
_LENGTH, _MAGIC = struct.Struct(">i"), struct.Struct(">b")
_LENGTH_AT, _MAGIC_AT, _OVERHEAD = 8, 16, 12  # positions of length and magic; bytes that the length omits
_LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x08, 0x10, 0x20  # bits of the attributes
_LAST_VERSION = 12  # of a fetch; later ones need the topic's id

# The producer of a transaction that was given up, and its first offset.
AbortedTransaction = tuple[int, int]


@dataclass(frozen=True)
class RecordBatch:
    """The header of a record batch.

    Args:
        first, end: offset of its first record, and the offset after its last one.
        records: number of committed records: 0 for the marker that ends a transaction, and for the records of
            a transaction that was given up.
        seconds: Unix time of its first record; None if the producer gave none.
        size: in the topic (bytes).
    """

    first: int
    end: int
    records: int
    seconds: float | None
    size: int


def fetch(
    client: KafkaAdminClient, leader: int, partition: TopicPartition, offset: int, max_bytes: int
) -> list[RecordBatch]:
    """Fetch the batches from an offset on.

    Args:
        leader: node id of the partition's leader.
        max_bytes: of all batches; a larger first batch comes alone.

    Returns:
        the batches before the first transaction that is still open; empty if there is none.

    Raises:
        KafkaError: the offset does not exist, or the cluster refuses.
    """
    topic = FetchRequest.FetchTopic
    wanted = topic.FetchPartition(
        partition=partition.partition, fetch_offset=offset, partition_max_bytes=max_bytes
    )
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=max_bytes,
        isolation_level=1,  # read committed
        topics=[topic(topic=partition.topic, partitions=[wanted])],
        min_version=FetchRequest.min_version_for_isolation_level(1),
        max_version=_LAST_VERSION,
    )

    async def send() -> Any:
        return await client._manager.send(request, node_id=leader)

    response = client._manager.run(send)
    (fetched,) = (part for each in response.responses for part in each.partitions)
    for code in (getattr(response, "error_code", 0), fetched.error_code):
        if code:
            raise for_code(code)()
    aborted = [(each.producer_id, each.first_offset) for each in fetched.aborted_transactions or ()]
    return list(parse(fetched.records or b"", aborted, offset))


def parse(
    content: bytes | memoryview, aborted: Iterable[AbortedTransaction], offset: int
) -> Iterator[RecordBatch]:
    """Parse the batches of a fetch; an incomplete one at the end is left out.

    Args:
        content: of the response.
        aborted: transactions in it that were given up.
        offset: that was fetched; it may be inside the first batch.
    """
    pending, given_up = sorted(aborted, key=lambda each: each[1]), set[int]()
    at = 0
    while at + _OLD_HEADER.size <= len(content):
        size = _LENGTH.unpack_from(content, at + _LENGTH_AT)[0] + _OVERHEAD
        new_format = _MAGIC.unpack_from(content, at + _MAGIC_AT)[0] >= 2
        if at + size > len(content) or size < (_HEADER if new_format else _OLD_HEADER).size:
            return
        if new_format:
            header = _Header.read(content, at)
            while pending and pending[0][1] < header.end:
                given_up.add(pending.pop(0)[0])
            marker = bool(header.attributes & _CONTROL)
            aborted_record = header.attributes & _TRANSACTIONAL and header.producer in given_up
            if marker:
                given_up.discard(header.producer)
            records = 0 if marker or aborted_record else header.records
            yield RecordBatch(header.first, header.end, records, header.seconds, size)
            offset = header.end
        else:  # it has only the offset of its last record
            last, _, _, magic, _, stamp = _OLD_HEADER.unpack_from(content, at)
            yield RecordBatch(offset, last + 1, last + 1 - offset, _seconds(stamp if magic else -1), size)
            offset = last + 1
        at += size


@dataclass(frozen=True)
class _Header:
    first: int
    end: int
    attributes: int
    seconds: float | None
    producer: int
    records: int

    @classmethod
    def read(cls, content: bytes | memoryview, at: int) -> "_Header":
        first, _, _, _, _, attributes, last, oldest, newest, producer, _, _, records = _HEADER.unpack_from(
            content, at
        )
        # The broker's time is in the field of the newest record; the other one stays the producer's.
        stamp = newest if attributes & _LOG_APPEND_TIME else oldest
        return cls(first, first + last + 1, attributes, _seconds(stamp), producer, records)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000
