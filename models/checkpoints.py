"""Checkpoints of a training run: all variables in one file, written whole or not at all."""

import io
import re
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import StorageError
from lake.storage import Storage

KEPT = 2  # a worker may have to go back to the one before the newest

_NAME = re.compile(r"epoch-(\d{5})/variables\.npz")


@dataclass(frozen=True)
class Checkpoint:
    """The state after a number of finished epochs: variables in the order of the model's and optimizer's."""

    epochs: int
    values: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints below a run's artifacts."""

    storage: Storage

    def epochs(self) -> list[int]:
        """Finished epochs of what is there, oldest first."""
        return sorted(int(match[1]) for name in self.storage.names() if (match := _NAME.fullmatch(name)))

    def write(self, checkpoint: Checkpoint) -> None:
        """Add one and drop all but the newest `KEPT`."""
        file = io.BytesIO()
        np.savez(file, *checkpoint.values)
        self.storage.write(f"epoch-{checkpoint.epochs:05}/variables.npz", file.getvalue())
        for epochs in self.epochs()[:-KEPT]:
            self.storage.below(f"epoch-{epochs:05}").delete()

    def newest(self) -> Checkpoint | None:
        """The newest one that can be read whole; a damaged one is passed over."""
        for epochs in reversed(self.epochs()):
            try:
                return self.read(epochs)
            except (StorageError, ValueError, zipfile.BadZipFile):
                continue
        return None

    def read(self, epochs: int) -> Checkpoint:
        """The one after this many epochs.

        Raises:
            StorageError, ValueError, zipfile.BadZipFile: it is not there, or damaged (zip checks a CRC).
        """
        data = io.BytesIO(self.storage.read(f"epoch-{epochs:05}/variables.npz"))
        with np.load(data, allow_pickle=False) as arrays:
            return Checkpoint(epochs, tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files))))
