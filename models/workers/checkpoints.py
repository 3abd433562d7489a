"""Checkpoints of a training run: all variables in one file, written whole or not at all."""

import io
import json
import re
import zipfile
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import StorageError
from lake.storage import Storage
from models.errors import ForeignCheckpoint
from models.messages import EpochEnded

KEPT = 2  # a worker may have to go back to the one before the newest

_NAME = re.compile(r"epoch-(\d{5})/variables\.npz")
_ABOUT = "about"
_DAMAGE = (StorageError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


@dataclass(frozen=True)
class CheckpointOwner:
    """Whose a checkpoint is.

    Args:
        architecture: of the model.
        dataset_id: of the snapshot.
        run: what all is the same in a run that goes on from it (see `identity.of`); empty for any.
    """

    architecture: str
    dataset_id: str
    run: str = ""

    def __str__(self) -> str:
        return f"a {self.architecture} on {self.dataset_id}"


@dataclass(frozen=True)
class Checkpoint:
    """The state after a number of finished epochs.

    Args:
        epochs: how many.
        values: of the variables, in the order of the model's and optimizer's.
        names: of the variables.
        history: figures of the finished epochs.
    """

    epochs: int
    values: tuple[NDArray[Any], ...]
    names: tuple[str, ...] = ()
    history: tuple[EpochEnded, ...] = ()


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints below a run's artifacts.

    Args:
        storage: rooted where they are.
        of: whose they must be; None takes any.
        keep: how many of the newest.
    """

    storage: Storage
    of: CheckpointOwner | None = None
    keep: int = KEPT

    def epochs(self) -> list[int]:
        """Finished epochs of what is there, oldest first."""
        return sorted(int(match[1]) for name in self.storage.names() if (match := _NAME.fullmatch(name)))

    def write(self, checkpoint: Checkpoint) -> None:
        """Add one and drop all but the newest.

        Raises:
            StorageError: it cannot be written; what was there is still there.
        """
        about = {
            "of": asdict(self.of) if self.of else None,
            "names": checkpoint.names,
            "history": [asdict(row) for row in checkpoint.history],
        }
        file = io.BytesIO()
        told = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(file, *checkpoint.values, allow_pickle=False, **{_ABOUT: told})
        self.storage.write(_path(checkpoint.epochs), file.getvalue())
        for epochs in self.epochs()[: -self.keep]:
            self.storage.below(f"epoch-{epochs:05}").delete()

    def newest(self) -> Checkpoint | None:
        """The newest one that can be read whole; a damaged one is passed over.

        Raises:
            ForeignCheckpoint: it is of another run.
        """
        for epochs in reversed(self.epochs()):
            try:
                return self.read(epochs)
            except _DAMAGE:
                continue
        return None

    def read(self, epochs: int) -> Checkpoint:
        """The one after this many epochs.

        Raises:
            StorageError, ValueError, KeyError, TypeError, zipfile.BadZipFile: it is not there, or damaged
                (zip checks a CRC).
            ForeignCheckpoint: it is of another run.
        """
        data = io.BytesIO(self.storage.read(_path(epochs)))
        with np.load(data, allow_pickle=False) as arrays:
            about = json.loads(arrays[_ABOUT].tobytes())
            self._refuse_foreign(epochs, about["of"])
            values = tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files) - 1))
        history = tuple(EpochEnded(**row) for row in about["history"])
        return Checkpoint(epochs, values, tuple(about["names"]), history)

    def _refuse_foreign(self, epochs: int, found: dict[str, str] | None) -> None:
        if self.of is None or found is None or CheckpointOwner(**found) == self.of:
            return
        theirs = CheckpointOwner(**found)
        what = theirs if str(theirs) != str(self.of) else f"{theirs} with other settings or pictures"
        raise ForeignCheckpoint(
            f"checkpoint {self.storage.root}/{_path(epochs)} is of {what}, not of {self.of} as asked for: "
            f"move {self.storage.root} away to start anew"
        )


def _path(epochs: int) -> str:
    return f"epoch-{epochs:05}/variables.npz"
