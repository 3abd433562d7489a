"""Groups on a real lake: any order and any division into micro-batches, again and again, after an erasure."""

import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from lake import tables
from lake.erasure import groups as erasing
from lake.table import Table
from organize.duplicates.group_ids import own_id
from tests.organize.duplicates.lake_of_scenes import Picture, add, group, new_lake, partition_of
from tests.support.media import scenes

pytestmark = pytest.mark.services

COPIES = (scenes.reencoded, scenes.resized, scenes.mirrored, lambda rgb: scenes.cropped(rgb, 0.15))


def family(seed: int) -> list[Picture]:
    original = scenes.scene(seed)
    return [Picture(original), *(Picture(change(original)) for change in COPIES)]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [*family(1), *family(2), *(Picture(scenes.scene(seed)) for seed in range(3, 7))]


def table_rows(spark: SparkSession, own: Settings, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, tables.read(spark, own.lake, table).select(*columns).collect()), key=repr)


def test_any_order_and_division_gives_the_same_groups(
    spark: SparkSession, settings: Settings, tmp_path: Path, pictures: list[Picture]
) -> None:
    known = [picture.image_id for picture in pictures]
    expected = {
        frozenset(known[:5]), frozenset(known[5:10]), *(frozenset([name]) for name in known[10:])
    }  # fmt: skip
    for number, parts in enumerate((1, 3)):
        own = new_lake(spark, settings, tmp_path / str(number))
        ordered = random.Random(number).sample(pictures, len(pictures))
        for part in range(parts):
            images = add(spark, own, ordered[part::parts])
            assert group(spark, own, images, known) == len(ordered[part::parts])
        assert partition_of(spark, own, known) == expected


@pytest.fixture(scope="module")
def own(spark: SparkSession, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake for tests whose pictures have nothing in common."""
    return new_lake(spark, settings, tmp_path_factory.mktemp("grouping"))


def test_the_same_micro_batch_again_changes_nothing(spark: SparkSession, own: Settings) -> None:
    first, second = family(11)[:3], family(11)[3:]
    known = [picture.image_id for picture in (*first, *second)]
    group(spark, own, add(spark, own, first), known)
    images = add(spark, own, second)
    group(spark, own, images, known)
    pairs = tables.version(spark, own.lake, Table.DUPLICATE_PAIRS)
    columns = ("image_id", "group_id", "relation", "matched_image")
    rows = table_rows(spark, own, Table.GROUPS, *columns)
    assert group(spark, own, images, known) == len(second)
    assert table_rows(spark, own, Table.GROUPS, *columns) == rows
    assert tables.version(spark, own.lake, Table.DUPLICATE_PAIRS) == pairs
    assert {row[0] for row in rows} == set(known)


def test_a_picture_that_two_groups_share_merges_them_and_the_merge_is_recorded(
    spark: SparkSession, own: Settings
) -> None:
    whole = scenes.scene(12, 300, 200)
    left, right = Picture(whole[:144, :216].copy()), Picture(whole[-144:, -216:].copy())
    known = [picture.image_id for picture in (left, right, Picture(whole))]
    group(spark, own, add(spark, own, [left, right]), known)
    assert partition_of(spark, own, known) == {frozenset([known[0]]), frozenset([known[1]])}
    group(spark, own, add(spark, own, [Picture(whole)]), known)
    assert partition_of(spark, own, known) == {frozenset(known)}
    merges = dict(table_rows(spark, own, Table.GROUP_MERGES, "group_id", "merged_into"))
    ids = {own_id(image_id) for image_id in known}
    (survivor,) = {merges[group_id] for group_id in ids & set(merges)}
    assert ids - set(merges) == {survivor}


def test_another_machine_without_the_local_store_continues_with_the_same_groups(
    spark: SparkSession, own: Settings, tmp_path: Path
) -> None:
    first, second = family(13)[:3], family(13)[3:]
    known = [picture.image_id for picture in (*first, *second)]
    group(spark, own, add(spark, own, first), known)
    moved = own.organize.model_copy(update={"index_dir": tmp_path / "elsewhere"})
    elsewhere = own.model_copy(update={"organize": moved})
    group(spark, elsewhere, add(spark, elsewhere, second), known)
    assert partition_of(spark, own, known) == {frozenset(known)}


def test_an_erased_image_vanishes_and_its_group_keeps_its_id(spark: SparkSession, own: Settings) -> None:
    pictures = family(14)
    known = [picture.image_id for picture in pictures]
    group(spark, own, add(spark, own, pictures), known)
    (group_id,) = {id_ for image, id_ in _group_ids(spark, own) if image in known}
    erased, *kept = known
    spark.sql(f"DELETE FROM delta.`{own.lake.at(Table.SAMPLES)}` WHERE image_id = '{erased}'")
    erasing.delete_pairs(spark, own)
    erasing.delete_from_groups(spark, own)
    for table in (Table.GROUPS, Table.DUPLICATE_PAIRS, Table.GROUP_MERGES):
        assert erased not in repr(tables.read(spark, own.lake, table).collect())
    new = Picture(scenes.lit(scenes.scene(14), 1.1))
    group(spark, own, add(spark, own, [new]), kept)
    everyone = [*kept, new.image_id]
    assert partition_of(spark, own, everyone) == {frozenset(everyone)}
    assert {id_ for image, id_ in _group_ids(spark, own) if image in everyone} == {group_id}
    stored = b"".join(file.read_bytes() for file in own.organize.index_dir.rglob("*") if file.is_file())
    assert bytes.fromhex(erased) not in stored
    assert bytes.fromhex(kept[0]) in stored


def _group_ids(spark: SparkSession, own: Settings) -> list[tuple[Any, ...]]:
    return table_rows(spark, own, Table.SAMPLES, "image_id", "duplicate_group")
