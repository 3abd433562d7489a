"""What a decoder writes into the shared memory is not trusted."""

import os
import struct
from collections.abc import Iterator

import pytest

from conf.settings import Settings
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate import shared_memory
from streaming.isolate.shared_memory import SharedBuffers
from streaming.verify.file_checks import Format
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


def test_results_come_back_as_they_were(memory: SharedBuffers) -> None:
    refused = Rejected(Reason.TRUNCATED, "ends at byte 7")
    assert memory.offer(1, [b"one", b"two"]) == 2
    memory.answer(1, memory.answer(0, 0, PREPARED), refused)
    (first, second), at = memory.results(2)
    assert first == PREPARED
    assert isinstance(second, Rejected)
    assert (second.reason, second.detail, at) == (Reason.TRUNCATED, "ends at byte 7", None)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, b"\x07"),  # neither accepted nor rejected: read as accepted, of which too little is there
        (1, b"\xff"),  # no such format
        (shared_memory._ACCEPTED.size - 16, struct.pack("<d", 1e300)),  # no such time
        (shared_memory._ACCEPTED.size - 16, struct.pack("<d", 1e14)),  # a time of the year 3 million
        (shared_memory._ACCEPTED.size - 16, struct.pack("<d", float("inf"))),
    ],
)
def test_nonsense_is_told_as_nonsense(memory: SharedBuffers, offset: int, value: bytes) -> None:
    memory.offer(1, [b"one"])
    memory.answer(0, 0, PREPARED)
    start = shared_memory._HEAD.size + shared_memory._LENGTH.size + offset
    memory._output[start : start + len(value)] = value
    if offset == 0:
        shared_memory._LENGTH.pack_into(memory._output, shared_memory._HEAD.size, 3)
    with pytest.raises(ValueError, match="result 0 is none"):
        memory.results(1)


def test_more_results_than_pictures_are_nonsense(memory: SharedBuffers) -> None:
    memory.offer(1, [b"one"])
    memory.answer(1, memory.answer(0, 0, PREPARED), PREPARED)
    with pytest.raises(ValueError, match="2 results"):
        memory.results(1)


@pytest.mark.parametrize("size", [0, 1 << 40])
def test_nobody_can_change_the_size_of_the_memory(memory: SharedBuffers, size: int) -> None:
    for descriptor in memory.descriptors:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)


def test_no_more_progress_is_believed_than_there_are_pictures(memory: SharedBuffers) -> None:
    memory.offer(1, [b"one", b"two"])
    assert memory.progress(2) == 0
    memory.begin(0)
    assert memory.progress(2) == 1
    memory.begin(1 << 40)
    assert memory.progress(2) == 2
