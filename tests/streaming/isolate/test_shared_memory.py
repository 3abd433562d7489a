"""Shared memory: nothing that a decoder writes into it is trusted."""

import os
import struct
from collections.abc import Iterator

import pytest

from conf.settings import Settings
from lake.pictures.formats import Format
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate import shared_memory
from streaming.isolate.shared_memory import SharedBuffers
from streaming.verify.prepared import Prepared
from streaming.verify.quality import Metrics

PREPARED = Prepared(
    format=Format.JPEG, width=4, height=3, phash=-5, flags=(), metrics=Metrics(1, 2, 3, 4, 5),
    taken_at=None, jpeg=b"jpeg", thumbnail=b"small",
)  # fmt: skip


@pytest.fixture
def memory(settings: Settings) -> Iterator[SharedBuffers]:
    own = SharedBuffers(settings.ingest)
    yield own
    own.close()


def test_results_are_read_as_they_were_written(memory: SharedBuffers) -> None:
    rejected = Rejected(Reason.TRUNCATED, "ends at byte 7")
    assert memory.write_pictures(1, [b"one", b"two"]) == 2
    memory.write_result(1, memory.write_result(0, 0, PREPARED), rejected)
    (first, second), begun = memory.read_results(2)
    assert first == PREPARED
    assert isinstance(second, Rejected)
    assert (second.reason, second.detail, begun) == (Reason.TRUNCATED, "ends at byte 7", None)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, b"\x07"),  # neither accepted nor rejected: read as accepted, but too short
        (1, b"\xff"),  # no such format
        (shared_memory._ACCEPTED.size - 16, struct.pack("<d", 1e300)),  # no such time
        (shared_memory._ACCEPTED.size - 16, struct.pack("<d", 1e14)),  # a time of the year 3 million
        (shared_memory._ACCEPTED.size - 16, struct.pack("<d", float("inf"))),
    ],
)
def test_invalid_result_raises_an_error(memory: SharedBuffers, offset: int, value: bytes) -> None:
    memory.write_pictures(1, [b"one"])
    memory.write_result(0, 0, PREPARED)
    start = shared_memory._HEADER.size + shared_memory._LENGTH.size + offset
    memory._output[start : start + len(value)] = value
    if offset == 0:
        shared_memory._LENGTH.pack_into(memory._output, shared_memory._HEADER.size, 3)
    with pytest.raises(ValueError, match="result 0 is invalid"):
        memory.read_results(1)


def test_more_results_than_pictures_are_invalid(memory: SharedBuffers) -> None:
    memory.write_pictures(1, [b"one"])
    memory.write_result(1, memory.write_result(0, 0, PREPARED), PREPARED)
    with pytest.raises(ValueError, match="2 results"):
        memory.read_results(1)


@pytest.mark.parametrize("size", [0, 1 << 40])
def test_nobody_can_change_the_size_of_the_memory(memory: SharedBuffers, size: int) -> None:
    for descriptor in memory.descriptors:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)


def test_begun_count_is_at_most_the_number_of_pictures(memory: SharedBuffers) -> None:
    memory.write_pictures(1, [b"one", b"two"])
    assert memory.begun_count(2) == 0
    memory.mark_begun(0)
    assert memory.begun_count(2) == 1
    memory.mark_begun(1 << 40)
    assert memory.begun_count(2) == 2
