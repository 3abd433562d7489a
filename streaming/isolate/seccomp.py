"""Seccomp filter of the decoder child: what it does not need to decode, the kernel kills it for.

It may compute, allocate memory, start threads, and use the descriptors that it has: shared memory, a socket
to its Python worker, the log. It may open no file or socket, start no program or process, and signal nobody
else.
Source: seccomp(2), prctl(2); Linux, Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # SECCOMP_RET_…; _KILL is the whole process
_ENOSYS, _EACCES = 38, 13
_CLONE_THREAD = 0x00010000
_SET_NO_NEW_PRIVS = 38  # prctl
_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4  # seccomp; without the flag, kernels before 5.16 slow down the process

# Of struct seccomp_data: call, architecture, and the low half of each argument (little-endian).
_CALL, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF instructions

# Numbers of system calls on x86-64 and AArch64; None: the architecture has no such call.
# Source: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "recvfrom": (45, 207), "sendto": (44, 206), "close": (3, 57),
    "lseek": (8, 62), "fstat": (5, 80), "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216),
    "mprotect": (10, 226), "madvise": (28, 233), "brk": (12, 214), "futex": (202, 98), "rseq": (334, 293),
    "set_robust_list": (273, 99), "membarrier": (324, 283), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "getcpu": (309, 168), "getpid": (39, 172), "gettid": (186, 178), "getrandom": (318, 278),
    "getrusage": (98, 165), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "sysinfo": (99, 179), "uname": (63, 160), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
Calls = Mapping[str, tuple[int | None, int | None]]

READ_AT: Calls = {"pread64": (17, 67)}
"""More calls, for a process that has an open database file."""

FILES: Calls = {
    "open": (2, None), "openat": (257, 56), "stat": (4, None), "lstat": (6, None), "newfstatat": (262, 79),
    "statx": (332, 291), "access": (21, None), "faccessat": (269, 48), "readlink": (89, None),
    "readlinkat": (267, 78), "getcwd": (79, 17), "mkdir": (83, None), "mkdirat": (258, 34),
    "socket": (41, 198),
}  # fmt: skip
"""Calls that name a file, or make a socket: a library that only tries them goes on when they are refused."""

_CLONE, _CLONE3, _TGKILL, _PRLIMIT64, _SECCOMP = (56, 220), (435, 435), (234, 131), (302, 261), (317, 277)


@dataclass(frozen=True)
class Machine:
    """An architecture: its number in seccomp_data, and its column in the tables of system calls."""

    audit: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}


def install(more: Calls | None = None, refused: Calls | None = None) -> None:
    """Restrict this process and its threads for good.

    Args:
        more: calls that are allowed, too.
        refused: calls that fail with EACCES, in place of ending the process.

    Raises:
        OSError: the kernel refuses, or the architecture is unknown.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(f"no seccomp filter for {platform.machine()}")
    instructions = program(machine, os.getpid(), _ALLOWED | dict(more or {}), refused or {})
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    # struct sock_fprog: number of instructions, and their address.
    header = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl: {os.strerror(ctypes.get_errno())}")
    for flags in (_SPEC_ALLOW, 0):
        numbers = map(ctypes.c_long, (_SECCOMP[machine.column], _SET_MODE_FILTER, flags))
        if libc.syscall(*numbers, header) == 0:
            return
    raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def program(machine: Machine, pid: int, allowed: Calls = _ALLOWED, refused: Calls | None = None) -> bytes:
    """The BPF program: eight bytes for each instruction.

    Args:
        machine: the architecture; a call of another one (32 bits) is killed.
        pid: of the process, which may signal itself: abort() does.
        allowed: calls with any arguments.
        refused: calls that fail with EACCES.
    """
    code = [_jump(_EQUAL, machine.audit, 1, 0), _return(_KILL), _load(_CALL)]
    for calls, verdict in ((allowed, _ALLOW), (refused or {}, _ERRNO | _EACCES)):
        for numbers in calls.values():
            number = numbers[machine.column]
            if number is not None:
                code += [_jump(_EQUAL, number, 0, 1), _return(verdict)]
    # glibc falls back to clone, whose flags a filter can read.
    code += [_jump(_EQUAL, _CLONE3[machine.column], 0, 1), _return(_ERRNO | _ENOSYS)]
    code += _if_argument(_CLONE[machine.column], (0, _ANY_BIT, _CLONE_THREAD))
    code += _if_argument(_TGKILL[machine.column], (0, _EQUAL, pid))
    code += _if_argument(_PRLIMIT64[machine.column], (0, _EQUAL, 0), (1, _EQUAL, resource.RLIMIT_CPU))
    return b"".join([_load(_ARCHITECTURE), *code, _return(_KILL)])


def _if_argument(number: int, *tests: tuple[int, int, int]) -> list[bytes]:
    """Allow a call if all tests hold: position of the argument, test, value."""
    body: list[bytes] = []
    for position, test, value in tests:
        body += [_load(_ARGUMENTS + 8 * position), _jump(test, value, 1, 0), _return(_KILL)]
    body.append(_return(_ALLOW))
    return [_jump(_EQUAL, number, 0, len(body)), *body]


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    """Skip this many instructions."""
    return struct.pack("=HBBI", test, if_true, if_false, value)


def _return(value: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, value)
