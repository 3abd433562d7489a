"""Workers' rows, epoch plans, disk cache and augmentation, worked out on paper, without a cluster."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.snapshot import DatasetSnapshot, Split
from models.pictures import randaugment
from models.pictures.disk_cache import DiskCache, cache_on_disk, load_rows
from models.pictures.epoch_plan import Augmentation, EpochPlan, plan_epoch
from models.pictures.input_pipeline import InputPipeline, WaitTimer
from models.pictures.inputs import (
    BatchSchedule,
    Pictures,
    RowRange,
    evaluation_batches,
    evaluation_rows,
    read_labels,
    read_pictures,
    resized_side,
    training_rows,
)
from models.plan import TrainingPlan
from tests.support import tiny
from tests.support.waiting import wait_until

CROPS = Augmentation(flip=True)


def test_an_epoch_plan_is_repeatable_and_uses_no_picture_twice() -> None:
    first = plan_epoch(100, BatchSchedule(8, 12), 4, CROPS, seed=(7, 1, 0))
    again = plan_epoch(100, BatchSchedule(8, 12), 4, CROPS, seed=(7, 1, 0))
    other = plan_epoch(100, BatchSchedule(8, 12), 4, Augmentation(), seed=(7, 2, 0))
    assert all(np.array_equal(a, b) for a, b in zip(astuple(first), astuple(again), strict=True))
    assert not np.array_equal(first.rows, other.rows)
    assert len(set(first.rows.ravel())) == 96
    assert set(np.unique(first.top)) == set(range(5)) and set(np.unique(first.flip)) == {0, 1}
    assert not other.flip.any()


def pictures(count: int = 6) -> Pictures:
    images = np.random.default_rng(1).integers(0, 256, (count, 36, 36, 3)).astype(np.uint8)
    return Pictures(images, np.arange(count, dtype=np.int32), tuple("abcdefgh"[:count]))


def test_batches_are_the_crops_of_the_epoch_plan() -> None:
    dataset = pictures()
    plan = plan_epoch(6, BatchSchedule(3, 2), 4, CROPS, seed=(0, 0, 0))
    for step, (crops, labels, weight) in enumerate(InputPipeline(dataset, 32).batches([plan])):
        assert weight == 1
        for at in range(3):
            row, top, left = plan.rows[step, at], plan.top[step, at], plan.left[step, at]
            expected = dataset.images[row, top : top + 32, left : left + 32]
            expected = expected[:, ::-1] if plan.flip[step, at] else expected
            assert labels[at] == row
            assert np.array_equal(crops[at], expected)


def test_the_next_epoch_is_prepared_while_the_last_one_is_measured() -> None:
    dataset, begun = pictures(), []

    def plans() -> Iterator[EpochPlan]:
        for epoch in (1, 2, 3):
            begun.append(epoch)
            yield plan_epoch(6, BatchSchedule(3, 2), 4, CROPS, seed=(0, epoch, 0))

    batches = InputPipeline(dataset, 32).batches(plans())
    found = [list(islice(batches, 2)) for _ in range(2)]
    assert wait_until(lambda: begun == [1, 2, 3], 10), "the third epoch was not prepared ahead"
    for epoch, ours in enumerate(found, start=1):
        alone = InputPipeline(dataset, 32).batches(
            [plan_epoch(6, BatchSchedule(3, 2), 4, CROPS, seed=(0, epoch, 0))]
        )
        for one, other in zip(ours, alone, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def snapshot(settings: Settings) -> DatasetSnapshot:
    """100 training rows in shards of 37, 37 and 26: not divisible among three workers."""
    return tiny.snapshot(settings, "shards-of-37", (100, 7, 5), shard_rows=37)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_three_workers_take_equal_steps_on_disjoint_rows_whatever_the_shard_sizes(
    memory: int, snapshot: DatasetSnapshot
) -> None:
    rows, schedule = snapshot.row_count(Split.TRAIN), BatchSchedule.of(100, 3, 8)
    assert schedule == BatchSchedule(8, 4)  # 33 rows each, 1 is not used
    seen: list[str] = []
    for worker in range(3):
        loaded = load_rows(snapshot, Split.TRAIN, training_rows(rows, worker, 3), 32, memory)
        assert isinstance(loaded, Pictures if memory else DiskCache) and len(loaded.labels) == 33
        plan = plan_epoch(33, schedule, 4, CROPS, (1, 1, worker))
        batches = list(InputPipeline(loaded, 32).batches([plan]))
        assert [(images.shape, labels.shape) for images, labels, _ in batches] == [((8, 32, 32, 3), (8,))] * 4
        seen += loaded.image_ids
    assert len(seen) == len(set(seen)) == 99
    tested = [
        load_rows(snapshot, Split.TEST, evaluation_rows(5, worker, 3), 32, memory) for worker in range(3)
    ]
    assert [name for part in tested for name in part.image_ids] == [f"test-{number}" for number in range(5)]


def test_the_disk_cache_gives_exactly_the_batches_of_memory(snapshot: DatasetSnapshot) -> None:
    rows = RowRange(20, 60)
    in_memory = read_pictures(snapshot, Split.TRAIN, rows, 32)
    cache = cache_on_disk(snapshot, Split.TRAIN, rows, 32)
    assert in_memory.image_ids == cache.image_ids and np.array_equal(in_memory.labels, cache.labels)
    plan = plan_epoch(40, BatchSchedule(8, 5), 4, Augmentation(flip=True, operations=2), (1, 2, 3))
    for one, other in zip(
        InputPipeline(in_memory, 32, 5).batches([plan]),
        InputPipeline(cache, 32, 5).batches([plan]),
        strict=True,
    ):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    for one, other in zip(
        evaluation_batches(in_memory, 32, 16), evaluation_batches(cache, 32, 16), strict=True
    ):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_rows_are_held_in_memory_up_to_the_limit(snapshot: DatasetSnapshot) -> None:
    size = 10 * 3 * resized_side(32) ** 2
    assert isinstance(load_rows(snapshot, Split.TRAIN, RowRange(0, 10), 32, size), Pictures)
    assert isinstance(load_rows(snapshot, Split.TRAIN, RowRange(0, 10), 32, size - 1), DiskCache)


def test_pictures_of_mixed_sizes_become_squares_of_one_side(settings: Settings) -> None:
    shapes = {"wide": (32, 200), "tall": (500, 33), "square": (64, 64)}
    listed = [
        (name, label, tiny.jpeg(np.full((*shape, 3), 77, np.uint8)))
        for label, (name, shape) in enumerate(shapes.items())
    ]
    dataset = tiny.write_snapshot(settings, "sizes", tiny.LABELS, {Split.TRAIN: listed})
    for memory in (0, 10**9):
        taken = load_rows(dataset, Split.TRAIN, RowRange(0, 3), 32, memory).take(np.arange(3, dtype=np.int32))
        assert taken.shape == (3, 36, 36, 3) and np.abs(taken.astype(int) - 77).max() <= 1


def test_a_picture_that_cannot_be_decoded_is_named(settings: Settings) -> None:
    listed = [("broken", 0, b"\xff\xd8 no")]
    dataset = tiny.write_snapshot(settings, "damaged", tiny.LABELS, {Split.TRAIN: listed})
    with pytest.raises(DamagedSnapshot, match="picture broken cannot be decoded"):
        read_pictures(dataset, Split.TRAIN, RowRange(0, 1), 32)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_a_swapped_shard_is_not_trained_on(settings: Settings, memory: int) -> None:
    dataset = tiny.snapshot(settings, "swapped", (8, 0, 0), shard_rows=4)
    first, second = dataset.shards[Split.TRAIN]
    content = dataset.storage.read(second.path)
    dataset.storage.write(first.path, content)
    with pytest.raises(DamagedSnapshot, match=f"sha256 of shard {first.path} of .*swapped differs") as raised:
        load_rows(dataset, Split.TRAIN, RowRange(3, 5), 32, memory)
    assert "\n" not in str(raised.value)
    assert (
        load_rows(dataset, Split.TRAIN, RowRange(4, 8), 32, memory).image_ids[0] == "train-4"
    )  # of the other shard


def test_a_shard_with_another_number_of_rows_than_the_manifest_is_refused(
    settings: Settings,
) -> None:
    dataset = tiny.snapshot(settings, "short", (3, 0, 0))
    (shard,) = dataset.shards[Split.TRAIN]
    dataset = replace(dataset, shards={Split.TRAIN: (replace(shard, rows=6),)})
    for take in (
        lambda: read_pictures(dataset, Split.TRAIN, RowRange(0, 6), 32),
        lambda: cache_on_disk(dataset, Split.TRAIN, RowRange(0, 6), 32),
        lambda: read_labels(dataset, Split.TRAIN),
    ):
        with pytest.raises(DamagedSnapshot, match="has 3 rows, the manifest says 6"):
            take()


def test_wait_timer_counts_waiting_but_not_computing() -> None:
    clock = [0.0]

    def slow() -> Any:
        for number in range(3):
            clock[0] += 2  # two seconds for a batch
            yield number
        clock[0] += 1  # and one second to find the end

    waiting = WaitTimer(slow(), lambda: clock[0])
    for _ in waiting:
        clock[0] += 5
    assert waiting.seconds == 3 * 2 + 1


def test_a_mixup_weight_is_drawn_for_every_step_and_is_at_least_one_half() -> None:
    plan = plan_epoch(40, BatchSchedule(8, 5), 4, Augmentation(mixup=0.2), (1, 2, 3))
    assert plan.mixup_weight.dtype == np.float32 and len(set(plan.mixup_weight.tolist())) > 1
    assert plan.mixup_weight.min() >= 0.5 and plan.mixup_weight.max() <= 1
    plain = plan_epoch(40, BatchSchedule(8, 5), 4, Augmentation(), (1, 2, 3))
    assert plain.mixup_weight.tolist() == [1] * 5
    assert np.array_equal(plain.rows, plan.rows) and np.array_equal(plain.top, plan.top)


def test_mixup_s_pixels_and_targets_on_paper() -> None:
    from models.nets.losses import mixup, targets

    images = np.array([0, 100, 200], np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)
    # Partners are first and last; the middle one is its own: 0.75·0 + 0.25·200, 100, 0.75·200 + 0.25·0
    assert np.asarray(mixup(images, np.float32(0.75)))[:, 0, 0, 0].tolist() == [50, 100, 150]
    found = targets(np.array([0, 1, 2], np.int32), 3, 0.0, np.float32(0.75), "float32")
    assert np.asarray(found).tolist() == [[0.75, 0, 0.25], [0, 1, 0], [0.25, 0, 0.75]]
    both = targets(np.array([0, 1, 2], np.int32), 3, 0.3, np.float32(0.75), "float32")
    # 0.7 times the targets above, plus 0.3 / 3
    expected = [[0.625, 0.1, 0.275], [0.1, 0.8, 0.1], [0.275, 0.1, 0.625]]
    assert np.asarray(both) == pytest.approx(np.array(expected), abs=1e-6)


def test_label_smoothing_s_loss_on_paper() -> None:
    from models.nets.losses import cross_entropy

    logits = np.log(np.array([[0.7, 0.2, 0.1]], np.float32))
    label = np.array([0], np.int32)
    assert float(cross_entropy(logits, label)[0]) == pytest.approx(-np.log(0.7), abs=1e-6)
    # Targets 0.9 + 0.1/3, 0.1/3, 0.1/3 against probabilities 0.7, 0.2, 0.1
    expected = -(0.9 + 0.1 / 3) * np.log(0.7) - 0.1 / 3 * np.log(0.2) - 0.1 / 3 * np.log(0.1)
    assert float(cross_entropy(logits, label, 0.1)[0]) == pytest.approx(expected, abs=1e-6)


def image(values: Any) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint8)[:, :, None] * np.ones(3, np.uint8))


def grey(found: Image.Image) -> list[list[int]]:
    return np.asarray(found)[:, :, 0].tolist()


def test_operations_of_randaugment_on_paper() -> None:
    operations = randaugment.OPERATIONS
    assert len(operations) == 14
    row = image([[0, 100, 150, 255]])
    assert grey(operations["identity"](row, 1)) == [[0, 100, 150, 255]]
    assert grey(operations["solarize"](row, 0.5)) == [[0, 100, 105, 0]]  # from 128 on v becomes 255 - v
    assert grey(operations["posterize"](row, 1)) == [[0, 96, 144, 240]]  # 4 bits are left
    assert grey(operations["brightness"](row, -1))[0] == pytest.approx([0, 10, 15, 25], abs=1)
    assert grey(operations["autocontrast"](image([[50, 100, 150]]), 1)) == [[0, 127, 255]]
    four = image(np.arange(16).reshape(4, 4))
    # 0.45 · 4 rounds to 2 pixels
    assert grey(operations["shift_x"](four, 1)) == [[128, 128, 4 * y, 4 * y + 1] for y in range(4)]
    assert grey(operations["shift_y"](four, -1)) == [[8, 9, 10, 11], [12, 13, 14, 15], [128] * 4, [128] * 4]
    for name in set(operations) - {"autocontrast", "equalize", "posterize"}:
        assert grey(operations[name](four, 0)) == grey(four), name


def test_randaugment_never_mirrors() -> None:
    """The gradient of a picture that is bright on the right points to the right after every operation."""
    ramp = np.tile(np.linspace(60, 200, 32), (32, 1))
    for name, operation in randaugment.OPERATIONS.items():
        for level in (-0.5, 0.5):
            found = np.asarray(operation(image(ramp), level))[8:24, 8:20, 0].astype(float)
            # solarize inverts pixels above its threshold, so only the left part is checked
            half = found[:, :4] if name == "solarize" else found
            assert np.diff(half, axis=1).mean() > 0, (name, level)


def test_pictures_that_must_not_be_mirrored_are_not_whatever_other_augmentation_is_on(
    settings: Settings,
) -> None:
    training_plan = TrainingPlan.of(settings, "digits", 1, randaugment=2, mixup=0.2)
    found = Augmentation.of(training_plan, flip=False)
    assert found == Augmentation(crop=True, flip=False, operations=2, mixup=0.2)
    plan = plan_epoch(40, BatchSchedule(8, 5), 4, found, (1, 2, 3))
    assert not plan.flip.any() and plan.operations.shape == (5, 8, 2)


def test_randaugment_changes_the_crops_as_drawn_and_keeps_labels() -> None:
    dataset = pictures(4)
    plan = plan_epoch(4, BatchSchedule(4, 1), 4, Augmentation(operations=2), (1, 2, 3))
    bare = EpochPlan(**{**vars(plan), "operations": np.zeros((1, 4, 0), np.int32)})
    ((images, labels, _),) = list(InputPipeline(dataset, 32, 7).batches([plan]))
    ((crops, same, _),) = list(InputPipeline(dataset, 32, 7).batches([bare]))
    assert np.array_equal(labels, same)
    assert np.array_equal(images, randaugment.augment(crops.numpy(), plan.operations[0], 7))
    assert not np.array_equal(images, crops)
