"""The process that decodes strangers' pictures, and may die of it.

`streaming.isolate.decoder` runs it as `python -m streaming.isolate.sandbox`. This process loads the
decoders once, holds no picture and no secret, and forks a worker that decodes. Replacing a dead worker takes
milliseconds.
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
from collections.abc import Callable
from typing import NoReturn, cast

from conf.sections import Decoding
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected
from streaming.isolate.shared_memory import SharedBuffers
from streaming.verify.prepared import Outcome, Prepared

TASK = struct.Struct("<Q")
ORDER = struct.Struct("<QQ")  # a task, which of the forked processes is to do it
STATUS = struct.Struct("<Qi")  # which of the forked processes, its wait status

Prepare = Callable[[bytes, Rules], Prepared]


def main(control: int, guard: int, memory: tuple[int, int]) -> None:
    """Fork workers, one after the other, until the Python worker on the other side is gone.

    Args:
        control: socket that tasks come in on and are answered on.
        guard: socket that the rules come in on, then orders to kill; the ends of workers are told on it.
        memory: descriptors of the shared memory.
    """
    tasks, orders = socket.socket(fileno=control), socket.socket(fileno=guard)
    length = TASK.unpack(orders.recv(TASK.size, socket.MSG_WAITALL))[0]
    rules: Rules = pickle.loads(orders.recv(length, socket.MSG_WAITALL))  # from our own parent
    prepare = function(rules.decoding.function)
    exchange = SharedBuffers(rules.ingest, memory)
    generation = 0
    while True:
        pid = os.fork()
        if pid == 0:
            orders.close()
            _worker(tasks, exchange, prepare, rules, generation)
        status = _watched(pid, generation, orders)
        if status is None:
            return
        try:
            orders.sendall(STATUS.pack(generation, status))
        except ConnectionError:
            return
        generation += 1


def function(name: str) -> Prepare:
    """The function that `module:function` names."""
    module, _, attribute = name.partition(":")
    return cast(Prepare, getattr(importlib.import_module(module), attribute))


def _watched(pid: int, generation: int, orders: socket.socket) -> int | None:
    """Wait for a worker's end; None where the Python worker is gone, and the worker with it."""
    ended = os.pidfd_open(pid)
    news = select.poll()
    news.register(ended, select.POLLIN)
    news.register(orders, select.POLLIN)
    try:
        while True:
            if ended in dict(news.poll()):
                break
            order = orders.recv(TASK.size, socket.MSG_WAITALL)
            if not order or TASK.unpack(order)[0] == generation:
                signal.pidfd_send_signal(ended, signal.SIGKILL)
            if not order:
                os.waitpid(pid, 0)
                return None
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(ended)


def _worker(
    tasks: socket.socket, exchange: SharedBuffers, prepare: Prepare, rules: Rules, generation: int
) -> NoReturn:
    """Body of a forked process, which must not return into its parent's."""
    status = 1
    try:
        _limit(rules.decoding)
        _work(tasks, exchange, prepare, rules, generation)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _limit(limits: Decoding) -> None:
    """Bound what a worker can take from the machine; the CPU limit is set anew as it goes on."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123  # a path object opens it no better
        now = int(statm.read().split()[0]) * resource.getpagesize()
    most = now + limits.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Clock:
    """Lets a worker use a bounded CPU time for each picture; the kernel kills it beyond."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._renew_at = 0.0
        self._hard = resource.getrlimit(resource.RLIMIT_CPU)[1]

    def start(self) -> None:
        """A picture begins; it gets at least the time allowed and at most twice that."""
        used = time.process_time()
        if used >= self._renew_at:
            self._renew_at = used + self._seconds
            soft = int(used + 2 * self._seconds) + 1
            # A user whose own limit is lower may neither pass nor raise it.
            bounded = soft if self._hard == resource.RLIM_INFINITY else min(soft, self._hard)
            resource.setrlimit(resource.RLIMIT_CPU, (bounded, self._hard))


def _work(
    tasks: socket.socket, exchange: SharedBuffers, prepare: Prepare, rules: Rules, generation: int
) -> None:
    clock = _Clock(rules.decoding.timeout_seconds)
    while order := tasks.recv(ORDER.size):
        task, meant_for = ORDER.unpack(order)
        # What a predecessor left unread was meant for it: the pictures are being written anew.
        if meant_for != generation:
            continue
        end = 0
        for position, content in enumerate(exchange.contents()):
            exchange.begin(position)
            clock.start()
            end = exchange.answer(position, end, judged(content, prepare, rules))
            if not exchange.has_room(end):
                break
        tasks.sendall(TASK.pack(task))


def judged(content: bytes, prepare: Prepare, rules: Rules) -> Outcome:
    """What one picture comes to; never raises for what it contains."""
    try:
        return prepare(content, rules)
    except Rejected as problem:
        return problem
    except MemoryError:
        detail = f"decoding it takes more than {rules.decoding.memory_mb:,} MiB"
        return Rejected(Reason.DECODER_CRASHED, detail)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4])))
