"""Encoded pictures in a file of this machine, for shares whose pixels do not fit into memory."""

import tempfile
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import Snapshot, Split
from models.pictures.inputs import Pictures, Rows, decoded, kept_side, read


@dataclass(frozen=True)
class DiskCache:
    """Pictures that are decoded whenever they are taken; the same pixels as `Pictures` holds.

    The file has no name, so nothing is left of it however the process ends. What is read often stays in the
    system's page cache as far as there is room.

    Args:
        file: encoded pictures, one after the other.
        ends: int64 (n,), where each ends in the file (bytes).
        labels: int32 (n,).
        image_ids: n ids.
        side: of the model's input (pixels).
    """

    file: IO[bytes]
    ends: NDArray[np.int64]
    labels: NDArray[np.int32]
    image_ids: tuple[str, ...]
    side: int

    def take(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Pictures by number, uint8 (len(rows), kept_side, kept_side, 3).

        Raises:
            DamagedSnapshot: one cannot be decoded.
        """
        kept = kept_side(self.side)
        images = np.empty((len(rows), kept, kept, 3), np.uint8)
        for at, row in enumerate(rows):
            first = int(self.ends[row - 1]) if row else 0
            self.file.seek(first)
            images[at] = decoded(self.file.read(int(self.ends[row]) - first), self.image_ids[row], self.side)
        return images


def cached(snapshot: Snapshot, split: Split, rows: Rows, side: int) -> DiskCache:
    """Copy a range of rows from the snapshot to this machine, row group by row group."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the spool
    ends: list[int] = []
    labels: list[int] = []
    image_ids: list[str] = []
    for batch in snapshot.batches(split, rows.start, rows.stop):
        for jpeg in batch["jpeg"]:
            file.write(jpeg.as_buffer())
            ends.append(file.tell())
        labels += batch["label"].to_pylist()
        image_ids += batch["image_id"].to_pylist()
    file.flush()
    return DiskCache(file, np.array(ends, np.int64), np.array(labels, np.int32), tuple(image_ids), side)


def share(snapshot: Snapshot, split: Split, rows: Rows, side: int, memory: int) -> Pictures | DiskCache:
    """A worker's rows of a split, decoded in memory if that is no more than `memory` bytes, else spooled."""
    size = len(rows) * 3 * kept_side(side) ** 2
    return (read if size <= memory else cached)(snapshot, split, rows, side)
