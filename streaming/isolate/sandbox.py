"""The sandbox process: it forks a child that decodes untrusted pictures, and replaces a child that dies.

`streaming.isolate.decoder` runs it as `python -m streaming.isolate.sandbox`. This process imports the
decoders once and has no picture and no credentials. Forking a new child takes milliseconds.
"""

import importlib
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn, cast

from conf.sections import Decoding
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate import seccomp
from streaming.isolate.shared_memory import SharedBuffers
from streaming.verify.prepared import Outcome, Prepared

TASK_ID = struct.Struct("<Q")
TASK_REQUEST = struct.Struct("<QQ")  # task id, generation of the child that shall run it
EXIT_STATUS = struct.Struct("<Qi")  # generation of the child, its wait status

PrepareFunction = Callable[[bytes, Rules], Prepared]


def main(task_fd: int, control_fd: int, memory: tuple[int, int]) -> None:
    """Fork children, one after the other, until the Python worker at the other end has exited.

    Args:
        task_fd: socket that receives tasks and sends their completion.
        control_fd: socket that receives the rules, then kill requests, and sends exit statuses of children.
        memory: file descriptors of the shared memory.
    """
    tasks, control = socket.socket(fileno=task_fd), socket.socket(fileno=control_fd)
    length = TASK_ID.unpack(control.recv(TASK_ID.size, socket.MSG_WAITALL))[0]
    rules: Rules = pickle.loads(control.recv(length, socket.MSG_WAITALL))  # from our own parent
    prepare = load_function(rules.decoding.function)
    buffers = SharedBuffers(rules.ingest, memory)
    generation = 0
    while True:
        pid = os.fork()
        if pid == 0:
            control.close()
            _run_child(tasks, buffers, prepare, rules, generation)
        status = _wait_for_exit(pid, generation, control)
        if status is None:
            return
        try:
            control.sendall(EXIT_STATUS.pack(generation, status))
        except ConnectionError:
            return
        generation += 1


def load_function(name: str) -> PrepareFunction:
    """Import the function that `module:function` names."""
    module, _, attribute = name.partition(":")
    return cast(PrepareFunction, getattr(importlib.import_module(module), attribute))


def _wait_for_exit(pid: int, generation: int, control: socket.socket) -> int | None:
    """Wait for the child's exit status; if the Python worker has exited, kill the child and return None."""
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(control, select.POLLIN)
    try:
        while True:
            if pidfd in dict(poller.poll()):
                break
            request = control.recv(TASK_ID.size, socket.MSG_WAITALL)  # empty once the socket is closed
            if not request or TASK_ID.unpack(request)[0] == generation:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not request:
                os.waitpid(pid, 0)
                return None
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(pidfd)


def _run_child(
    tasks: socket.socket, buffers: SharedBuffers, prepare: PrepareFunction, rules: Rules, generation: int
) -> NoReturn:
    """Run the child process; it exits here, because it must not return into the parent's code."""
    status = 1
    try:
        _limit_resources(rules.decoding)
        if rules.decoding.seccomp:
            _restrict_system_calls(is_first=generation == 0)
        _run_tasks(tasks, buffers, prepare, rules, generation)
        status = 0
    except BaseException as error:
        _print_stack(error)
    finally:
        os._exit(status)


def _limit_resources(limits: Decoding) -> None:
    """Limit the child's memory and disable core dumps; `_CpuLimit` limits its CPU time."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123  # Path.open would do the same
        used = int(statm.read().split()[0]) * resource.getpagesize()
    limit = used + limits.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _restrict_system_calls(is_first: bool) -> None:
    """Install the seccomp filter; where the kernel has none, the first child says so and goes on without."""
    warnings.simplefilter("ignore")  # Python would open the source of the line that it prints
    try:
        seccomp.install()
    except OSError as error:
        if is_first:
            print(
                f"decoder: works without a seccomp filter: {error.strerror or error}",
                file=sys.stderr,
                flush=True,
            )


def _print_stack(error: BaseException) -> None:
    """Print an error and where it comes from, without the lines of code: they are in files."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        print(f"  {frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}", file=sys.stderr)
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)


class _CpuLimit:
    """CPU time limit of the child, renewed for each picture; the kernel kills a child that exceeds it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._renew_at = 0.0
        self._hard = resource.getrlimit(resource.RLIMIT_CPU)[1]

    def renew(self) -> None:
        """Renew the limit for the next picture: it gets at least the allowed time, and at most twice that."""
        used = time.process_time()
        if used >= self._renew_at:
            self._renew_at = used + self._seconds
            soft = int(used + 2 * self._seconds) + 1
            # The process may not exceed or raise the hard limit of its user.
            limit = soft if self._hard == resource.RLIM_INFINITY else min(soft, self._hard)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, self._hard))


def _run_tasks(
    tasks: socket.socket, buffers: SharedBuffers, prepare: PrepareFunction, rules: Rules, generation: int
) -> None:
    """Prepare the pictures of each task, until the socket is closed."""
    cpu_limit = _CpuLimit(rules.decoding.timeout_seconds)
    while request := tasks.recv(TASK_REQUEST.size):
        task, addressee = TASK_REQUEST.unpack(request)
        # A request that a dead child left unread: the Python worker is already writing other pictures.
        if addressee != generation:
            continue
        end = 0
        for position, content in enumerate(buffers.read_pictures()):
            buffers.mark_begun(position)
            cpu_limit.renew()
            end = buffers.write_result(position, end, prepare_or_reject(content, prepare, rules))
            if not buffers.has_room(end):
                break
        tasks.sendall(TASK_ID.pack(task))


def prepare_or_reject(content: bytes, prepare: PrepareFunction, rules: Rules) -> Outcome:
    """Prepare one picture; return the rejection instead of raising it."""
    try:
        return prepare(content, rules)
    except Rejected as problem:
        return problem
    except MemoryError:
        detail = f"decoding it takes more than {rules.decoding.memory_mb:,} MiB"
        return Rejected(Reason.DECODER_CRASHED, detail)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4])))
