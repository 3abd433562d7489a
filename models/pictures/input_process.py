"""A process that prepares batches for a training worker: `python -m models.pictures.input_process SOCKET`.

It needs no TensorFlow. It ends when the worker closes the connection, or ends however.
"""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from models.pictures import crops
from models.pictures.crops import Draws, PictureRows
from models.pictures.disk_cache import DiskCache
from models.pictures.inputs import Pictures
from models.pictures.shared_pixels import SharedPixels


@dataclass(frozen=True)
class SharedRows:
    """Where a process finds the pictures; descriptors are inherited.

    Args:
        shape: of the decoded pictures; empty if they are encoded in a file.
        descriptor: of their shared memory, or of the file.
        ends, image_ids: of the file, see `DiskCache`.
    """

    shape: tuple[int, ...]
    descriptor: int
    ends: NDArray[np.int64] | None = None
    image_ids: tuple[str, ...] = ()

    def open(self, side: int) -> PictureRows:
        """Open the pictures in this process."""
        labels = np.zeros(0, np.int32)
        if self.ends is None:
            shared = SharedPixels(self.shape, self.descriptor)
            return Pictures(shared.array, labels, (), shared)
        return DiskCache(os.fdopen(self.descriptor, "rb"), self.ends, labels, self.image_ids, side)


@dataclass(frozen=True)
class InputTask:
    """What a process is told first.

    Args:
        rows: the pictures.
        side: of the crops (pixels).
        magnitude: of RandAugment.
        slots: shape of the shared memory for results, (slots, batch, side, side, 3).
        descriptor: of that memory.
    """

    rows: SharedRows
    side: int
    magnitude: float
    slots: tuple[int, ...]
    descriptor: int


@dataclass(frozen=True)
class InputStep:
    """A step to prepare.

    Args:
        slot: where the crops are written.
        draws: see `crops.cut`.
    """

    slot: int
    draws: Draws


def serve(connection: Connection) -> None:
    """Prepare steps until the connection is closed; answer each with an empty text or with the error."""
    task: InputTask = connection.recv()
    source = task.rows.open(task.side)
    slots = SharedPixels(task.slots, task.descriptor)
    while True:
        step: InputStep = connection.recv()
        try:
            crops.cut(source, step.draws, task.side, task.magnitude, slots.array[step.slot])
            answer = ""
        except Exception as error:  # raised again by the worker
            answer = " ".join(str(error).split()) or type(error).__name__
        connection.send(answer)


def main() -> None:
    """Serve the connection whose descriptor is the argument."""
    with suppress(EOFError, ConnectionError), Connection(int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()
