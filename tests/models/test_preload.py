"""Prefetching libraries: a real file that has left the page cache is loaded again."""

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from models import preload
from tests.support.waiting import wait_until

PAGES = 64


def in_memory(mapped: mmap.mmap) -> int:
    """How many pages of a mapping the page cache holds."""
    pages = (ctypes.c_ubyte * PAGES)()
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(mapped)), pages) == 0
    return sum(page & 1 for page in pages)


def test_a_library_that_has_left_memory_is_prefetched(tmp_path: Path) -> None:
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system does not take advice on files")
    path = tmp_path / "lib with a blank.so.1"
    path.write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        # A private mapping, as for libraries; it is not touched, so it does not load any page.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if in_memory(mapped):
        pytest.skip("files below the temporary folder do not leave memory")
    preload.prefetch_libraries().join(30)
    assert wait_until(lambda: in_memory(mapped) == PAGES, 30)
