"""Images per second that input processes prepare, by their number; needs no GPU."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.gpu.loads import Load, snapshot_of
from lake.snapshot import Split
from models.pictures.crops import Draws
from models.pictures.disk_cache import cache_on_disk
from models.pictures.epoch_plan import Augmentation, plan_epoch
from models.pictures.input_processes import InputProcesses
from models.pictures.inputs import BatchSchedule, RowRange, read_pictures, resized_side

ROWS = 1024
BATCH = 64
SECONDS = 4.0
KINDS = (
    Load("224 px, RandAugment 2", "resnet50", 224, BATCH, randaugment=2),
    Load("224 px, decoded each epoch", "resnet50", 224, BATCH, cached=False),
    Load("32 px, RandAugment 2", "resnet20", 32, BATCH, randaugment=2),
    Load("32 px, decoded each epoch", "resnet20", 32, BATCH, cached=False),
)


def process_counts(cores: int) -> list[int]:
    """1, 2, 4, … and the number of cores."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power < cores]
    return [*powers, cores]


def measure(load: Load, folder: Path, processes: int) -> float:
    """Images per second of this many processes, once all of them run."""
    snapshot = snapshot_of(load, folder, small=False, rows=ROWS)
    read = read_pictures if load.cached else cache_on_disk
    pictures = read(snapshot, Split.TRAIN, RowRange(0, ROWS), load.side)
    with InputProcesses(pictures, load.side, 5.0, load.batch, processes) as workers:
        batches = workers.prepare(_draws(load))
        for _ in range(4 * processes):  # each has imported its modules, and its queue is full
            next(batches)
        began, done = time.monotonic(), 0
        while time.monotonic() - began < SECONDS:
            next(batches)
            done += 1
        rate = done * load.batch / (time.monotonic() - began)
        batches.close()
    return rate


def _draws(load: Load) -> Iterator[Draws]:
    margin = resized_side(load.side) - load.side
    augmentation = Augmentation(flip=True, operations=load.randaugment)
    for epoch in count():
        plan = plan_epoch(ROWS, BatchSchedule.of(ROWS, 1, load.batch), margin, augmentation, (1, epoch, 0))
        for draws, _ in plan.split(1):
            yield draws
