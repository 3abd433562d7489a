"""Shares, epochs and augmentation: worked out on paper, without a cluster."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conf.settings import Settings
from lake.errors import DamagedSnapshot
from lake.snapshot import Snapshot, Split
from models.pictures import randaugment
from models.pictures.disk_cache import DiskCache, cached, share
from models.pictures.epoch_plan import Augmentation, EpochPlan, InputPipeline, Waiting, plan_epoch
from models.pictures.inputs import (
    BatchSchedule,
    Pictures,
    Rows,
    equal_share,
    evaluation_batches,
    kept_side,
    label_column,
    read,
    whole_share,
)
from models.plan import TrainingPlan
from tests.support import tiny
from tests.support.waiting import comes_true

CROPS = Augmentation(flip=True)


def test_an_epoch_is_dealt_again_exactly_and_shows_no_picture_twice() -> None:
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


def test_batches_are_the_crops_that_were_dealt() -> None:
    made = pictures()
    drawn = plan_epoch(6, BatchSchedule(3, 2), 4, CROPS, seed=(0, 0, 0))
    for step, (crops, labels, weight) in enumerate(InputPipeline(made, 32).batches([drawn])):
        assert weight == 1
        for at in range(3):
            row, top, left = drawn.rows[step, at], drawn.top[step, at], drawn.left[step, at]
            expected = made.images[row, top : top + 32, left : left + 32]
            expected = expected[:, ::-1] if drawn.flip[step, at] else expected
            assert labels[at] == row
            assert np.array_equal(crops[at], expected)


def test_the_next_epoch_is_begun_while_the_last_one_is_measured() -> None:
    made, begun = pictures(), []

    def deals() -> Iterator[EpochPlan]:
        for epoch in (1, 2, 3):
            begun.append(epoch)
            yield plan_epoch(6, BatchSchedule(3, 2), 4, CROPS, seed=(0, epoch, 0))

    batches = InputPipeline(made, 32).batches(deals())
    found = [list(islice(batches, 2)) for _ in range(2)]
    assert comes_true(lambda: begun == [1, 2, 3], 10), "nobody has asked for the third yet"
    for epoch, ours in enumerate(found, start=1):
        alone = InputPipeline(made, 32).batches(
            [plan_epoch(6, BatchSchedule(3, 2), 4, CROPS, seed=(0, epoch, 0))]
        )
        for one, other in zip(ours, alone, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def snapshot(settings: Settings) -> Snapshot:
    """100 training rows in shards of 37, 37 and 26: three workers do not divide them."""
    return tiny.snapshot(settings, "shards-of-37", (100, 7, 5), shard_rows=37)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_three_workers_over_shards_of_other_sizes_take_equal_steps_on_rows_of_their_own(
    memory: int, snapshot: Snapshot
) -> None:
    rows, pace = snapshot.rows(Split.TRAIN), BatchSchedule.of(100, 3, 8)
    assert pace == BatchSchedule(8, 4)  # 33 rows each, 1 left out
    seen: list[str] = []
    for worker in range(3):
        mine = share(snapshot, Split.TRAIN, equal_share(rows, worker, 3), 32, memory)
        assert isinstance(mine, Pictures if memory else DiskCache) and len(mine.labels) == 33
        drawn = plan_epoch(33, pace, 4, CROPS, (1, 1, worker))
        batches = list(InputPipeline(mine, 32).batches([drawn]))
        assert [(images.shape, labels.shape) for images, labels, _ in batches] == [((8, 32, 32, 3), (8,))] * 4
        seen += mine.image_ids
    assert len(seen) == len(set(seen)) == 99
    tested = [share(snapshot, Split.TEST, whole_share(5, worker, 3), 32, memory) for worker in range(3)]
    assert [name for part in tested for name in part.image_ids] == [f"test-{number}" for number in range(5)]


def test_what_does_not_fit_into_memory_gives_the_very_same_batches(snapshot: Snapshot) -> None:
    rows = Rows(20, 60)
    kept, spool = read(snapshot, Split.TRAIN, rows, 32), cached(snapshot, Split.TRAIN, rows, 32)
    assert kept.image_ids == spool.image_ids and np.array_equal(kept.labels, spool.labels)
    drawn = plan_epoch(40, BatchSchedule(8, 5), 4, Augmentation(flip=True, operations=2), (1, 2, 3))
    for one, other in zip(
        InputPipeline(kept, 32, 5).batches([drawn]), InputPipeline(spool, 32, 5).batches([drawn]), strict=True
    ):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    for one, other in zip(evaluation_batches(kept, 32, 16), evaluation_batches(spool, 32, 16), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_memory_is_used_up_to_its_limit_and_not_beyond(snapshot: Snapshot) -> None:
    size = 10 * 3 * kept_side(32) ** 2
    assert isinstance(share(snapshot, Split.TRAIN, Rows(0, 10), 32, size), Pictures)
    assert isinstance(share(snapshot, Split.TRAIN, Rows(0, 10), 32, size - 1), DiskCache)


def test_pictures_of_mixed_sizes_become_squares_of_one_side(settings: Settings) -> None:
    shapes = {"wide": (32, 200), "tall": (500, 33), "square": (64, 64)}
    listed = [
        (name, label, tiny.jpeg(np.full((*shape, 3), 77, np.uint8)))
        for label, (name, shape) in enumerate(shapes.items())
    ]
    made = tiny.written(settings, "sizes", tiny.LABELS, {Split.TRAIN: listed})
    for memory in (0, 10**9):
        taken = share(made, Split.TRAIN, Rows(0, 3), 32, memory).take(np.arange(3, dtype=np.int32))
        assert taken.shape == (3, 36, 36, 3) and np.abs(taken.astype(int) - 77).max() <= 1


def test_a_picture_that_cannot_be_decoded_is_named(settings: Settings) -> None:
    listed = [("broken", 0, b"\xff\xd8 no")]
    made = tiny.written(settings, "damaged", tiny.LABELS, {Split.TRAIN: listed})
    with pytest.raises(DamagedSnapshot, match="picture broken cannot be decoded"):
        read(made, Split.TRAIN, Rows(0, 1), 32)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_shards_that_lie_where_another_should_are_not_trained_on(settings: Settings, memory: int) -> None:
    made = tiny.snapshot(settings, "swapped", (8, 0, 0), shard_rows=4)
    first, second = made.shards[Split.TRAIN]
    content = made.storage.read(second.path)
    made.storage.write(first.path, content)
    with pytest.raises(DamagedSnapshot, match=f"{first.path} of .*swapped has another sha256") as raised:
        share(made, Split.TRAIN, Rows(3, 5), 32, memory)
    assert "\n" not in str(raised.value)
    assert share(made, Split.TRAIN, Rows(4, 8), 32, memory).image_ids[0] == "train-4"  # of the other


def test_shards_of_other_rows_than_the_manifest_says_are_refused_before_any_is_decoded(
    settings: Settings,
) -> None:
    made = tiny.snapshot(settings, "short", (3, 0, 0))
    (shard,) = made.shards[Split.TRAIN]
    made = replace(made, shards={Split.TRAIN: (replace(shard, rows=6),)})
    for take in (
        lambda: read(made, Split.TRAIN, Rows(0, 6), 32),
        lambda: cached(made, Split.TRAIN, Rows(0, 6), 32),
        lambda: label_column(made, Split.TRAIN),
    ):
        with pytest.raises(DamagedSnapshot, match="has 3 rows, the manifest says 6"):
            take()


def test_time_that_waits_for_pictures_is_told_from_time_that_computes() -> None:
    clock = [0.0]

    def slow() -> Any:
        for number in range(3):
            clock[0] += 2  # two seconds for a batch
            yield number
        clock[0] += 1  # and one to find that there is none left

    waiting = Waiting(slow(), lambda: clock[0])
    for _ in waiting:
        clock[0] += 5
    assert waiting.seconds == 3 * 2 + 1


def test_mixup_s_weights_are_drawn_for_every_step_and_the_first_of_two_weighs_more() -> None:
    drawn = plan_epoch(40, BatchSchedule(8, 5), 4, Augmentation(mixup=0.2), (1, 2, 3))
    assert drawn.share.dtype == np.float32 and len(set(drawn.share.tolist())) > 1
    assert drawn.share.min() >= 0.5 and drawn.share.max() <= 1
    plain = plan_epoch(40, BatchSchedule(8, 5), 4, Augmentation(), (1, 2, 3))
    assert plain.share.tolist() == [1] * 5
    assert np.array_equal(plain.rows, drawn.rows) and np.array_equal(plain.top, drawn.top)


def test_mixup_s_pixels_and_targets_on_paper() -> None:
    from models.nets.losses import mixed, targets

    images = np.array([0, 100, 200], np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)
    # Partners are first and last; the middle one is its own: 0.75·0 + 0.25·200, 100, 0.75·200 + 0.25·0
    assert np.asarray(mixed(images, np.float32(0.75)))[:, 0, 0, 0].tolist() == [50, 100, 150]
    found = targets(np.array([0, 1, 2], np.int32), 3, 0.0, np.float32(0.75), "float32")
    assert np.asarray(found).tolist() == [[0.75, 0, 0.25], [0, 1, 0], [0.25, 0, 0.75]]
    both = targets(np.array([0, 1, 2], np.int32), 3, 0.3, np.float32(0.75), "float32")
    # 0.7 times the above plus 0.3 / 3
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
            # solarize turns what is brighter than its threshold, so only what is left of it is looked at
            half = found[:, :4] if name == "solarize" else found
            assert np.diff(half, axis=1).mean() > 0, (name, level)


def test_labels_that_must_not_be_mirrored_are_not_whatever_else_is_on(settings: Settings) -> None:
    plan = TrainingPlan.of(settings, "digits", 1, randaugment=2, mixup=0.2)
    found = Augmentation.of(plan, flip=False)
    assert found == Augmentation(crop=True, flip=False, operations=2, mixup=0.2)
    drawn = plan_epoch(40, BatchSchedule(8, 5), 4, found, (1, 2, 3))
    assert not drawn.flip.any() and drawn.operations.shape == (5, 8, 2)


def test_randaugment_changes_the_crops_as_drawn_and_keeps_labels() -> None:
    made = pictures(4)
    drawn = plan_epoch(4, BatchSchedule(4, 1), 4, Augmentation(operations=2), (1, 2, 3))
    bare = EpochPlan(**{**vars(drawn), "operations": np.zeros((1, 4, 0), np.int32)})
    ((images, labels, _),) = list(InputPipeline(made, 32, 7).batches([drawn]))
    ((crops, same, _),) = list(InputPipeline(made, 32, 7).batches([bare]))
    assert np.array_equal(labels, same)
    assert np.array_equal(images, randaugment.augmented(crops.numpy(), drawn.operations[0], 7))
    assert not np.array_equal(images, crops)
