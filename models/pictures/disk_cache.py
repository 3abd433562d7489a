"""Local cache of encoded pictures, for a worker's rows whose pixels do not fit into memory."""

import os
import tempfile
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lake.pictures.pixels import RGB
from lake.snapshot import DatasetSnapshot, Split
from models.pictures.cores import spread
from models.pictures.inputs import Pictures, RowRange, decode_sample, read_pictures, resized_side


@dataclass(frozen=True)
class DiskCache:
    """Encoded pictures in a local file, decoded on every read; the same pixels as in `Pictures`.

    The file is unlinked, so the system deletes it however the process ends. The system's page cache keeps
    what is read often, if memory allows.

    Args:
        file: encoded pictures, concatenated.
        ends: int64 (n,), offset of the end of each picture in the file (bytes).
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
        """Decode pictures by position: uint8 (len(rows), resized_side, resized_side, 3).

        Raises:
            DamagedSnapshot: a picture cannot be decoded.
        """
        resized = resized_side(self.side)
        images = np.empty((len(rows), resized, resized, 3), np.uint8)
        for position, picture in enumerate(spread(self.picture, rows.tolist())):
            images[position] = picture
        return images

    def picture(self, row: int) -> RGB:
        """Decode a picture by position: uint8 (resized_side, resized_side, 3).

        Any number of threads and processes may do so at the same time.
        """
        start = int(self.ends[row - 1]) if row else 0
        jpeg = os.pread(self.file.fileno(), int(self.ends[row]) - start, start)
        return decode_sample(jpeg, self.image_ids[row], self.side)


def cache_on_disk(snapshot: DatasetSnapshot, split: Split, rows: RowRange, side: int) -> DiskCache:
    """Copy a range of rows from the dataset snapshot to this machine, row group by row group."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the cache
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


def load_rows(
    snapshot: DatasetSnapshot, split: Split, rows: RowRange, side: int, memory: int
) -> Pictures | DiskCache:
    """Load a range of rows: decoded in memory if that takes at most `memory` bytes, else cached on disk."""
    size = len(rows) * 3 * resized_side(side) ** 2
    return (read_pictures if size <= memory else cache_on_disk)(snapshot, split, rows, side)
