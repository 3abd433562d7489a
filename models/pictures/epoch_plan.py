"""Epoch plan: rows, crops, flips, mixup weights and RandAugment operations, drawn from a seed. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pictures import randaugment
from models.pictures.crops import Draws
from models.pictures.inputs import BatchSchedule
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
        mixup_weight: float32 (steps,), weight of a picture, 0.5 to 1; its partner gets the rest.
        operations: int32 (steps, batch, n), of RandAugment.
    """

    rows: NDArray[np.int32]
    top: NDArray[np.int32]
    left: NDArray[np.int32]
    flip: NDArray[np.int32]
    mixup_weight: NDArray[np.float32]
    operations: NDArray[np.int32]

    def split(self, parts: int) -> Iterator[tuple[Draws, NDArray[np.float32]]]:
        """Draws and mixup weight of each step, the batch divided into equal parts: one for each device."""
        columns = self.rows, self.top, self.left, self.flip, self.operations
        for step, weight in enumerate(self.mixup_weight):
            for part in zip(*(np.split(column[step], parts) for column in columns), strict=True):
                yield part, weight


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
