"""The seccomp filter of the decoder child on paper, for both machines; `test_decoder` runs it for real."""

import struct

import pytest

from streaming.isolate import seccomp
from streaming.isolate.seccomp import MACHINES

ALLOW, KILL, ERRNO_ENOSYS = 0x7FFF0000, 0x80000000, 0x00050026
PID = 4711
CLONE_THREAD, SIGCHLD = 0x10000, 17
RLIMIT_CPU, RLIMIT_AS = 0, 9

# Calls by name: numbers on x86-64 and AArch64.
CALLS = {
    "read": (0, 63), "write": (1, 64), "mmap": (9, 222), "brk": (12, 214), "recvfrom": (45, 207),
    "sendto": (44, 206), "futex": (202, 98), "exit_group": (231, 94), "openat": (257, 56), "open": (2, None),
    "openat2": (437, 437), "creat": (85, None), "unlinkat": (263, 35), "readlinkat": (267, 78),
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "sendmsg": (46, 211), "execve": (59, 221),
    "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "kill": (62, 129), "tkill": (200, 130),
    "ptrace": (101, 117), "process_vm_writev": (311, 271), "pidfd_send_signal": (424, 424), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "setuid": (105, 146), "unshare": (272, 97), "mount": (165, 40),
    "memfd_create": (319, 279), "ftruncate": (77, 46), "prctl": (157, 167), "seccomp": (317, 277),
    "clone": (56, 220), "clone3": (435, 435), "tgkill": (234, 131), "prlimit64": (302, 261),
}  # fmt: skip
ALLOWED = {"read", "write", "mmap", "brk", "recvfrom", "sendto", "futex", "exit_group"}
DEPENDING = {"clone", "clone3", "tgkill", "prlimit64"}


def verdict(name: str, call: int, *arguments: int, audit: int | None = None) -> int:
    """What the program returns for a call: an interpreter of the instructions that it uses."""
    machine = MACHINES[name]
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", call, machine.audit if audit is None else audit, 0, *values)
    program = list(struct.iter_unpack("=HBBI", seccomp.program(machine, PID)))
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = accumulator == value if code == 0x15 else bool(accumulator & value)
            assert code in (0x15, 0x45)
            at += if_true if holds else if_false


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", sorted(set(CALLS) - DEPENDING))
def test_only_what_a_decoder_needs_is_allowed(machine: str, name: str) -> None:
    number = CALLS[name][MACHINES[machine].column]
    if number is not None:
        assert verdict(machine, number) == (ALLOW if name in ALLOWED else KILL)


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_may_start_but_processes_may_not(machine: str) -> None:
    clone, clone3 = (CALLS[name][MACHINES[machine].column] or 0 for name in ("clone", "clone3"))
    assert verdict(machine, clone, 0x3D0F00 | CLONE_THREAD) == ALLOW
    assert verdict(machine, clone, SIGCHLD) == KILL
    assert verdict(machine, clone, 0x4100 | SIGCHLD) == KILL  # vfork
    assert verdict(machine, clone3) == ERRNO_ENOSYS  # glibc then calls clone


@pytest.mark.parametrize("machine", MACHINES)
def test_a_process_may_signal_and_limit_only_itself(machine: str) -> None:
    tgkill, prlimit64 = (CALLS[name][MACHINES[machine].column] or 0 for name in ("tgkill", "prlimit64"))
    assert verdict(machine, tgkill, PID, PID, 6) == ALLOW
    assert verdict(machine, tgkill, PID - 1, PID - 1, 6) == KILL
    assert verdict(machine, prlimit64, 0, RLIMIT_CPU) == ALLOW
    assert verdict(machine, prlimit64, PID - 1, RLIMIT_CPU) == KILL
    assert verdict(machine, prlimit64, 0, RLIMIT_AS) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_are_killed(machine: str) -> None:
    """Numbers mean other calls there: 1 is exit on i386, and bit 30 is the x32 call of x86-64."""
    assert verdict(machine, CALLS["read"][MACHINES[machine].column] or 0, audit=0x40000003) == KILL
    assert verdict(machine, 0x40000000) == KILL
