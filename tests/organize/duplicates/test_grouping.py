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
        assert partition_of(spark, own) == expected


def test_the_same_micro_batch_again_changes_nothing(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(spark, settings, tmp_path)
    first, second = family(1)[:3], family(1)[3:]
    known = [picture.image_id for picture in (*first, *second)]
    group(spark, own, add(spark, own, first), known)
    images = add(spark, own, second)
    group(spark, own, images, known)
    before = {table: tables.version(spark, own.lake, table) for table in Table}
    rows = table_rows(spark, own, Table.GROUPS, "image_id", "group_id", "relation", "matched_image")
    assert group(spark, own, images, known) == len(second)
    assert table_rows(spark, own, Table.GROUPS, "image_id", "group_id", "relation", "matched_image") == rows
    assert tables.version(spark, own.lake, Table.DUPLICATE_PAIRS) == before[Table.DUPLICATE_PAIRS]
    assert len(rows) == 5


def test_a_picture_that_two_groups_share_merges_them_and_the_merge_is_recorded(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(spark, settings, tmp_path)
    whole = scenes.scene(1, 300, 200)
    left, right = Picture(whole[:144, :216].copy()), Picture(whole[-144:, -216:].copy())
    known = [picture.image_id for picture in (left, right, Picture(whole))]
    group(spark, own, add(spark, own, [left, right]), known)
    assert len(partition_of(spark, own)) == 2
    ids: dict[str, str] = dict(table_rows(spark, own, Table.SAMPLES, "image_id", "duplicate_group"))
    group(spark, own, add(spark, own, [Picture(whole)]), known)
    assert partition_of(spark, own) == {frozenset(known)}
    merges = table_rows(spark, own, Table.GROUP_MERGES, "group_id", "merged_into")
    (survivor,) = {row[1] for row in merges}
    assert survivor in ids.values()
    assert {row[0] for row in merges} == {*ids.values(), own_id(known[2])} - {survivor}


def test_another_machine_without_the_local_store_continues_with_the_same_groups(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(spark, settings, tmp_path)
    first, second = family(1)[:3], family(1)[3:]
    known = [picture.image_id for picture in (*first, *second)]
    group(spark, own, add(spark, own, first), known)
    moved = own.organize.model_copy(update={"index_dir": tmp_path / "elsewhere"})
    elsewhere = own.model_copy(update={"organize": moved})
    group(spark, elsewhere, add(spark, elsewhere, second), known)
    assert partition_of(spark, own) == {frozenset(known)}


def test_an_erased_image_vanishes_and_its_group_keeps_id_and_split(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    own = new_lake(spark, settings, tmp_path)
    pictures = family(1)
    known = [picture.image_id for picture in pictures]
    group(spark, own, add(spark, own, pictures), known)
    (group_id,) = {row[0] for row in table_rows(spark, own, Table.SAMPLES, "duplicate_group")}
    erased, *kept = known
    spark.sql(f"DELETE FROM delta.`{own.lake.at(Table.SAMPLES)}` WHERE image_id = '{erased}'")
    erasing.delete_pairs(spark, own)
    erasing.delete_from_groups(spark, own)
    for table in (Table.GROUPS, Table.DUPLICATE_PAIRS, Table.GROUP_MERGES):
        assert erased not in repr(tables.read(spark, own.lake, table).collect())
    new = Picture(scenes.lit(scenes.scene(1), 1.1))
    group(spark, own, add(spark, own, [new]), kept)
    assert partition_of(spark, own) == {frozenset([*kept, new.image_id])}
    assert {row[0] for row in table_rows(spark, own, Table.SAMPLES, "duplicate_group")} == {group_id}
    stored = b"".join(file.read_bytes() for file in own.organize.index_dir.rglob("*") if file.is_file())
    assert bytes.fromhex(erased) not in stored
