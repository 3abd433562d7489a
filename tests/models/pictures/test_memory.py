"""The share of memory that decoded pictures may take, and pictures in shared memory."""

import os

import numpy as np
import pytest

from models.pictures import memory
from models.pictures.shared_pixels import SharedPixels


def test_the_cache_is_a_share_of_the_free_memory_divided_among_the_workers_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 64 * 2**30)
    assert memory.cache_bytes(None, 1) == 32 * 2**30
    assert memory.cache_bytes(None, 4) == 8 * 2**30
    assert memory.cache_bytes(2048, 4) == 2 * 2**30
    assert memory.cache_bytes(0, 1) == 0


def test_free_memory_is_not_more_than_the_machine_has() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.free_memory() < pages


def test_shared_pixels_are_the_same_memory_under_another_descriptor() -> None:
    first = SharedPixels.copy_of(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    second = SharedPixels((2, 4, 3), os.dup(first.descriptor))
    second.array[1, 2, 0] = 200
    assert first.array[1, 2, 0] == 200
    assert np.array_equal(first.array[0], np.arange(12).reshape(4, 3))
    descriptor = first.descriptor
    del first
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert second.array[1, 2, 0] == 200
    assert SharedPixels((0, 4, 4, 3)).array.shape == (0, 4, 4, 3)
