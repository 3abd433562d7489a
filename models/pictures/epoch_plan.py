"""What an epoch shows: drawn at once from a seed, then cut into batches."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.pictures import randaugment
from models.pictures.disk_cache import DiskCache
from models.pictures.inputs import BatchSchedule, Pictures
from models.plan import TrainingPlan

Sampler = Callable[[np.random.Generator], NDArray[np.int32]]


@dataclass(frozen=True)
class EpochPlan:
    """What an epoch shows at every step and how: drawn at once, so an epoch can be repeated exactly.

    Args:
        rows: int32 (steps, batch), which pictures.
        top: int32 (steps, batch), first row of the crop.
        left: int32 (steps, batch), first column of the crop.
        flip: int32 (steps, batch), 1 where the crop is mirrored.
        share: float32 (steps,), weight of a picture against its partner's (mixup), 0.5 to 1.
        operations: int32 (steps, batch, n), what RandAugment does.
    """

    rows: NDArray[np.int32]
    top: NDArray[np.int32]
    left: NDArray[np.int32]
    flip: NDArray[np.int32]
    share: NDArray[np.float32]
    operations: NDArray[np.int32]

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """What each step is made of; the first axis counts the steps."""
        return self.rows, self.top, self.left, self.flip, self.share, self.operations


@dataclass(frozen=True)
class Augmentation:
    """How an epoch changes pictures.

    Args:
        crop: at random; otherwise the centre, unmirrored, in the order of the snapshot.
        flip: mirror every other crop.
        operations: of RandAugment on each picture; 0 for none.
        mixup: both parameters of the Beta distribution of mixup's weights; 0 for no mixup.
    """

    crop: bool = True
    flip: bool = False
    operations: int = 0
    mixup: float = 0.0

    @classmethod
    def of(cls, plan: TrainingPlan, flip: bool) -> "Augmentation":
        """What a plan asks for, on a dataset that allows mirroring or not."""
        flipped = flip if plan.flip is None else plan.flip
        if not plan.augment:
            return cls(crop=False)
        return cls(True, flipped, plan.randaugment, plan.mixup)


def plan_epoch(
    pictures: int,
    pace: BatchSchedule,
    margin: int,
    augmentation: Augmentation,
    seed: tuple[int, int, int],
    order: Sampler | None = None,
) -> EpochPlan:
    """Draw an epoch.

    Args:
        pictures: to draw from, without replacement.
        pace: steps and batch size.
        margin: pixels that pictures are larger than crops.
        augmentation: what happens to them.
        seed: run's seed, epoch, worker.
        order: draws the rows, (steps, batch), in place of a permutation.
    """
    shape = pace.steps, pace.batch
    count = pace.steps * pace.batch
    ones, none = np.ones(pace.steps, np.float32), np.zeros((*shape, 0), np.int32)
    if not augmentation.crop:
        rows = np.arange(count, dtype=np.int32).reshape(shape)
        centre = np.full(shape, margin // 2, np.int32)
        return EpochPlan(rows, centre, centre, np.zeros(shape, np.int32), ones, none)
    random = np.random.default_rng(seed)
    rows = order(random) if order else random.permutation(pictures)[:count].astype(np.int32).reshape(shape)
    top, left = random.integers(0, margin + 1, (2, *shape), dtype=np.int32)
    mirrored = random.integers(0, 2 if augmentation.flip else 1, shape, dtype=np.int32)
    if augmentation.mixup:
        drawn = random.beta(augmentation.mixup, augmentation.mixup, pace.steps)
        # Partners are each other's, so a weight and its complement mean the same batch.
        ones = np.maximum(drawn, 1 - drawn).astype(np.float32)
    if augmentation.operations:
        none = randaugment.draw((*shape, augmentation.operations), random)
    return EpochPlan(rows, top, left, mirrored, ones, none)


class Waiting:
    """Iterates over something and adds up the seconds that its user waited for the next item."""

    def __init__(self, items: Iterable[Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._items, self._clock = items, clock
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        began = self._clock()
        for item in self._items:
            self.seconds += self._clock() - began
            yield item
            began = self._clock()
        self.seconds += self._clock() - began


class InputPipeline:
    """A worker's pictures as batches for TensorFlow.

    Pixels in memory are copied into a tensor once and cropped by gathers on whole batches; spooled pictures
    are decoded for the step after next while a step is computed.

    Args:
        pictures: the worker's share.
        side: of the model's input (pixels).
        magnitude: of RandAugment.
    """

    def __init__(self, pictures: Pictures | DiskCache, side: int, magnitude: float = 0.0) -> None:
        import tensorflow as tf

        self.labels = pictures.labels
        self._labels = tf.constant(pictures.labels)
        self._side, self._magnitude = side, magnitude
        self._images: Any = tf.constant(pictures.images) if isinstance(pictures, Pictures) else None
        self._spool = pictures if isinstance(pictures, DiskCache) else None

    def batches(self, deals: Iterable[EpochPlan]) -> Iterator[Any]:
        """The batches of all epochs, one after the other, from one tf.data pipeline that keeps two ahead.

        So an epoch's first are made while the last one is saved and measured.

        Args:
            deals: of the epochs, of one shape; each is drawn when its first batch is made.

        Returns:
            `steps` triples for each: uint8 (batch, side, side, 3), int32 (batch,), float32 ().
        """
        import tensorflow as tf

        deals = iter(deals)
        first = next(deals)

        def steps() -> Iterator[tuple[Any, ...]]:
            for drawn in chain((first,), deals):
                yield from zip(*drawn.columns, strict=True)

        shapes = tuple(tf.TensorSpec(column.shape[1:], column.dtype) for column in first.columns)
        made = tf.data.Dataset.from_generator(steps, output_signature=shapes)
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1  # the core belongs to the training step
        # Nothing here is tuned, and the tuner's thread sleeps up to a minute before an iterator may go.
        options.autotune.enabled = False
        batch = tf.autograph.experimental.do_not_convert(self._batch)
        batches: Iterator[Any] = iter(made.map(batch).prefetch(2).with_options(options))
        return batches

    def _batch(self, rows: Any, top: Any, left: Any, flip: Any, share: Any, operations: Any) -> Any:
        import tensorflow as tf

        chosen = tf.gather(self._images, rows) if self._spool is None else self._taken(rows)
        line = tf.range(self._side)[None, :]
        chosen = tf.gather(chosen, top[:, None] + line, axis=1, batch_dims=1)
        columns = left[:, None] + tf.where(flip[:, None] == 1, self._side - 1 - line, line)
        images = tf.gather(chosen, columns, axis=2, batch_dims=1)
        if operations.shape[-1]:
            shape = images.shape
            change = partial(randaugment.augmented, magnitude=self._magnitude)
            images = tf.numpy_function(change, [images, operations], tf.uint8)
            images.set_shape(shape)
        return images, tf.gather(self._labels, rows), share

    def _taken(self, rows: Any) -> Any:
        import tensorflow as tf

        assert self._spool
        images = tf.numpy_function(self._spool.take, [rows], tf.uint8)
        images.set_shape((rows.shape[0], None, None, 3))
        return images
