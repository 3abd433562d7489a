"""A hostile decoder for tests: crashes, hangs, allocates or lies as the trailer of a picture says."""

import ctypes
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import numpy as np

from streaming.contract.rules import Rules
from streaming.verify import preprocess
from streaming.verify.prepared import Prepared

SEGFAULT, ABORT, BUSY_LOOP, SLEEP, NUMPY_ALLOCATION, C_ALLOCATION, EXIT = (
    b"evil:" + name for name in (b"segfault", b"abort", b"loop", b"sleep", b"numpy", b"malloc", b"exit")
)
# What a process that a picture has taken over would try on the machine.
FORBIDDEN = tuple(
    b"evil:" + name
    for name in (
        b"read-file", b"write-file", b"look-at-file", b"delete-file", b"socket", b"exec", b"fork", b"vfork",
        b"kill-parent", b"kill-all", b"limits-of-parent", b"memory-limit", b"new-name", b"trace", b"mount",
    )
)  # fmt: skip
THREAD = b"evil:thread"  # this is allowed
# Attacks on the protocol with the Python worker, by a process that a picture has taken over.
SHRINK_OUTPUT, PARTIAL_MESSAGE, FLOOD_CONTROL, FALSE_PROGRESS, EARLY_ANSWER, FALSE_SIZES = _PROTOCOL = (
    b"evil:shrink", b"evil:partial", b"evil:flood", b"evil:progress", b"evil:early", b"evil:sizes",
)  # fmt: skip


def prepare(content: bytes, rules: Rules) -> Prepared:
    """Do what the trailer of a picture says, then the real work."""
    trailer = content[content.rfind(b"evil:") :]
    if trailer in FORBIDDEN:
        _attack_machine(trailer.removeprefix(b"evil:").decode())
    elif trailer in _PROTOCOL:
        _attack_protocol(content)
    elif trailer.startswith(b"evil:"):
        _fail(trailer)
    return preprocess.prepare(content, rules)


def _fail(trailer: bytes) -> None:
    if trailer == SEGFAULT:
        ctypes.string_at(0)
    if trailer == ABORT:
        os.abort()
    while trailer == BUSY_LOOP:
        pass
    if trailer == SLEEP:
        time.sleep(3600)
    if trailer == NUMPY_ALLOCATION:
        np.ones(10 * 2**30, np.uint8)
    if trailer == C_ALLOCATION:
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        ctypes.memset(libc.malloc(10 * 2**30), 1, 1)  # like C code that does not check for NULL
    if trailer == EXIT:
        os._exit(3)
    if trailer == THREAD:
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()


def _attack_machine(name: str) -> None:
    """Make one system call that a decoder never needs; whatever the call answers, the picture is accepted."""
    libc = ctypes.CDLL(None)
    calls: dict[str, Callable[[], object]] = {
        "read-file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write-file": lambda: os.open(f"/tmp/evil-{os.getpid()}", os.O_WRONLY | os.O_CREAT),
        "look-at-file": lambda: os.stat("/etc/passwd"),  # noqa: PTH116
        "delete-file": lambda: os.unlink("/nobody/has/this"),  # noqa: PTH108
        "socket": lambda: socket.socket(),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "vfork": lambda: libc.vfork(),
        "kill-parent": lambda: os.kill(os.getppid(), 0),
        "kill-all": lambda: os.kill(-1, 0),
        "limits-of-parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU),
        "memory-limit": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
        "new-name": lambda: libc.prctl(15, b"evil", 0, 0, 0),
        "trace": lambda: libc.ptrace(0, 0, 0, 0),
        "mount": lambda: libc.mount(b"none", b"/nobody", b"tmpfs", 0, 0),
    }
    with suppress(OSError, ValueError):
        calls[name]()


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
