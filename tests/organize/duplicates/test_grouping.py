"""Groups on a real lake: any order and any division into micro-batches, again and again, after an erasure."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import row_writer
from lake.erasure import groups as erasing
from lake.table import Table
from organize.duplicates.group_ids import own_id
from tests.organize.duplicates.lake_of_scenes import Picture, add, group, new_lake, partition_of
from tests.support.media import scenes

pytestmark = pytest.mark.services

COPIES = (scenes.reencoded, scenes.resized, scenes.mirrored, lambda rgb: scenes.cropped(rgb, 0.15))


def family(seed: int) -> list[Picture]:
    """A scene and four copies of it."""
    original = scenes.scene(seed)
    return [Picture(original), *(Picture(change(original)) for change in COPIES)]


def rows_of(own: Settings, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in row_writer.read(own, table, columns)), key=repr)


def everything(own: Settings) -> list[list[tuple[Any, ...]]]:
    """All that grouping writes."""
    return [
        rows_of(own, Table.SAMPLES, "image_id", "duplicate_group"),
        rows_of(own, Table.GROUPS, "image_id", "group_id", "relation", "matched_image", "score"),
        rows_of(own, Table.GROUP_MERGES, "group_id", "merged_into"),
        rows_of(own, Table.DUPLICATE_PAIRS, "first", "second", "relation"),
    ]


def test_any_order_and_division_gives_the_same_groups_on_any_machine(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    pictures = [*family(1), *family(2), *(Picture(scenes.scene(seed)) for seed in range(3, 7))]
    known = [picture.image_id for picture in pictures]
    families = {frozenset(known[:5]), frozenset(known[5:10])}
    expected = families | {frozenset([image_id]) for image_id in known[10:]}

    at_once = new_lake(settings, tmp_path / "at once")
    assert group(spark, at_once, add(at_once, pictures), known) == len(pictures)
    assert partition_of(at_once, known) == expected

    shuffled = random.Random(1).sample(pictures, len(pictures))
    in_parts = new_lake(settings, tmp_path / "in parts")
    group(spark, in_parts, add(in_parts, shuffled[::2]), known)
    # Another machine has no local store yet.
    moved = in_parts.organize.model_copy(update={"index_dir": tmp_path / "elsewhere"})
    elsewhere = in_parts.model_copy(update={"organize": moved})
    second = add(elsewhere, shuffled[1::2])
    group(spark, elsewhere, second, known)
    assert partition_of(in_parts, known) == expected

    before = everything(in_parts)
    group(spark, elsewhere, second, known)  # as after a crash
    assert everything(in_parts) == before


def test_a_picture_that_two_groups_share_merges_them_and_the_merge_is_recorded(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(settings, tmp_path)
    whole = scenes.scene(12, 300, 200)
    corners = [Picture(whole[:144, :216].copy()), Picture(whole[-144:, -216:].copy())]
    known = [picture.image_id for picture in (*corners, Picture(whole))]
    group(spark, own, add(own, corners), known)
    assert partition_of(own, known) == {frozenset([known[0]]), frozenset([known[1]])}
    group(spark, own, add(own, [Picture(whole)]), known)
    assert partition_of(own, known) == {frozenset(known)}
    merges = dict(rows_of(own, Table.GROUP_MERGES, "group_id", "merged_into"))
    (survivor,) = set(merges.values())
    assert {survivor, *merges} == {own_id(image_id) for image_id in known}
    assert {row[1] for row in rows_of(own, Table.SAMPLES, "image_id", "duplicate_group")} == {survivor}


def test_an_erased_image_vanishes_and_its_group_keeps_its_id(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(settings, tmp_path)
    pictures = family(14)
    known = [picture.image_id for picture in pictures]
    group(spark, own, add(own, pictures), known)
    ((_, group_id), *_) = rows_of(own, Table.GROUPS, "image_id", "group_id")
    erased, *kept = known
    row_writer.delete(own, Table.SAMPLES, f"image_id = '{erased}'")
    erasing.delete_pairs(spark, own)
    erasing.delete_from_groups(spark, own)
    assert erased not in repr(everything(own))
    assert partition_of(own, kept) == {frozenset(kept)}

    new = Picture(scenes.lit(scenes.scene(14), 1.1))
    group(spark, own, add(own, [new]), kept)
    assert rows_of(own, Table.SAMPLES, "duplicate_group") == [(group_id,)] * 5
    stored = b"".join(file.read_bytes() for file in own.organize.index_dir.rglob("*") if file.is_file())
    assert bytes.fromhex(erased) not in stored
    assert bytes.fromhex(kept[0]) in stored


def test_a_group_stays_whole_when_what_its_images_had_in_common_is_erased(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(settings, tmp_path)
    whole = scenes.scene(12, 300, 200)
    corners = [Picture(whole[:144, :216].copy()), Picture(whole[-144:, -216:].copy())]
    kept = [picture.image_id for picture in corners]
    erased = Picture(whole)
    group(spark, own, add(own, [*corners, erased]), [*kept, erased.image_id])
    assert partition_of(own, kept) == {frozenset(kept)}
    row_writer.delete(own, Table.SAMPLES, f"image_id = '{erased.image_id}'")
    for _ in range(2):  # as after a crash
        erasing.delete_pairs(spark, own)
    erasing.delete_from_groups(spark, own)
    assert erased.image_id not in repr(everything(own))
    before = rows_of(own, Table.SAMPLES, "image_id", "duplicate_group")
    new = Picture(scenes.scene(13))
    group(spark, own, add(own, [new]), kept)  # an erasure lets all groups be divided again
    assert partition_of(own, kept) == {frozenset(kept)}
    after = rows_of(own, Table.SAMPLES, "image_id", "duplicate_group")
    assert [row for row in after if row[0] != new.image_id] == before


@pytest.mark.faults  # two minutes
def test_random_orders_of_arrival_in_random_parts_give_the_same_groups_and_pairs(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    whole = scenes.scene(40, 300, 200)
    chain = [whole[:144, :216], whole[-144:, -216:], whole, scenes.mirrored(whole), scenes.framed(whole)]
    pictures = [*family(41), *family(42), *(Picture(np.ascontiguousarray(each)) for each in chain)]
    pictures += [Picture(scenes.scene(seed)) for seed in range(43, 47)]
    known = [picture.image_id for picture in pictures]
    results = []
    for seed in range(4):
        own = new_lake(settings, tmp_path / str(seed))
        order = random.Random(seed)
        shuffled = order.sample(pictures, len(pictures))
        while shuffled:
            part = [shuffled.pop() for _ in range(min(len(shuffled), order.randint(1, 9)))]
            group(spark, own, add(own, part), known)
        pairs = rows_of(own, Table.DUPLICATE_PAIRS, "first", "second", "relation", "correlation")
        results.append((partition_of(own, known), pairs))
    assert all(each == results[0] for each in results)
    assert len(results[0][0]) == 7
