"""A decoder that does to its process what a hostile picture may do to a real one, then the real work."""

import ctypes
import os
import signal

import numpy as np

from streaming import preprocess
from streaming.prepared import Prepared
from streaming.rules import Rules

SEGFAULT, ABORT, LOOP, SLEEP, GREED, GIANT, LEAVE = (
    b"evil:" + name for name in (b"segfault", b"abort", b"loop", b"sleep", b"greed", b"giant", b"leave")
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
    return preprocess.prepare(content, rules)
