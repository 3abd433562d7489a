"""Headers of record batches: committed records, markers, transactions that were given up, and times."""

import struct

import pytest
from kafka.record.memory_records import MemoryRecordsBuilder

from streaming.record_batches import RecordBatch, parse

TRANSACTIONAL, CONTROL, LOG_APPEND_TIME = 0x10, 0x20, 0x08


def batch(first: int, records: int, producer: int = -1, attributes: int = 0, content: bytes = b"?") -> bytes:
    """A record batch; its records are bytes that nothing can decompress."""
    codec = 4  # zstd
    rest = struct.pack(
        ">hiqqqhii", attributes | codec, records - 1, 1_000_000, 5_000_000, producer, 0, 0, records
    )
    rest = struct.pack(">ibI", 0, 2, 0) + rest + content
    return struct.pack(">qi", first, len(rest)) + rest


def counts(content: bytes, *aborted: tuple[int, int], offset: int = 0) -> list[tuple[int, int, int]]:
    return [(each.first, each.end, each.records) for each in parse(content, aborted, offset)]


def test_records_are_counted_without_a_codec() -> None:
    content = batch(0, 3) + batch(3, 1)
    assert counts(content) == [(0, 3, 3), (3, 4, 1)]


def test_markers_and_given_up_transactions_have_no_records() -> None:
    content = (
        batch(0, 2, 7, TRANSACTIONAL)
        + batch(2, 1, 9, TRANSACTIONAL)  # another producer, in between
        + batch(3, 2, 7, TRANSACTIONAL)
        + batch(5, 1, 7, TRANSACTIONAL | CONTROL)
        + batch(6, 2, 7, TRANSACTIONAL)  # its next transaction
        + batch(8, 1, 9, TRANSACTIONAL | CONTROL)
        + batch(9, 4)
    )
    assert [count for _, _, count in counts(content, (7, 0))] == [0, 1, 0, 0, 2, 0, 4]
    assert [count for _, _, count in counts(content)] == [2, 1, 2, 0, 2, 0, 4]
    assert [count for _, _, count in counts(content, (9, 2), (7, 6))] == [2, 0, 2, 0, 0, 0, 4]


def test_a_transaction_that_began_before_the_fetched_offset_is_given_up_too() -> None:
    content = batch(3, 2, 7, TRANSACTIONAL) + batch(5, 1, 7, TRANSACTIONAL | CONTROL)
    assert [count for _, _, count in counts(content, (7, 0), offset=4)] == [0, 0]


@pytest.mark.parametrize(("attributes", "seconds"), [(0, 1000.0), (LOG_APPEND_TIME, 5000.0)])
def test_the_time_is_the_producer_s_or_the_broker_s(attributes: int, seconds: float) -> None:
    (found,) = parse(batch(0, 2, attributes=attributes), (), 0)
    assert found == RecordBatch(0, 2, 2, seconds, len(batch(0, 2)))


def test_an_incomplete_batch_at_the_end_is_left_out() -> None:
    content = batch(0, 3) + batch(3, 1)
    assert all(counts(content[: len(content) - cut]) == [(0, 3, 3)] for cut in range(1, 62))
    assert counts(b"") == []


@pytest.mark.parametrize("length", [-100, -12, 0, 4])
def test_a_length_that_cannot_be_ends_the_batches(length: int) -> None:
    good = batch(0, 3)
    assert counts(good + struct.pack(">qi", 3, length) + bytes(200)) == [(0, 3, 3)]


@pytest.mark.parametrize(("magic", "codec", "seconds"), [(0, 0, None), (1, 0, 9.0), (1, 1, 0.0)])
def test_batches_of_old_brokers_are_counted_by_their_offsets(
    magic: int, codec: int, seconds: float | None
) -> None:
    builder = MemoryRecordsBuilder(magic, codec, 1 << 20, offset=4)
    for number in range(3):
        builder.append(9000, b"key", b"%d" % number)
    builder.close()
    content = bytes(builder.buffer())
    if codec:  # the broker sets the offset of a compressed set to that of its last record; its time is 0 here
        content = struct.pack(">q", 6) + content[8:]
    found = list(parse(content, (), 4))
    assert sum(each.records for each in found) == 3
    assert found[-1].end == 7 and found[0].seconds == seconds


def test_the_headers_of_kafka_s_own_client_are_read() -> None:
    builder = MemoryRecordsBuilder(2, 1, 1 << 20)
    for number in range(5):
        builder.append(7000 + number, b"key", b"%d" % number)
    builder.close()
    content = struct.pack(">q", 10) + bytes(builder.buffer())[8:]  # the broker sets the offset
    assert list(parse(content, (), 10)) == [RecordBatch(10, 15, 5, 7.0, len(content))]
