"""Epoch plan (rows, crops, flips, mixup weights drawn from a seed) and the tf.data input pipeline."""

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
    """The rows and augmentation of every step of an epoch, drawn in advance, so an epoch is repeatable.

    Args:
        rows: int32 (steps, batch), positions of the pictures.
        top: int32 (steps, batch), first row of the crop.
        left: int32 (steps, batch), first column of the crop.
        flip: int32 (steps, batch), 1 where the crop is mirrored, else 0.
        share: float32 (steps,), mixup weight of a picture, 0.5 to 1; its partner gets the rest.
        operations: int32 (steps, batch, n), of RandAugment.
    """

    rows: NDArray[np.int32]
    top: NDArray[np.int32]
    left: NDArray[np.int32]
    flip: NDArray[np.int32]
    mixup_weight: NDArray[np.float32]
    operations: NDArray[np.int32]

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All arrays, in the order of the arguments of `_batch`; the first axis is the step."""
        return self.rows, self.top, self.left, self.flip, self.mixup_weight, self.operations


@dataclass(frozen=True)
class Augmentation:
    """Which augmentations an epoch applies.

    Args:
        crop: at random; False takes centre crops, not mirrored, in the order of the snapshot.
        flip: mirror each crop with probability 1/2.
        operations: number of RandAugment operations per picture; 0 for none.
        mixup: alpha of the Beta(alpha, alpha) distribution of mixup weights; 0 for none.
    """

    crop: bool = True
    flip: bool = False
    operations: int = 0
    mixup: float = 0.0

    @classmethod
    def of(cls, plan: TrainingPlan, flip: bool) -> "Augmentation":
        """The augmentation of a plan; `flip` is whether the dataset allows mirroring."""
        flipped = flip if plan.flip is None else plan.flip
        if not plan.augment:
            return cls(crop=False)
        return cls(True, flipped, plan.randaugment, plan.mixup)


def plan_epoch(
    pictures: int,
    schedule: BatchSchedule,
    margin: int,
    augmentation: Augmentation,
    seed: tuple[int, int, int],
    sampler: Sampler | None = None,
) -> EpochPlan:
    """Draw the plan of an epoch.

    Args:
        pictures: number of pictures, drawn without replacement.
        schedule: steps and batch size.
        margin: difference between the side of the pictures and of the crops (pixels).
        augmentation: what to draw.
        seed: run's seed, epoch, worker.
        sampler: draws the rows, (steps, batch), instead of a permutation.
    """
    shape = schedule.steps, schedule.batch
    count = schedule.steps * schedule.batch
    weights, operations = np.ones(schedule.steps, np.float32), np.zeros((*shape, 0), np.int32)
    if not augmentation.crop:
        rows = np.arange(count, dtype=np.int32).reshape(shape)
        centre = np.full(shape, margin // 2, np.int32)
        return EpochPlan(rows, centre, centre, np.zeros(shape, np.int32), weights, operations)
    random = np.random.default_rng(seed)
    if sampler:
        rows = sampler(random)
    else:
        rows = random.permutation(pictures)[:count].astype(np.int32).reshape(shape)
    top, left = random.integers(0, margin + 1, (2, *shape), dtype=np.int32)
    mirrored = random.integers(0, 2 if augmentation.flip else 1, shape, dtype=np.int32)
    if augmentation.mixup:
        drawn = random.beta(augmentation.mixup, augmentation.mixup, schedule.steps)
        # Partners are mutual, so a weight and its complement give the same batch.
        weights = np.maximum(drawn, 1 - drawn).astype(np.float32)
    if augmentation.operations:
        operations = randaugment.draw_operations((*shape, augmentation.operations), random)
    return EpochPlan(rows, top, left, mirrored, weights, operations)


class WaitTimer:
    """Iterates over items and measures how long the consumer waited for them (seconds)."""

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
    """tf.data pipeline that turns a worker's pictures into augmented batches.

    Pictures in memory are copied into one tensor and cropped by gathers on whole batches. Pictures of a disk
    cache are decoded up to two steps ahead, while the current step is computed.

    Args:
        pictures: the worker's pictures.
        side: of the model's input (pixels).
        magnitude: of RandAugment.
    """

    def __init__(self, pictures: Pictures | DiskCache, side: int, magnitude: float = 0.0) -> None:
        import tensorflow as tf

        self.labels = pictures.labels
        self._labels = tf.constant(pictures.labels)
        self._side, self._magnitude = side, magnitude
        self._images: Any = tf.constant(pictures.images) if isinstance(pictures, Pictures) else None
        self._cache = pictures if isinstance(pictures, DiskCache) else None

    def batches(self, plans: Iterable[EpochPlan]) -> Iterator[Any]:
        """The batches of all epochs in sequence, from one tf.data pipeline that prefetches two.

        The first batches of an epoch are therefore prepared while the epoch before is saved and measured.

        Args:
            plans: one for each epoch, all of one shape; each is drawn when its first batch is needed.

        Returns:
            for each step images uint8 (batch, side, side, 3), labels int32 (batch,), mixup weight float32 ().
        """
        import tensorflow as tf

        plans = iter(plans)
        first = next(plans)

        def steps() -> Iterator[tuple[Any, ...]]:
            for plan in chain((first,), plans):
                yield from zip(*plan.columns, strict=True)

        shapes = tuple(tf.TensorSpec(column.shape[1:], column.dtype) for column in first.columns)
        dataset = tf.data.Dataset.from_generator(steps, output_signature=shapes)
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1  # the training step needs the core
        # Nothing to tune; the autotuner's thread can delay the end of an iterator by up to a minute.
        options.autotune.enabled = False
        batch = tf.autograph.experimental.do_not_convert(self._batch)
        batches: Iterator[Any] = iter(dataset.map(batch).prefetch(2).with_options(options))
        return batches

    def _batch(self, rows: Any, top: Any, left: Any, flip: Any, mixup_weight: Any, operations: Any) -> Any:
        import tensorflow as tf

        images = tf.gather(self._images, rows) if self._cache is None else self._decode_rows(rows)
        pixels = tf.range(self._side)[None, :]
        images = tf.gather(images, top[:, None] + pixels, axis=1, batch_dims=1)
        columns = left[:, None] + tf.where(flip[:, None] == 1, self._side - 1 - pixels, pixels)
        images = tf.gather(images, columns, axis=2, batch_dims=1)
        if operations.shape[-1]:
            shape = images.shape
            augment_batch = partial(randaugment.augment, magnitude=self._magnitude)
            images = tf.numpy_function(augment_batch, [images, operations], tf.uint8)
            images.set_shape(shape)
        return images, tf.gather(self._labels, rows), mixup_weight

    def _decode_rows(self, rows: Any) -> Any:
        import tensorflow as tf

        assert self._cache
        images = tf.numpy_function(self._cache.take, [rows], tf.uint8)
        images.set_shape((rows.shape[0], None, None, 3))
        return images
