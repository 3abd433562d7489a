"""Decoding in a process of its own, so that what a picture does to a decoder costs that picture a verdict."""

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
from streaming.isolate.sandbox import ORDER, STATUS, TASK, function, judged
from streaming.isolate.shared_memory import Buffer, SharedBuffers
from streaming.verify.prepared import Outcome

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HOME")
_TUNING = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Else glibc gives the pixels of each picture back to the kernel, and takes new pages for the next:
    # 170 page faults and a fifth of the time of a picture of 500 pixels.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
_LOOKS = 4  # at its progress, within the time that one picture may take
_STARTS = 3  # ends in a row with no picture to blame


class Decoder:
    """A decoder process and what it is told.

    Pictures are handed over in memory that both share, many at a time. A decoder that crashes or hangs is
    replaced and goes on with the next picture.

    Args:
        rules: that pictures are held to; `rules.decoding` bounds time and memory.
    """

    def __init__(self, rules: Rules) -> None:
        self._limits = rules.decoding
        self._exchange = SharedBuffers(rules.ingest)
        # Whole messages: of one that is cut short or too long nothing is left for the next.
        self._tasks, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tasks.setblocking(False)
        self._guard, orders = socket.socketpair()
        self._news = select.poll()  # not select(), which takes no descriptor above 1,023
        for channel in (self._tasks, self._guard):
            self._news.register(channel, select.POLLIN)
        self._task, self._generation = 0, 0
        passed = control.fileno(), orders.fileno(), *self._exchange.descriptors
        # It is given no credentials; what strangers' bytes may take over should hold none.
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streaming.isolate.sandbox", *map(str, passed)],
            pass_fds=passed,
            env=environment | _TUNING | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
        )
        control.close()
        orders.close()
        pickled = pickle.dumps(rules)
        with suppress(ConnectionError):  # a process that could not start is told of when it is asked
            self._guard.sendall(TASK.pack(len(pickled)) + pickled)

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; it ends by itself, too, when this one does."""
        self._tasks.close()
        self._guard.close()
        self._process.wait()
        self._exchange.close()

    @property
    def pid(self) -> int:
        """Of the process that forks the decoders."""
        return self._process.pid

    def prepare(self, contents: Sequence[Buffer]) -> list[Outcome]:
        """Check, decode and encode pictures.

        Returns:
            what each of them came to, in their order.

        Raises:
            DecoderLost: the decoder cannot be started.
        """
        outcomes: list[Outcome] = []
        idle = 0
        while len(outcomes) < len(contents):
            answered = self._answers(contents[len(outcomes) :])
            idle = 0 if answered else idle + 1
            if idle == _STARTS:
                raise DecoderLost(
                    f"the decoder {self._limits.function} ended {idle} times before it took a picture; "
                    "see the executors' log"
                )
            outcomes += answered
        return outcomes

    def _answers(self, contents: Sequence[Buffer]) -> list[Outcome]:
        """The outcomes of the first few of the pictures; none where the decoder ended before it took one.

        Nonsense is the work of one of the pictures, but nobody can say of which: they are halved until one is
        left.
        """
        self._task += 1
        offered = self._exchange.offer(self._task, contents)
        with suppress(ConnectionError, BlockingIOError):  # its end is told on the other socket
            self._tasks.send(ORDER.pack(self._task, self._generation))
        fault = self._fault(offered)
        try:
            outcomes, begun = self._exchange.results(offered)
            if fault is None and not outcomes:
                raise ValueError("done, and no result")
        except ValueError as error:
            self._kill()
            self._ended()
            if offered > 1:
                return self._answers(contents[: offered // 2])
            return [Rejected(Reason.DECODER_CRASHED, f"the decoder answered nonsense: {error}")]
        if fault is not None and begun is not None and begun >= len(outcomes):
            outcomes.append(fault)
        return outcomes

    def _fault(self, offered: int) -> Rejected | None:
        """Wait until the task is done, or the decoder has come to an end: then why.

        Nothing that it sends gives it more time, only to begin another of the pictures does.
        """
        limit = self._limits.timeout_seconds
        at, since = self._exchange.progress(offered), time.monotonic()
        while time.monotonic() - since <= limit:
            ready = dict(self._news.poll(limit / _LOOKS * 1000))
            if self._guard.fileno() in ready:
                return self._verdict_on(self._ended())
            if self._tasks.fileno() in ready and self._is_done():
                return None
            if at < self._exchange.progress(offered):
                at, since = self._exchange.progress(offered), time.monotonic()
        self._kill()
        self._ended()
        return Rejected(Reason.DECODE_TIMEOUT, f"not decoded within {limit:g} seconds")

    def _is_done(self) -> bool:
        """Whether the next message says so; what was meant of another task, or means nothing, does not."""
        with suppress(ConnectionError, BlockingIOError):
            return self._tasks.recv(TASK.size) == TASK.pack(self._task)
        return False

    def _kill(self) -> None:
        with suppress(ConnectionError):
            self._guard.sendall(TASK.pack(self._generation))

    def _ended(self) -> int:
        """Wait for word of the decoder's end, and give its status; the next one is on its way."""
        message = b""
        with suppress(ConnectionError):
            message = self._guard.recv(STATUS.size, socket.MSG_WAITALL)
        if len(message) < STATUS.size:
            raise DecoderLost(
                f"the process of the decoder {self._limits.function} has ended "
                f"(status {self._process.wait()}); see the executors' log"
            )
        generation, status = STATUS.unpack(message)
        self._generation = generation + 1
        return int(status)

    def _verdict_on(self, status: int) -> Rejected:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number == signal.SIGXCPU:
                return Rejected(
                    Reason.DECODE_TIMEOUT, f"took more than {self._limits.timeout_seconds:g} s of CPU time"
                )
            return Rejected(Reason.DECODER_CRASHED, f"the decoder died of {signal.Signals(number).name}")
        return Rejected(Reason.DECODER_CRASHED, f"the decoder left with {os.waitstatus_to_exitcode(status)}")


def prepare(contents: Sequence[Buffer], rules: Rules) -> list[Outcome]:
    """Check, decode and encode pictures, by the Python worker's decoder or, where settings say so, in it.

    Raises:
        DecoderLost: the decoder cannot be started.
    """
    if rules.decoding.isolated:
        return _of_worker(rules).prepare(contents)
    by = function(rules.decoding.function)
    return [judged(bytes(content), by, rules) for content in contents]


@lru_cache(maxsize=1)
def _of_worker(rules: Rules) -> Decoder:
    """One for each Python worker; it lives as long as the worker does."""
    return Decoder(rules)
