"""A worker's rows of a split: assignment of rows, batch schedule, decoding, evaluation batches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lake.errors import DamagedSnapshot, UndecodablePicture
from lake.pictures import pixels
from lake.snapshot import DatasetSnapshot, Split
from models.errors import NotTrainable
from models.pictures.cores import spread
from models.pictures.shared_pixels import SharedPixels

MARGIN = 1.125  # pictures are resized to this multiple of the model's input side, for random crops


@dataclass(frozen=True)
class RowRange:
    """Consecutive rows of a split, from `start` up to but not including `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def training_rows(rows: int, worker: int, workers: int) -> RowRange:
    """A worker's rows for training: the same number on every worker, so that all take the same steps.

    Up to `workers - 1` rows between the ranges are not used.
    """
    start = worker * rows // workers
    return RowRange(start, start + rows // workers)


def evaluation_rows(rows: int, worker: int, workers: int) -> RowRange:
    """A worker's rows for evaluation: each row belongs to exactly one worker; sizes differ by at most 1."""
    return RowRange(worker * rows // workers, (worker + 1) * rows // workers)


@dataclass(frozen=True)
class BatchSchedule:
    """Batch size per worker and steps per epoch, the same on every worker."""

    batch: int
    steps: int

    @classmethod
    def of(cls, rows: int, workers: int, batch_size: int, group: int = 1) -> "BatchSchedule":
        """From the number of rows of the split; a worker with fewer rows than `batch_size` uses one batch.

        The batch size is a multiple of `group`.

        Raises:
            NotTrainable: a worker has some rows, but fewer than `group`.
        """
        share = rows // workers
        batch = min(batch_size, share) // group * group
        if share and not batch:
            raise NotTrainable(
                f"each of {workers} workers has {share} training pictures, but its batches need {group} "
                "or more: ask for fewer workers or GPUs, or organize more pictures"
            )
        return cls(batch, max(1, share // batch))


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures in memory.

    Args:
        images: uint8 (n, side, side, 3), RGB.
        labels: int32 (n,).
        image_ids: n ids.
        shared: the memory of `images`, if other processes can open it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    image_ids: tuple[str, ...]
    shared: SharedPixels | None = None

    def take(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Pictures by position, uint8 (len(rows), side, side, 3)."""
        return self.images[rows]

    def picture(self, row: int) -> pixels.RGB:
        """A picture by position, uint8 (side, side, 3)."""
        return self.images[row]


class ImageSource(Protocol):
    """Labelled pictures with access by position, in memory or on disk."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label indices, (n,)."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Image ids, n."""

    def take(self, rows: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Pixels by position, uint8 (len(rows), resized_side, resized_side, 3)."""


def resized_side(side: int) -> int:
    """Side to which pictures are resized for a model of this input side, before cropping (pixels)."""
    return math.ceil(side * MARGIN)


def decode_centre_crop(data: bytes, side: int) -> pixels.RGB:
    """Decode a picture into the input of a model: resized to `resized_side`, then centre-cropped to `side`.

    Training, evaluation and prediction all use this path.

    Raises:
        UndecodablePicture, OSError: it cannot be decoded.
    """
    resized = resized_side(side)
    margin = (resized - side) // 2
    return decode_resized(data, side)[margin : margin + side, margin : margin + side]


def decode_resized(data: bytes, side: int) -> pixels.RGB:
    """Decode and resize a picture, ready for random crops: uint8 (resized_side, resized_side, 3)."""
    resized = resized_side(side)
    # Decode at a reduced scale; the shortest side stays large enough for any usual aspect ratio.
    return pixels.centre_square(pixels.decode(data, 2 * resized), resized)


def read_labels(snapshot: DatasetSnapshot, split: Split) -> NDArray[np.int32]:
    """Read the label index of every row of a split, without the pictures.

    Raises:
        DamagedSnapshot: a shard cannot be read, or its number of rows differs from the manifest.
    """
    columns = [labels.to_numpy() for labels in snapshot.column(split, "label")]
    return np.concatenate(columns).astype(np.int32) if columns else np.zeros(0, np.int32)


def decode_sample(data: bytes, image_id: str, side: int) -> pixels.RGB:
    """`decode_resized` for a sample of a dataset snapshot, with its id in the error.

    Raises:
        DamagedSnapshot: the picture cannot be decoded.
    """
    try:
        return decode_resized(data, side)
    except (OSError, ValueError, SyntaxError, UndecodablePicture) as error:
        cause = " ".join(str(error).split())[:200]
        raise DamagedSnapshot(f"picture {image_id} cannot be decoded: {cause}") from None


def read_pictures(snapshot: DatasetSnapshot, split: Split, rows: RowRange, side: int) -> Pictures:
    """Decode a range of rows into shared memory, each picture once, resized to `resized_side(side)`.

    Raises:
        DamagedSnapshot: a shard cannot be read, or a picture cannot be decoded.
    """
    resized = resized_side(side)
    shared = SharedPixels((len(rows), resized, resized, 3))
    labels = np.empty(len(rows), np.int32)
    image_ids: list[str] = []
    for batch in snapshot.batches(split, rows.start, rows.stop):
        first = len(image_ids)
        labels[first : first + len(batch)] = batch["label"].to_numpy()
        image_ids += batch["image_id"].to_pylist()
        samples = zip(batch["jpeg"].to_pylist(), image_ids[first:], strict=True)
        decoded = spread(lambda sample: decode_sample(sample[0], sample[1], side), samples)
        for offset, picture in enumerate(decoded):
            shared.array[first + offset] = picture
    return Pictures(shared.array, labels, tuple(image_ids), shared)


def evaluation_batches(pictures: ImageSource, side: int, batch: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """All pictures once as centre crops; the last batch is padded, so that all batches have one shape.

    Yields:
        images uint8 (batch, side, side, 3), labels int32 (batch,), weights (batch,): 1, or 0 for padding.
    """
    margin = (resized_side(side) - side) // 2
    for first in range(0, len(pictures.labels), batch):
        labels = pictures.labels[first : first + batch]
        rows = np.arange(first, first + len(labels), dtype=np.int32)
        images = pictures.take(rows)[:, margin : margin + side, margin : margin + side]
        missing = batch - len(labels)
        weights = np.concatenate([np.ones(len(labels)), np.zeros(missing)])
        pad = [(0, missing)] + [(0, 0)] * 3
        yield np.pad(images, pad), np.pad(labels, (0, missing)), weights
