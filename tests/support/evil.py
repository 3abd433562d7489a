"""A decoder that does to its process what a hostile picture may do to a real one, then the real work."""

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

SEGFAULT, ABORT, LOOP, SLEEP, GREED, GIANT, LEAVE = (
    b"evil:" + name for name in (b"segfault", b"abort", b"loop", b"sleep", b"greed", b"giant", b"leave")
)
# What only one can do that a picture has taken over.
SHRINK, WORD, FLOOD, RESTLESS, EARLY, LIAR = (
    b"evil:" + name for name in (b"shrink", b"word", b"flood", b"restless", b"early", b"liar")
)


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Do what the trailer of a picture says."""
    if content.endswith(SEGFAULT):
        ctypes.string_at(0)
    if content.endswith(ABORT):
        os.abort()
    if content.endswith(LOOP):
        while True:
            pass
    if content.endswith(SLEEP):
        signal.pause()
    if content.endswith(GREED):
        np.ones(10 * 2**30, np.uint8)
    if content.endswith(GIANT):
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        ctypes.memset(libc.malloc(10 * 2**30), 1, 1)  # as C code does that never asks whether it got any
    if content.endswith(LEAVE):
        os._exit(3)
    if content[content.rfind(b"evil:") :] in {SHRINK, WORD, FLOOD, RESTLESS, EARLY, LIAR}:
        _taken_over(content)
    return preprocess.prepare(content, rules)


def _taken_over(content: bytes) -> None:
    """Turn on the Python worker by what is shared with it."""
    control, output = int(sys.argv[1]), int(sys.argv[4])
    if content.endswith(SHRINK):
        os.ftruncate(output, 0)
    memory = mmap.mmap(output, 0)
    (task,) = struct.unpack_from("<Q", memory)
    if content.endswith(WORD):
        os.write(control, b"x")
        signal.pause()
    while content.endswith(FLOOD):
        os.write(control, b"x" * 8)
    if content.endswith(RESTLESS):
        for begun in count(10):
            struct.pack_into("<Q", memory, 16, begun)
            select.select([], [], [], 0.05)  # no CPU time
    if content.endswith(EARLY):
        os.write(control, struct.pack("<Q", task))
        signal.pause()
    if content.endswith(LIAR):
        struct.pack_into("<QQ", memory, 8, 1 << 60, 1 << 60)
        os.write(control, struct.pack("<Q", task))
        signal.pause()
