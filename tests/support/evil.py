"""A hostile decoder for tests: crashes, hangs, allocates or lies as the trailer of a picture says."""

import ctypes
import mmap
import os
import select
import signal
import struct
import sys
from itertools import count

import numpy as np

from streaming.contract.rules import Rules
from streaming.verify import preprocess
from streaming.verify.prepared import Prepared

SEGFAULT, ABORT, BUSY_LOOP, SLEEP, NUMPY_ALLOCATION, C_ALLOCATION, EXIT = (
    b"evil:" + name for name in (b"segfault", b"abort", b"loop", b"sleep", b"numpy", b"malloc", b"exit")
)
# Attacks on the protocol with the Python worker, by a process that a picture has taken over.
SHRINK_OUTPUT, PARTIAL_MESSAGE, FLOOD_CONTROL, FALSE_PROGRESS, EARLY_ANSWER, FALSE_SIZES = _PROTOCOL = (
    b"evil:shrink", b"evil:partial", b"evil:flood", b"evil:progress", b"evil:early", b"evil:sizes",
)  # fmt: skip


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Do what the trailer of a picture says, then the real work."""
    if content.endswith(SEGFAULT):
        ctypes.string_at(0)
    if content.endswith(ABORT):
        os.abort()
    if content.endswith(BUSY_LOOP):
        while True:
            pass
    if content.endswith(SLEEP):
        signal.pause()
    if content.endswith(NUMPY_ALLOCATION):
        np.ones(10 * 2**30, np.uint8)
    if content.endswith(C_ALLOCATION):
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        ctypes.memset(libc.malloc(10 * 2**30), 1, 1)  # like C code that does not check for NULL
    if content.endswith(EXIT):
        os._exit(3)
    if content[content.rfind(b"evil:") :] in _PROTOCOL:
        _attack_protocol(content)
    return preprocess.prepare(content, rules)


def _attack_protocol(content: bytes) -> None:
    """Attack the Python worker through the pipe and the memory that are shared with it."""
    control, output = int(sys.argv[1]), int(sys.argv[4])
    if content.endswith(SHRINK_OUTPUT):
        os.ftruncate(output, 0)
    memory = mmap.mmap(output, 0)
    (task,) = struct.unpack_from("<Q", memory)
    if content.endswith(PARTIAL_MESSAGE):
        os.write(control, b"x")
        signal.pause()
    while content.endswith(FLOOD_CONTROL):
        os.write(control, b"x" * 8)
    if content.endswith(FALSE_PROGRESS):
        for begun in count(10):
            struct.pack_into("<Q", memory, 16, begun)
            select.select([], [], [], 0.05)  # waits without CPU time
    if content.endswith(EARLY_ANSWER):
        os.write(control, struct.pack("<Q", task))
        signal.pause()
    if content.endswith(FALSE_SIZES):
        struct.pack_into("<QQ", memory, 8, 1 << 60, 1 << 60)
        os.write(control, struct.pack("<Q", task))
        signal.pause()
