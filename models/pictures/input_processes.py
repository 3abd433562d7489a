"""Processes beside a training worker that decode, crop and augment its batches, each on a core of its own.

Pillow's operations and small pictures keep Python's interpreter lock, so threads would not use more cores.
"""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lake.errors import DamagedSnapshot
from models.errors import InputProcessLost
from models.pictures.crops import Draws
from models.pictures.disk_cache import DiskCache
from models.pictures.input_process import InputStep, InputTask, SharedRows
from models.pictures.inputs import Pictures
from models.pictures.shared_pixels import SharedPixels

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SPARE_SLOTS = 2  # steps beyond one for each process that are prepared ahead


def process_count(cores: int, decoded: bool, operations: int, replicas: int) -> int:
    """How many processes prepare a worker's batches; 0 for a thread of the worker.

    One thread crops and mirrors decoded pictures several times faster than a GPU learns from them.

    Args:
        cores: of the worker.
        decoded: whether the pictures are in memory.
        operations: of RandAugment.
        replicas: devices of the worker.
    """
    if cores == 1 or (decoded and not operations and replicas == 1):
        return 0
    return cores


class InputProcesses:
    """Processes that prepare the steps of a training, each step in one of them, in turn.

    Args:
        pictures: of the worker.
        side: of the crops (pixels).
        magnitude: of RandAugment.
        batch: pictures of a step.
        count: number of processes.
    """

    def __init__(
        self, pictures: Pictures | DiskCache, side: int, magnitude: float, batch: int, count: int
    ) -> None:
        self._shared, rows = _share(pictures)
        self._slots = SharedPixels((count + SPARE_SLOTS, batch, side, side, 3))
        task = InputTask(rows, side, magnitude, self._slots.shape, self._slots.descriptor)
        self._connections: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for _ in range(count):
            self._start(task)

    def _start(self, task: InputTask) -> None:
        ours, theirs = socket.socketpair()
        inherited = theirs.fileno(), task.rows.descriptor, task.descriptor
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "models.pictures.input_process", str(theirs.fileno())],
            pass_fds=inherited,
            env=os.environ | _ONE_THREAD | paths,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        connection = Connection(ours.detach())
        self._connections.append(connection)
        self._processes.append(process)
        with suppress(ConnectionError):  # `_result` reports a process that did not start
            connection.send(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.wait()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes."""
        return [process.pid for process in self._processes]

    def prepare(self, steps: Iterable[Draws]) -> Generator[NDArray[np.uint8], None, None]:
        """Yield the crops of each step, uint8 (batch, side, side, 3), in the order of the steps.

        Raises:
            DamagedSnapshot: a picture cannot be decoded.
            InputProcessLost: a process has ended.
        """
        pending: deque[int] = deque()
        slots = len(self._slots.array)
        for number, draws in enumerate(steps):
            if len(pending) == slots:
                yield self._result(pending.popleft())
            with suppress(ConnectionError):
                self._connections[number % len(self._connections)].send(InputStep(number % slots, draws))
            pending.append(number)
        while pending:
            yield self._result(pending.popleft())

    def _result(self, number: int) -> NDArray[np.uint8]:
        process = self._processes[number % len(self._processes)]
        try:
            problem = self._connections[number % len(self._connections)].recv()
        except (EOFError, ConnectionError):
            raise InputProcessLost(
                f"process {process.pid}, which prepares training pictures, has ended (status "
                f"{process.wait()}): killed, or out of memory"
            ) from None
        if problem:
            raise DamagedSnapshot(problem)
        return self._slots.array[number % len(self._slots.array)].copy()


def _share(pictures: Pictures | DiskCache) -> tuple[object, SharedRows]:
    """The pictures for other processes, and what must live as long as these."""
    if isinstance(pictures, DiskCache):
        return pictures, SharedRows((), pictures.file.fileno(), pictures.ends, pictures.image_ids)
    shared = pictures.shared or SharedPixels.copy_of(pictures.images)
    return shared, SharedRows(shared.shape, shared.descriptor)
