"""Client of the decoder process: a picture that crashes or hangs it is rejected, and no other picture."""

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.errors import DecoderLost
from streaming.isolate.sandbox import EXIT_STATUS, TASK_ID, TASK_REQUEST, load_function, prepare_or_reject
from streaming.isolate.shared_memory import Buffer, SharedBuffers
from streaming.verify.prepared import Outcome

_PASSED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HOME")
_MALLOC_AND_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # By default glibc returns the pixels' memory to the kernel after each picture and requests new pages for
    # the next: 170 page faults and a fifth of the time of a picture of 500 pixels.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    # With more arenas than one, a thread's first allocation would read the number of cores from a file.
    "MALLOC_ARENA_MAX": "1",
    "TZ": "UTC0",  # a named zone is a file
}
_POLLS_PER_TIMEOUT = 4  # checks of the progress within `decoding.timeout_seconds`
_MAX_IDLE_STARTS = 3  # consecutive exits of the decoder before it began a picture


class Decoder:
    """A sandbox process whose forked child decodes pictures.

    Many pictures at a time are passed in shared memory. A child that crashes or hangs is replaced; the new
    child continues with the next picture.

    Args:
        rules: checks and limits for pictures; `rules.decoding` limits time and memory.
    """

    def __init__(self, rules: Rules) -> None:
        self._limits = rules.decoding
        self._buffers = SharedBuffers(rules.ingest)
        # SEQPACKET keeps messages apart: a message of a wrong length does not affect the next one.
        self._tasks, sandbox_tasks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tasks.setblocking(False)
        self._control, sandbox_control = socket.socketpair()
        self._poller = select.poll()  # not select(), which fails for descriptors above 1,023
        for channel in (self._tasks, self._control):
            self._poller.register(channel, select.POLLIN)
        self._task, self._generation = 0, 0
        descriptors = sandbox_tasks.fileno(), sandbox_control.fileno(), *self._buffers.descriptors
        # No credentials are passed: an untrusted picture may take over the process.
        environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streaming.isolate.sandbox", *map(str, descriptors)],
            pass_fds=descriptors,
            env=environment | _MALLOC_AND_THREADS | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
        )
        sandbox_tasks.close()
        sandbox_control.close()
        pickled = pickle.dumps(rules)
        with suppress(ConnectionError):  # `prepare` reports a process that did not start
            self._control.sendall(TASK_ID.pack(len(pickled)) + pickled)

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process; it also exits by itself when this process exits."""
        self._tasks.close()
        self._control.close()
        self._process.wait()
        self._buffers.close()

    @property
    def pid(self) -> int:
        """Process id of the sandbox process, which forks the decoder child."""
        return self._process.pid

    def prepare(self, contents: Sequence[Buffer]) -> list[Outcome]:
        """Check, decode and encode pictures.

        Returns:
            the outcome of each picture, in the same order.

        Raises:
            DecoderLost: the decoder cannot be started.
        """
        outcomes: list[Outcome] = []
        idle_starts = 0
        while len(outcomes) < len(contents):
            results = self._run_task(contents[len(outcomes) :])
            idle_starts = 0 if results else idle_starts + 1
            if idle_starts == _MAX_IDLE_STARTS:
                raise DecoderLost(
                    f"the decoder {self._limits.function} exited {idle_starts} times before it began "
                    "a picture; see the executors' log"
                )
            outcomes += results
        return outcomes

    def _run_task(self, contents: Sequence[Buffer]) -> list[Outcome]:
        """Run one task: the outcomes of the first pictures; none if the child exited before it began one.

        Invalid results mean that one of the pictures has taken over the child, but not which one: half of the
        pictures are tried again, until one is left.
        """
        self._task += 1
        count = self._buffers.write_pictures(self._task, contents)
        with suppress(ConnectionError, BlockingIOError):  # the control socket reports its exit
            self._tasks.send(TASK_REQUEST.pack(self._task, self._generation))
        fault = self._wait_for_task(count)
        try:
            outcomes, begun = self._buffers.read_results(count)
            if fault is None and not outcomes:
                raise ValueError("done without a result")
        except ValueError as error:
            self._kill_child()
            self._wait_for_exit()
            if count > 1:
                return self._run_task(contents[: count // 2])
            return [Rejected(Reason.DECODER_CRASHED, f"the decoder wrote an invalid result: {error}")]
        if fault is not None and begun is not None and begun >= len(outcomes):
            outcomes.append(fault)
        return outcomes

    def _wait_for_task(self, count: int) -> Rejected | None:
        """Wait until the task is done, or the child has exited or was killed: then return the rejection.

        The timeout restarts only when the child begins the next picture, not when it sends something.
        """
        limit = self._limits.timeout_seconds
        begun, since = self._buffers.begun_count(count), time.monotonic()
        while time.monotonic() - since <= limit:
            ready = dict(self._poller.poll(limit / _POLLS_PER_TIMEOUT * 1000))
            if self._control.fileno() in ready:
                return self._exit_verdict(self._wait_for_exit())
            if self._tasks.fileno() in ready and self._task_is_done():
                return None
            if begun < self._buffers.begun_count(count):
                begun, since = self._buffers.begun_count(count), time.monotonic()
        self._kill_child()
        self._wait_for_exit()
        return Rejected(Reason.DECODE_TIMEOUT, f"not decoded within {limit:g} seconds")

    def _task_is_done(self) -> bool:
        """Whether the next message says so; other messages are ignored."""
        with suppress(ConnectionError, BlockingIOError):
            return self._tasks.recv(TASK_ID.size) == TASK_ID.pack(self._task)
        return False

    def _kill_child(self) -> None:
        with suppress(ConnectionError):
            self._control.sendall(TASK_ID.pack(self._generation))

    def _wait_for_exit(self) -> int:
        """Wait until the child has exited, and return its wait status; the next child is already forked."""
        message = b""
        with suppress(ConnectionError):
            message = self._control.recv(EXIT_STATUS.size, socket.MSG_WAITALL)
        if len(message) < EXIT_STATUS.size:
            raise DecoderLost(
                f"the process of the decoder {self._limits.function} has exited "
                f"(status {self._process.wait()}); see the executors' log"
            )
        generation, status = EXIT_STATUS.unpack(message)
        self._generation = generation + 1
        return int(status)

    def _exit_verdict(self, status: int) -> Rejected:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGXCPU:
                return Rejected(
                    Reason.DECODE_TIMEOUT, f"took more than {self._limits.timeout_seconds:g} s of CPU time"
                )
            cause = ": it made a system call that is not allowed" if number == signal.SIGSYS else ""
            return Rejected(
                Reason.DECODER_CRASHED, f"the decoder was killed by {signal.Signals(number).name}{cause}"
            )
        exit_code = os.waitstatus_to_exitcode(status)
        return Rejected(Reason.DECODER_CRASHED, f"the decoder exited with code {exit_code}")


def prepare(contents: Sequence[Buffer], rules: Rules) -> list[Outcome]:
    """Check, decode and encode pictures in the decoder process, or here if `decoding.isolated` is false.

    Raises:
        DecoderLost: the decoder cannot be started.
    """
    if rules.decoding.isolated:
        return _decoder_of_process(rules).prepare(contents)
    function = load_function(rules.decoding.function)
    return [prepare_or_reject(bytes(content), function, rules) for content in contents]


@lru_cache(maxsize=1)
def _decoder_of_process(rules: Rules) -> Decoder:
    """The decoder of this Python worker; it lives as long as the worker."""
    return Decoder(rules)
