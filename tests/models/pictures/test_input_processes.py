"""Batches from several processes: the same as from one thread, and the worker itself has little to do."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.snapshot import DatasetSnapshot, Split
from models.errors import InputProcessLost
from models.pictures import crops
from models.pictures.disk_cache import DiskCache, cache_on_disk
from models.pictures.epoch_plan import Augmentation, EpochPlan, plan_epoch
from models.pictures.input_pipeline import InputPipeline
from models.pictures.input_processes import InputProcesses, process_count
from models.pictures.inputs import BatchSchedule, Pictures, RowRange, read_pictures
from tests.support import tiny

AUGMENTED = Augmentation(flip=True, operations=2, mixup=0.2)


@pytest.fixture(scope="module")
def snapshot(settings: Settings) -> DatasetSnapshot:
    """48 training pictures."""
    return tiny.snapshot(settings, "for-processes", (48, 3, 3))


def plan(steps: int = 6, batch: int = 8, seed: int = 1) -> EpochPlan:
    return plan_epoch(48, BatchSchedule(batch, steps), 4, AUGMENTED, (seed, 2, 3))


@pytest.mark.parametrize("load", [read_pictures, cache_on_disk])
def test_batches_do_not_depend_on_the_number_of_processes(load: object, snapshot: DatasetSnapshot) -> None:
    assert callable(load)
    pictures = load(snapshot, Split.TRAIN, RowRange(0, 48), 32)
    plans = [plan(seed=1), plan(seed=2)]
    alone = list(InputPipeline(pictures, 32, 5.0).batches(plans))
    for cores in (2, 3):
        spread = list(InputPipeline(pictures, 32, 5.0, cores).batches(plans))
        assert len(spread) == len(alone) == 12
        for one, other in zip(alone, spread, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_devices_of_a_worker_get_equal_parts_of_each_batch(snapshot: DatasetSnapshot) -> None:
    pictures = read_pictures(snapshot, Split.TRAIN, RowRange(0, 48), 32)
    whole = list(InputPipeline(pictures, 32, 5.0).batches([plan()]))
    parts = list(InputPipeline(pictures, 32, 5.0, replicas=2).batches([plan()]))
    assert len(parts) == 12
    for number, (images, labels, weight) in enumerate(whole):
        first, second = parts[2 * number : 2 * number + 2]
        assert np.array_equal(images, np.concatenate([first[0], second[0]]))
        assert np.array_equal(labels, np.concatenate([first[1], second[1]]))
        assert weight == first[2] == second[2]


def test_processes_are_started_only_where_a_thread_is_too_slow() -> None:
    assert process_count(cores=1, decoded=False, operations=2, replicas=1) == 0
    assert process_count(cores=8, decoded=True, operations=0, replicas=1) == 0
    assert process_count(cores=8, decoded=False, operations=0, replicas=1) == 8
    assert process_count(cores=8, decoded=True, operations=2, replicas=1) == 8
    assert process_count(cores=8, decoded=True, operations=0, replicas=2) == 8


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_work_is_spread_over_the_processes_and_the_worker_only_passes_it_on() -> None:
    """Where all work is done in N processes of equal shares, N cores do it in an Nth of the time.

    Measured as processor time, so that the test holds on a busy machine and on one with few cores.
    """
    side, batch, steps, count = 128, 16, 128, 4
    images = np.random.default_rng(1).integers(0, 256, (64, 144, 144, 3)).astype(np.uint8)
    pictures = Pictures(images, np.zeros(64, np.int32), ("",) * 64)
    random = np.random.default_rng(2)
    drawn = [
        plan_epoch(64, BatchSchedule(batch, 4), 16, AUGMENTED, (7, int(random.integers(99)), 0))
        for _ in range(steps // 4)
    ]
    draws = [part for each in drawn for part, _ in each.split(1)]
    with InputProcesses(pictures, side, 5.0, batch, count) as processes:
        warm = list(processes.prepare(draws[:count]))  # each has imported its modules
        assert np.array_equal(warm[0], crops.cut(pictures, draws[0], side, 5.0, np.empty_like(warm[0])))
        before = [_cpu_seconds(pid) for pid in processes.pids]
        own = time.thread_time()  # not the process: other tests have left threads in it
        assert sum(1 for _ in processes.prepare(draws)) == steps
        own = time.thread_time() - own
        spent = [_cpu_seconds(pid) - old for pid, old in zip(processes.pids, before, strict=True)]
    assert sum(spent) > 0.3  # enough to be measured in hundredths
    assert min(spent) > 0.6 * sum(spent) / count
    assert own < 0.5 * sum(spent), "the worker does such work itself"


def test_a_damaged_picture_is_named_by_the_process_that_finds_it(settings: Settings) -> None:
    good = [(f"p-{number}", 0, tiny.jpeg(np.zeros((40, 40, 3), np.uint8))) for number in range(3)]
    listed = [*good, ("broken", 0, b"\xff\xd8 no")]
    dataset = tiny.write_snapshot(settings, "damaged-for-processes", tiny.LABELS, {Split.TRAIN: listed})
    cache = cache_on_disk(dataset, Split.TRAIN, RowRange(0, 4), 32)
    zeros = np.zeros(4, np.int32)
    draws = np.arange(4, dtype=np.int32), zeros, zeros, zeros, np.zeros((4, 0), np.int32)
    with (
        InputProcesses(cache, 32, 0.0, 4, 2) as processes,
        pytest.raises(DamagedSnapshot, match="picture broken cannot be decoded"),
    ):
        list(processes.prepare([draws]))


def test_a_killed_process_ends_the_input_with_its_cause(snapshot: DatasetSnapshot) -> None:
    cache = cache_on_disk(snapshot, Split.TRAIN, RowRange(0, 48), 32)
    assert isinstance(cache, DiskCache)
    with InputProcesses(cache, 32, 5.0, 8, 2) as processes:
        images = processes.prepare(draws for draws, _ in plan().split(1))
        next(images)
        os.kill(processes.pids[1], signal.SIGKILL)
        with pytest.raises(InputProcessLost, match=rf"process {processes.pids[1]}, .* ended \(status -9\)"):
            list(images)


def test_a_killed_process_counts_as_a_lost_worker_which_is_restarted(
    snapshot: DatasetSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.workers.worker_failures import FailureKind, from_exception

    started: list[InputProcesses] = []
    start = InputProcesses.__enter__

    def remember(processes: InputProcesses) -> InputProcesses:
        started.append(processes)
        return start(processes)

    monkeypatch.setattr(InputProcesses, "__enter__", remember)
    cache = cache_on_disk(snapshot, Split.TRAIN, RowRange(0, 48), 32)
    batches = InputPipeline(cache, 32, 5.0, cores=2).batches(plan(seed=seed) for seed in range(9))
    next(batches)
    os.kill(started[0].pids[0], signal.SIGKILL)
    with pytest.raises(Exception, match="InputProcessLost") as caught:
        list(batches)
    failure = from_exception(1, caught.value)
    assert failure.kind == FailureKind.LOST
    assert f"process {started[0].pids[0]}, which prepares training pictures, has ended" in failure.cause
