"""Checkpoints of a training run: one `.npz` file with all variables, written atomically."""

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
from models.errors import CheckpointMismatch
from models.messages import EpochEnded

DEFAULT_KEEP = 2  # if the newest checkpoint is damaged, the one before it is used

_NAME = re.compile(r"epoch-(\d{5})/variables\.npz")
_METADATA = "about"
_DAMAGE_ERRORS = (StorageError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


@dataclass(frozen=True)
class CheckpointOwner:
    """The run that a checkpoint belongs to; JSON in the checkpoint.

    Args:
        architecture: of the model.
        dataset_id: of the dataset snapshot.
        run: fingerprint of the run (see `resumption.run_fingerprint`); empty if it has none.
    """

    architecture: str
    dataset_id: str
    run: str = ""

    def __str__(self) -> str:
        return f"a {self.architecture} on {self.dataset_id}"


@dataclass(frozen=True)
class Checkpoint:
    """The training state after a number of finished epochs.

    Args:
        epochs: number of finished epochs.
        values: of the variables, the model's first, then the optimizer's.
        names: of the variables.
        history: metrics of the finished epochs.
        batch: pictures per worker and step; 0 if unknown.
    """

    epochs: int
    values: tuple[NDArray[Any], ...]
    names: tuple[str, ...] = ()
    history: tuple[EpochEnded, ...] = ()
    batch: int = 0


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run.

    Args:
        storage: their folder.
        owner: run that they must belong to; None accepts any.
        keep: how many of the newest to keep.
    """

    storage: Storage
    owner: CheckpointOwner | None = None
    keep: int = DEFAULT_KEEP

    def epochs(self) -> list[int]:
        """Numbers of finished epochs of all checkpoints, ascending."""
        return sorted(int(match[1]) for name in self.storage.list_files() if (match := _NAME.fullmatch(name)))

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then delete all but the newest.

        Raises:
            StorageError: it cannot be written; no other checkpoint has been deleted.
        """
        metadata = {
            "of": asdict(self.owner) if self.owner else None,
            "names": checkpoint.names,
            "history": [asdict(row) for row in checkpoint.history],
            "batch": checkpoint.batch,
        }
        file = io.BytesIO()
        encoded = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
        np.savez(file, *checkpoint.values, allow_pickle=False, **{_METADATA: encoded})
        self.storage.write(_path(checkpoint.epochs), file.getvalue())
        for epochs in self.epochs()[: -self.keep]:
            self.storage.subfolder(f"epoch-{epochs:05}").delete_all()

    def newest(self) -> Checkpoint | None:
        """Read the newest undamaged checkpoint; None if there is none.

        Raises:
            CheckpointMismatch: it belongs to another run.
        """
        for epochs in reversed(self.epochs()):
            try:
                return self.read(epochs)
            except _DAMAGE_ERRORS:
                continue
        return None

    def read(self, epochs: int) -> Checkpoint:
        """Read the checkpoint after this many epochs.

        Raises:
            StorageError, ValueError, KeyError, TypeError, zipfile.BadZipFile: it does not exist or is damaged
                (zip files have a CRC).
            CheckpointMismatch: it belongs to another run.
        """
        data = io.BytesIO(self.storage.read(_path(epochs)))
        with np.load(data, allow_pickle=False) as arrays:
            metadata = json.loads(arrays[_METADATA].tobytes())
            self._check_owner(epochs, metadata["of"])
            values = tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files) - 1))
        history = tuple(EpochEnded(**row) for row in metadata["history"])
        return Checkpoint(epochs, values, tuple(metadata["names"]), history, metadata.get("batch", 0))

    def _check_owner(self, epochs: int, written: dict[str, str] | None) -> None:
        if self.owner is None or written is None or CheckpointOwner(**written) == self.owner:
            return
        owner = CheckpointOwner(**written)
        what = owner if str(owner) != str(self.owner) else f"{owner} with other settings or pictures"
        raise CheckpointMismatch(
            f"checkpoint {self.storage.root}/{_path(epochs)} belongs to {what}, not to {self.owner} as asked "
            f"for: move {self.storage.root} away to start from the first epoch"
        )


def _path(epochs: int) -> str:
    return f"epoch-{epochs:05}/variables.npz"
