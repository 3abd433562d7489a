"""A worker's share of a split: rows, pixels in memory, batches for every epoch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lake.errors import DamagedSnapshot
from lake.pictures import pixels
from lake.snapshot import Snapshot, Split

MARGIN = 1.125  # pictures are kept this much larger than the model's input, for random crops


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a split, `start` to `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def equal_share(rows: int, worker: int, workers: int) -> Rows:
    """A worker's rows for training: the same number for every worker, so that none waits for another.

    Up to `workers - 1` rows between the shares are left out.
    """
    start = worker * rows // workers
    return Rows(start, start + rows // workers)


def whole_share(rows: int, worker: int, workers: int) -> Rows:
    """A worker's rows for measuring: every row belongs to exactly one worker; sizes differ by at most 1."""
    return Rows(worker * rows // workers, (worker + 1) * rows // workers)


@dataclass(frozen=True)
class BatchSchedule:
    """Batch size of a worker and steps of an epoch, the same on every worker."""

    batch: int
    steps: int

    @classmethod
    def of(cls, rows: int, workers: int, batch_size: int, group: int = 1) -> "BatchSchedule":
        """From the rows of the whole split; a worker with fewer rows than a batch takes them all at once.

        Batches are multiples of `group`, of which a worker must have rows enough for one.
        """
        share = rows // workers
        batch = min(batch_size, share) // group * group
        return cls(batch, max(1, share // batch))


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures.

    Args:
        images: uint8 (n, side, side, 3), RGB.
        labels: int32 (n,).
        image_ids: n ids.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    image_ids: tuple[str, ...]

    def take(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Pictures by number, uint8 (len(rows), side, side, 3)."""
        return self.images[rows]


class ImageSource(Protocol):
    """Pictures of known labels, wherever their pixels are."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label indices, (n,)."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Their ids, n."""

    def take(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Pixels by number, uint8 (len(rows), kept_side, kept_side, 3)."""


def kept_side(side: int) -> int:
    """Side at which pictures for a model of this input side are kept (pixels)."""
    return math.ceil(side * MARGIN)


def square(data: bytes, side: int) -> pixels.RGB:
    """The pixels a model sees of a stored picture: the centre of its square of `kept_side`.

    The one path for training, evaluation and prediction.

    Raises:
        OSError: the picture cannot be decoded.
    """
    kept = kept_side(side)
    margin = (kept - side) // 2
    return kept_square(data, side)[margin : margin + side, margin : margin + side]


def kept_square(data: bytes, side: int) -> pixels.RGB:
    """The picture as it is kept for random crops, uint8 (kept_side, kept_side, 3)."""
    kept = kept_side(side)
    # Decoded at a reduced scale that still leaves the shortest side large enough for any usual aspect ratio.
    return pixels.square(pixels.decode(data, 2 * kept), kept)


def label_column(snapshot: Snapshot, split: Split) -> NDArray[np.int32]:
    """The label index of every row of a split, read without its pictures.

    Raises:
        DamagedSnapshot: a shard cannot be read, or has other rows than the manifest says.
    """
    columns = [labels.to_numpy() for labels in snapshot.column(split, "label")]
    return np.concatenate(columns).astype(np.int32) if columns else np.zeros(0, np.int32)


def decoded(data: bytes, image_id: str, side: int) -> pixels.RGB:
    """The picture of an id as it is kept.

    Raises:
        DamagedSnapshot: it cannot be decoded.
    """
    try:
        return kept_square(data, side)
    except (OSError, ValueError, SyntaxError) as error:
        cause = " ".join(str(error).split())[:200]
        raise DamagedSnapshot(f"picture {image_id} cannot be decoded: {cause}") from None


def read(snapshot: Snapshot, split: Split, rows: Rows, side: int) -> Pictures:
    """Decode a range of rows into memory, each picture once, at `kept_side(side)`.

    Raises:
        DamagedSnapshot: a shard cannot be read or a picture not be decoded.
    """
    kept = kept_side(side)
    images = np.empty((len(rows), kept, kept, 3), np.uint8)
    labels = np.empty(len(rows), np.int32)
    image_ids: list[str] = []
    for batch in snapshot.batches(split, rows.start, rows.stop):
        first = len(image_ids)
        labels[first : first + len(batch)] = batch["label"].to_numpy()
        image_ids += batch["image_id"].to_pylist()
        for offset, jpeg in enumerate(batch["jpeg"]):
            images[first + offset] = decoded(jpeg.as_py(), image_ids[first + offset], side)
    return Pictures(images, labels, tuple(image_ids))


def evaluation_batches(pictures: ImageSource, side: int, batch: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """All pictures once, centre crops, the last batch filled up so that every batch has one shape.

    Yields:
        uint8 (batch, side, side, 3), int32 labels (batch,), and weights (batch,): 0 for what fills up.
    """
    margin = (kept_side(side) - side) // 2
    for first in range(0, len(pictures.labels), batch):
        labels = pictures.labels[first : first + batch]
        rows = np.arange(first, first + len(labels), dtype=np.int32)
        images = pictures.take(rows)[:, margin : margin + side, margin : margin + side]
        missing = batch - len(labels)
        weights = np.concatenate([np.ones(len(labels)), np.zeros(missing)])
        pad = [(0, missing)] + [(0, 0)] * 3
        yield np.pad(images, pad), np.pad(labels, (0, missing)), weights
