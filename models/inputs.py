"""A worker's share of a split: rows, pixels in memory, batches for every epoch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake import pixels
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
class Pace:
    """Batch size of a worker and steps of an epoch, the same on every worker."""

    batch: int
    steps: int

    @classmethod
    def of(cls, rows: int, workers: int, batch_size: int) -> "Pace":
        """From the rows of the whole split; a worker with fewer rows than a batch takes them all at once."""
        share = rows // workers
        batch = min(batch_size, share)
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


def read(snapshot: Snapshot, split: Split, rows: Rows, side: int) -> Pictures:
    """Decode a range of rows into memory, each picture once, at `kept_side(side)`."""
    kept = kept_side(side)
    images = np.empty((len(rows), kept, kept, 3), np.uint8)
    labels = np.empty(len(rows), np.int32)
    image_ids: list[str] = []
    for batch in snapshot.batches(split, rows.start, rows.stop):
        first = len(image_ids)
        labels[first : first + len(batch)] = batch["label"].to_numpy()
        for offset, jpeg in enumerate(batch["jpeg"]):
            images[first + offset] = kept_square(jpeg.as_py(), side)
        image_ids += batch["image_id"].to_pylist()
    return Pictures(images, labels, tuple(image_ids))


@dataclass(frozen=True)
class Deal:
    """What an epoch shows at every step and how: drawn at once, so an epoch can be repeated exactly.

    Args:
        rows: int32 (steps, batch), which pictures.
        top: int32 (steps, batch), first row of the crop.
        left: int32 (steps, batch), first column of the crop.
        flip: int32 (steps, batch), 1 where the crop is mirrored.
    """

    rows: NDArray[np.int32]
    top: NDArray[np.int32]
    left: NDArray[np.int32]
    flip: NDArray[np.int32]


def deal(
    pictures: int, pace: Pace, margin: int, augment: bool, flip: bool, seed: tuple[int, int, int]
) -> Deal:
    """Draw an epoch.

    Args:
        pictures: to draw from, without replacement.
        pace: steps and batch size.
        margin: pixels that pictures are larger than crops.
        augment: crop at random; otherwise the centre, unmirrored, in the order of the snapshot.
        flip: mirror every other crop.
        seed: run's seed, epoch, worker.
    """
    shape = pace.steps, pace.batch
    count = pace.steps * pace.batch
    if not augment:
        rows = np.arange(count, dtype=np.int32).reshape(shape)
        centre = np.full(shape, margin // 2, np.int32)
        return Deal(rows, centre, centre, np.zeros(shape, np.int32))
    random = np.random.default_rng(seed)
    rows = random.permutation(pictures).astype(np.int32)[:count].reshape(shape)
    top, left = random.integers(0, margin + 1, (2, *shape), dtype=np.int32)
    mirrored = random.integers(0, 2 if flip else 1, shape, dtype=np.int32)
    return Deal(rows, top, left, mirrored)


def batches(pictures: Pictures, drawn: Deal, side: int) -> Any:
    """An epoch's batches as a tf.data pipeline, prefetched.

    Returns:
        a dataset of `steps` pairs: uint8 (batch, side, side, 3) and int32 (batch,).
    """
    import tensorflow as tf

    images, labels = tf.constant(pictures.images), tf.constant(pictures.labels)
    line = tf.range(side)[None, :]

    def cut(rows: Any, top: Any, left: Any, flip: Any) -> tuple[Any, Any]:
        chosen = tf.gather(images, rows)
        chosen = tf.gather(chosen, top[:, None] + line, axis=1, batch_dims=1)
        columns = left[:, None] + tf.where(flip[:, None] == 1, side - 1 - line, line)
        return tf.gather(chosen, columns, axis=2, batch_dims=1), tf.gather(labels, rows)

    drawn_arrays = (drawn.rows, drawn.top, drawn.left, drawn.flip)
    pipeline = tf.data.Dataset.from_tensor_slices(drawn_arrays).map(cut).prefetch(2)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1  # the core belongs to the training step
    return pipeline.with_options(options)


def measured(pictures: Pictures, side: int, batch: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """All pictures once, centre crops, the last batch filled up so that every batch has one shape.

    Yields:
        uint8 (batch, side, side, 3), int32 labels (batch,), and weights (batch,): 0 for what fills up.
    """
    margin = (kept_side(side) - side) // 2
    for first in range(0, len(pictures.labels), batch):
        images = pictures.images[first : first + batch, margin : margin + side, margin : margin + side]
        labels = pictures.labels[first : first + batch]
        missing = batch - len(labels)
        weights = np.concatenate([np.ones(len(labels)), np.zeros(missing)])
        pad = [(0, missing)] + [(0, 0)] * 3
        yield np.pad(images, pad), np.pad(labels, (0, missing)), weights
