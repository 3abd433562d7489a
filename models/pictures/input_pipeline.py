"""The input pipeline of a worker: prepares batches ahead of the training steps, in the order of the plans."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.pictures import crops
from models.pictures.crops import Draws
from models.pictures.disk_cache import DiskCache
from models.pictures.epoch_plan import EpochPlan
from models.pictures.input_processes import InputProcesses, process_count
from models.pictures.inputs import Pictures

AHEAD = 2  # batches that are ready before their step


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
    """Turns a worker's pictures into augmented batches, while the training steps before them are computed.

    Everything random is drawn in the plans, so batches do not depend on the number of processes.

    Args:
        pictures: the worker's pictures.
        side: of the model's input (pixels).
        magnitude: of RandAugment.
        cores: of the worker.
        replicas: devices of the worker; each gets an equal part of a step's batch.
        distribute: turns a dataset of the replicas' batches into one whose elements are on the devices.
    """

    def __init__(
        self,
        pictures: Pictures | DiskCache,
        side: int,
        magnitude: float = 0.0,
        cores: int = 1,
        replicas: int = 1,
        distribute: Callable[[Any], Any] = lambda dataset: dataset,
    ) -> None:
        self.labels = pictures.labels
        self._pictures, self._side, self._magnitude = pictures, side, magnitude
        self._cores, self._replicas, self._distribute = cores, replicas, distribute

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
        batch = first.rows.shape[1] // self._replicas
        shapes = (
            tf.TensorSpec((batch, self._side, self._side, 3), tf.uint8),
            tf.TensorSpec((batch,), tf.int32),
            tf.TensorSpec((), tf.float32),
        )
        dataset = tf.data.Dataset.from_generator(
            lambda: self._prepare(chain((first,), plans), batch, first.operations.shape[-1]),
            output_signature=shapes,
        )
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1  # the training step needs the core
        # Nothing to tune; the autotuner's thread can delay the end of an iterator by up to a minute.
        options.autotune.enabled = False
        batches: Iterator[Any] = iter(
            self._distribute(dataset.prefetch(AHEAD * self._replicas).with_options(options))
        )
        return batches

    def _prepare(
        self, plans: Iterable[EpochPlan], batch: int, operations: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]]:
        """Yield images, labels and mixup weight of each replica's batch."""
        decoded = isinstance(self._pictures, Pictures)
        processes = process_count(self._cores, decoded, operations, self._replicas)
        drawn, steps = tee(step for plan in plans for step in plan.split(self._replicas))
        with closing(self._images((draws for draws, _ in drawn), batch, processes)) as images:
            for crop, (draws, weight) in zip(images, steps, strict=True):
                yield crop, self.labels[draws[0]], weight

    def _images(
        self, steps: Iterable[Draws], batch: int, processes: int
    ) -> Generator[NDArray[np.uint8], None, None]:
        if not processes:
            shape = batch, self._side, self._side, 3
            for draws in steps:
                yield crops.cut(self._pictures, draws, self._side, self._magnitude, np.empty(shape, np.uint8))
            return
        with InputProcesses(self._pictures, self._side, self._magnitude, batch, processes) as workers:
            yield from workers.prepare(steps)
